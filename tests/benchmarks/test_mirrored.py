"""What a mirror image adds to what networks say, alone and together."""

from __future__ import annotations

import numpy as np

from benchmarks.mirrored import measure, text
from edgecnn.data import registry
from edgecnn.evaluate import predictor, score_model
from edgecnn.export.source import find_weights


def test_the_mean_of_both_answers_is_what_counts() -> None:
    (row,) = measure(["lenet"], "digits")
    test = registry.load("digits").test
    model, _ = find_weights("lenet", "digits")
    assert row["right"] == round(score_model(model, test).accuracy * len(test))
    images, labels = test.take(np.arange(len(test)))
    mean = (predictor(model)(images) + predictor(model)(images[:, :, ::-1].copy())) / 2
    assert row["mirrored"] == (mean.argmax(1) == labels).sum() == row["right"] + row["gained"] - row["lost"]
    assert row["lost"] > row["gained"], "mirrored digits are none"
    assert f"{100 * row['mirrored'] / 450:.2f} %" in text([row])


def test_networks_are_asked_together() -> None:
    (both,) = measure(["lenet+depth_res"], "digits", limit=200)
    assert both["images"] == 200
    images, labels = registry.load("digits").test.take(np.arange(200))
    first, second = (predictor(find_weights(name, "digits")[0]) for name in ("lenet", "depth_res"))
    plain = first(images) + second(images)
    turned = first(images[:, :, ::-1].copy()) + second(images[:, :, ::-1].copy())
    assert both["right"] == (plain.argmax(1) == labels).sum()
    assert both["mirrored"] == ((plain + turned).argmax(1) == labels).sum()
    assert text([both]).splitlines()[-1].startswith("lenet + depth_res")
