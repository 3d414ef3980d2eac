"""The data set that others' models are tried on, and the table of what came out."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import own_models
from benchmarks.own_models import Row
from edgecnn.errors import BadFileError
from edgecnn.train import WEIGHTS


def row(model: str, agreement: float) -> Row:
    return Row(
        model=model, traced_by="torch.fx", normalization="ones", operations={"CONV_2D": 20, "GELU": 2},
        outside_xnnpack=2, float_operations="a (LayerNorm), b (LayerNorm)", bytes=1234567, float_bytes=4,
        float_accuracy=1.0, accuracy=0.98, drop=2.0, agreement=agreement, float_difference=9.3e-7, images=400,
        train_seconds=1.0, quantize_seconds=1.0,
    )  # fmt: skip


def test_the_pictures_are_the_same_at_every_call_and_a_class_is_not_a_colour(tmp_path, monkeypatch):
    monkeypatch.setattr(own_models, "IMAGES", {"train": 6, "test": 2})
    first, second = own_models.make_data(tmp_path / "a"), own_models.make_data(tmp_path / "b")
    assert (first.classes, first.image, len(first.train)) == (own_models.PATTERNS, (64, 64, 3), 24)
    (images, labels), (again, _) = (each.train.take(np.arange(24)) for each in (first, second))
    assert np.array_equal(images, again)
    means = images.mean((1, 2))
    spread = means.std(0).mean()
    for label in range(4):
        assert means[labels == label].std(0).mean() > spread / 4
    (tmp_path / "a" / "train" / "dots" / "000.png").unlink()
    with pytest.raises(BadFileError, match="a holds other images than are drawn here; remove it"):
        own_models.make_data(tmp_path / "a")


def test_the_table_counts_operations_and_what_is_not_int8():
    line, named = [line for line in own_models.text([row("timm:convnext_atto", 0.975)]).splitlines() if "atto" in line]
    assert line.split() == [
        "timm:convnext_atto", "torch.fx", "ones", "22", "2", "2", "1,234,567", "100.00", "%", "98.00", "%", "+2.00",
        "97.50", "%", "9e-07",
    ]  # fmt: skip
    assert named == "timm:convnext_atto stays float in: a (LayerNorm), b (LayerNorm)"


def test_results_replace_those_of_the_same_model_and_keep_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(own_models, "RESULTS", tmp_path / "r.json")
    own_models.keep([row("timm:resnet10t", 0.9), row("torchvision:resnet18", 0.9)])
    own_models.keep([row("timm:resnet10t", 0.99)])
    own_models.keep([row("timm:of_no_list", 0.8)])
    rows = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert [(each["model"], each["agreement"]) for each in rows] == [
        ("torchvision:resnet18", 0.9),
        ("timm:resnet10t", 0.99),
        ("timm:of_no_list", 0.8),
    ]


def test_each_row_keeps_the_versions_that_it_was_made_with(tmp_path, monkeypatch):
    monkeypatch.setattr(own_models, "RESULTS", tmp_path / "r.json")
    older = {name: value for name, value in asdict(row("torchvision:resnet18", 0.9)).items() if name != "tools"}
    (tmp_path / "r.json").write_text(json.dumps({"tools": {"torch": "2.0"}, "rows": [older]}))
    own_models.keep([replace(row("timm:resnet10t", 0.9), tools={"torch": "3.0"})])
    assert [each.tools for each in own_models.known()] == [{"torch": "2.0"}, {"torch": "3.0"}]


def test_without_training_the_committed_rows_are_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(own_models, "RESULTS", tmp_path / "r.json")
    own_models.keep([row("timm:resnet10t", 0.9), row("torchvision:resnet18", 0.95)])
    assert own_models.main(["--model", "timm:resnet10t", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["model"], shown["agreement"]) == ("timm:resnet10t", 0.9)


def test_rows_are_not_recorded_without_being_made():
    with pytest.raises(SystemExit) as refused:
        own_models.main(["--record"])
    assert refused.value.code == 2


def test_the_committed_rows_hold_what_is_promised():
    rows = own_models.committed(own_models.MODELS)
    assert [each.model for each in rows] == list(own_models.MODELS)
    for each in rows:
        assert each.agreement >= 0.95 and each.drop <= 2 and each.float_accuracy >= 0.9, each.model


def test_weights_that_are_there_are_not_trained_again_and_no_file_is_made_of_a_failure(tmp_path, monkeypatch, capsys):
    trained = []

    def learn(model, dataset, out):
        trained.append(model)
        raise BadFileError("no")

    monkeypatch.setattr(own_models, "IMAGES", {"train": 2, "test": 1})
    monkeypatch.setattr(own_models, "learn", learn)
    monkeypatch.setattr(own_models, "RESULTS", tmp_path / "r.json")
    (tmp_path / "resnet18").mkdir()
    (tmp_path / "resnet18" / WEIGHTS).write_bytes(b"torn")
    words = ["--train", str(tmp_path), "--record", "--model", "torchvision:resnet18", "torchvision:mnasnet0_5"]
    assert own_models.main(words) == 1
    assert trained == ["torchvision:mnasnet0_5"]
    told = capsys.readouterr().err
    assert "torchvision:resnet18: " in told and "torchvision:mnasnet0_5: no" in told
    assert not (tmp_path / "r.json").exists()


def test_a_last_layer_starts_small():
    last = nn.Linear(20, 4)
    own_models.start(nn.Sequential(nn.Linear(5, 20), nn.ReLU(), last))
    assert last.weight.std() < 0.02
    assert torch.equal(last.bias, torch.zeros(4))


def test_a_model_that_no_result_is_of_is_not_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        own_models.main(["--model", "timm:resnet10t", "timm:resnet10"])
    out, err = capsys.readouterr()
    assert out == "" and "there is no result of timm:resnet10 (valid: " in err
