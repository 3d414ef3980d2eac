"""The search within a bound: proven by the file, on images that neither calibrated nor chose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from edgecnn.data.dataset import Memory, Subset
from edgecnn.errors import UsageError
from edgecnn.export.mixed import Made, Search
from edgecnn.measure.stats import Interval
from edgecnn.quantize.qat import Trained
from edgecnn.quantize.sensitivity import Effect, Harm, Yardstick
from tests import nets


def effect(drop: float) -> Effect:
    return Effect(drop, Interval(drop - 1, drop + 1), 30.0)


class Files:
    """Files that lose what the test says."""

    def __init__(self, drops):
        self.drops, self.made_of, self.costs = drops, [], 0
        self.cache: dict[tuple[str, ...], Made] = {}
        self.source, self.yardstick = (
            nets.source("lenet"),
            Yardstick(cast(Any, None), Memory(nets.images(7), np.zeros(7, np.int64))),
        )

    def say(self, line):
        pass

    def made(self, floats):
        if floats not in self.cache:
            self.made_of.append("".join(floats))
            self.cache[floats] = Made(Path("x"), floats, 100, "digest", effect(self.drops("".join(floats))))
        return self.cache[floats]

    def cost(self, best, plain):
        self.costs += 1
        return "cost"


def searched(monkeypatch, simulated, proven, bound):
    """Files that were tried, and the outcome, of a search among three layers; drops are by the float layers."""
    ranking = [Harm((name,), effect(0), effect(0)) for name in "cba"]
    files = Files(proven)
    nothing = Yardstick(cast(Any, None), Memory(nets.images(9), np.zeros(9, np.int64)))
    search = Search([("a",), ("b",), ("c",)], ranking, cast(Any, None), nothing, 5, cast(Any, files))
    monkeypatch.setattr(search, "_effect", lambda floats: effect(simulated("".join(floats))))
    return files, search.within(bound)


def test_a_file_that_is_int8_throughout_and_keeps_the_bound_is_the_best(monkeypatch):
    files, outcome = searched(monkeypatch, lambda _: 0.1, lambda _: 0.2, 0.2)
    assert (outcome.within, outcome.best.float_layers, outcome.cost, files.costs) == (True, (), None, 0)
    assert (outcome.ranking_images, outcome.choosing, outcome.proving) == (5, 9, 7)
    assert outcome.best.effect.drop == 0.2


def test_the_choice_is_made_in_simulation_and_proven_by_the_file(monkeypatch):
    files, outcome = searched(monkeypatch, lambda kept: 1.0 - len(kept), lambda kept: 0.7 - len(kept), 0.2)
    assert (outcome.within, outcome.best.float_layers, outcome.cost) == (True, ("c",), "cost")
    assert (outcome.best.effect.drop, outcome.plain.effect.drop) == (pytest.approx(-0.3), 0.7)
    assert outcome.chosen.drop == 0
    assert files.made_of == ["", "c"]


def test_where_the_file_loses_more_than_its_simulation_one_more_layer_stays_float(monkeypatch):
    files, outcome = searched(monkeypatch, lambda kept: 1.0 - len(kept), lambda kept: 2.0 - len(kept), 0.2)
    assert files.made_of == ["", "c", "bc"]
    assert (outcome.within, outcome.best.float_layers, outcome.best.effect.drop) == (True, ("b", "c"), 0)


def test_the_best_there_is_where_no_file_keeps_the_bound(monkeypatch):
    drops = {"": 3.0, "c": 1.0, "bc": 2.0}
    files, outcome = searched(monkeypatch, lambda kept: 1.0 - len(kept), drops.__getitem__, 0.2)
    assert files.made_of == ["", "c", "bc"]  # the third layer stays quantized
    assert (outcome.within, outcome.best.float_layers, outcome.best.effect.drop) == (False, ("c",), 1.0)

    files, outcome = searched(monkeypatch, {"": 3.0, "c": 1.0, "bc": 2.0}.__getitem__, lambda _: 0.0, 0.2)
    assert files.made_of == ["", "c"]
    assert outcome.best.float_layers == ("c",)


# ----------------------------------------------------------------------------------------------------- the images


def indices(split):
    return set(split.indices.tolist())


def test_images_to_choose_and_to_prove_on_are_training_images_that_calibrate_nothing():
    source = nets.source("lenet")
    choosing, proving = source.spare()
    assert isinstance(choosing, Subset) and isinstance(proving, Subset)
    calibrating = indices(source._calibration_split)
    rest = len(source.dataset.train) - 512
    assert len(choosing) == len(proving) == rest // 2
    assert choosing.split is proving.split is source.dataset.train
    assert not indices(choosing) & indices(proving)
    assert not (indices(choosing) | indices(proving)) & calibrating
    assert source.trained_on


def test_of_weights_trained_with_a_validation_split_they_are_of_that():
    from edgecnn.data.dataset import hold_out

    source = nets.source("lenet")
    header = replace(source.header, recipe=source.header.recipe | {"validation": 0.8})
    held = replace(source, header=header)
    assert not held.trained_on
    seen, unseen = hold_out(source.dataset.train, 0.8)
    for split in held.spare():
        assert len(split) >= 100
        assert indices(split) <= indices(unseen)
        assert not indices(split) & indices(seen)


def test_images_are_trained_on_that_an_earlier_training_or_the_one_under_quantization_saw():
    source = nets.source("lenet")
    elsewhere = replace(source.header, dataset="elsewhere")
    assert not replace(source, header=elsewhere).trained_on
    begun = replace(elsewhere, start={"dataset": "digits", "recipe": {}})
    assert replace(source, header=begun).trained_on
    held = replace(elsewhere, start={"dataset": "digits", "recipe": {"validation": 0.8}})
    assert not replace(source, header=held).trained_on
    trained = Trained(replace(source.header, recipe={}), {}, Path("w.safetensors"))
    for header in (elsewhere, held):
        assert replace(source, header=header, trained=trained).trained_on


def test_too_few_images_are_refused():
    source = nets.source("lenet")
    many = replace(source, calibration_images=len(source.dataset.train) - 199)
    with pytest.raises(UsageError, match=r"199 training images are left .* \(at least 200\); give --calibration a"):
        many.spare()
