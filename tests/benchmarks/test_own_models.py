"""The data set that others' models are tried on, and the table of what came out."""

from __future__ import annotations

import json

import numpy as np

from benchmarks import own_models
from benchmarks.own_models import Row


def row(model: str, agreement: float) -> Row:
    return Row(
        model=model, traced_by="torch.fx", normalization="ones", operations={"CONV_2D": 20, "GELU": 2},
        outside_xnnpack=2, float_operations="a (LayerNorm), b (LayerNorm)", bytes=1234567, float_bytes=4,
        float_accuracy=1.0, accuracy=0.98, drop=2.0,
        agreement=agreement, images=600, train_seconds=1.0, quantize_seconds=1.0,
    )  # fmt: skip


def test_the_pictures_are_the_same_at_every_call_and_a_class_is_not_a_colour(tmp_path, monkeypatch):
    monkeypatch.setattr(own_models, "IMAGES", {"train": 6, "test": 2})
    first, second = own_models.make_data(tmp_path / "a"), own_models.make_data(tmp_path / "b")
    assert (first.classes, first.image, len(first.train)) == (own_models.PATTERNS, (64, 64, 3), 36)
    (images, labels), (again, _) = (each.train.take(np.arange(36)) for each in (first, second))
    assert np.array_equal(images, again)
    means = images.mean((1, 2))
    spread = means.std(0).mean()
    for label in range(6):
        assert means[labels == label].std(0).mean() > spread / 4


def test_the_table_counts_operations_and_what_is_not_int8():
    (line,) = [line for line in own_models.text([row("timm:convnext_atto", 0.975)]).splitlines() if "convnext" in line]
    assert line.split() == [
        "timm:convnext_atto", "torch.fx", "ones", "22", "2", "2", "1,234,567", "100.00", "%", "98.00", "%", "+2.00",
        "97.50", "%",
    ]  # fmt: skip


def test_results_replace_those_of_the_same_model_and_keep_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(own_models, "RESULTS", tmp_path / "r.json")
    own_models.keep([row("timm:resnet10t", 0.9), row("torchvision:resnet18", 0.9)])
    own_models.keep([row("timm:resnet10t", 0.99)])
    rows = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert [(each["model"], each["agreement"]) for each in rows] == [
        ("torchvision:resnet18", 0.9),
        ("timm:resnet10t", 0.99),
    ]
