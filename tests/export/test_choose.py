"""Which files are chosen for a target, with files that cost what a test says and are made of nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgecnn.errors import CheckFailedError
from edgecnn.export import candidates
from edgecnn.export.candidates import Workshop, distinct_passes, words
from edgecnn.export.choose import Choice, choose
from edgecnn.export.drafts import Order
from edgecnn.measure.costs import INSTRUCTIONS
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8
from edgecnn.runtime.made_for import MadeFor, Trial
from edgecnn.runtime.manifest import Artifact, InputTensor
from edgecnn.runtime.preprocess import OutputSpec
from tests import nets
from tests.measure.scripted_costs import ScriptedCosts

LAYERS = ("conv1", "conv2", "fc1", "fc2", "fc3")
Price = Callable[[Order], Any]


class Bench:
    """A workshop whose files hold the words for their orders, and a measurer that knows what they cost."""

    def __init__(self, folder: Path, price: Price, kind: str, alike: Callable[[Order], str] = words) -> None:
        self.said: list[str] = []
        self.workshop = Workshop(nets.source("lenet"), folder, self.said.append)
        self.measure = ScriptedCosts(lambda path: price(self.order(path)), kind)
        self.alike = alike

    def order(self, path: Path) -> Order:
        return next(each.order for each in self.workshop.made if each.path == path)

    def make(self, order: Order, file: str, source: Any, folder: Path, image: Any) -> tuple[None, Artifact]:
        content = self.alike(order).encode()
        (folder / file).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        recipe, kept = order.recipe.name, order.float_layers
        return None, Artifact(
            file, "tflite", recipe, len(content), digest, InputTensor(), OutputSpec(), float_layers=kept
        )


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Choice, Bench]]:
    def choose_by(price: Price, kind: str = INSTRUCTIONS, **more: Any) -> tuple[Choice, Bench]:
        bench = Bench(tmp_path, price, kind, **more)
        monkeypatch.setattr(candidates, "make_and_check", bench.make)
        return choose(bench.workshop, "cortex-a72", bench.measure), bench

    return choose_by


def priced(
    floating: float, quantized: float, passes: dict[str, float], layers: Iterable[float] = (), crossing: float = 0.0
) -> Price:
    """Costs by recipe; a pass multiplies, a layer in float32 adds its own, and a crossing costs."""
    extra = dict(zip(LAYERS, layers, strict=False))

    def price(order: Order) -> float:
        cost = floating if order.recipe is FLOAT32 else quantized
        inside = [name in order.float_layers for name in LAYERS]
        crossings = sum(one != other for one, other in pairwise(inside))
        cost += sum(extra.get(name, 0.0) for name in order.float_layers) + crossing * crossings
        for name in order.rewrites or ():
            cost *= passes.get(name, 1.0)
        return cost

    return price


def trials(record: MadeFor, **wanted: Any) -> list[Trial]:
    return [each for each in record.trials if all(getattr(each, name) == value for name, value in wanted.items())]


def test_the_cheapest_passes_are_chosen_for_each_file_by_itself(chosen: Any) -> None:
    def price(order: Order) -> float:
        quick = "pair_columns" if order.recipe is FLOAT32 else "pool_as_conv"
        return (1000 if order.recipe is FLOAT32 else 400) * (0.8 if quick in (order.rewrites or ()) else 1.0)

    choice, _ = chosen(price)
    assert choice.floating == Order("tflite", FLOAT32, ("flatten_order", "pair_columns"))
    assert choice.quantized == Order("tflite", STATIC_W8A8, ("flatten_order", "pool_as_conv"))
    record = choice.made_for
    assert (record.target, record.kind, record.cpu, record.engine) == (
        "cortex-a72", "instructions", "Cortex-A72", "litert 1",
    )  # fmt: skip
    assert record.why == (
        "static_w8a8 with flatten_order pool_as_conv costs the least on cortex-a72, 320.1 instructions an image: "
        "0.40 of float32 and 0.80 of the plain conversion"
    )
    assert not record.float_is_best
    assert [(each.recipe, each.passes) for each in trials(record, chosen=True)] == [
        ("static_w8a8", ("flatten_order", "pool_as_conv")), ("float32", ("flatten_order", "pair_columns")),
    ]  # fmt: skip


def test_every_candidate_is_on_record_and_the_plain_conversion_and_float32_are_measured_beside_the_best(
    chosen: Any,
) -> None:
    choice, bench = chosen(priced(1000, 400, {"flatten_order": 0.9, "quad_columns": 0.9, "pair_columns": 0.95}))
    record = choice.made_for
    sets = distinct_passes(nets.source("lenet"))
    assert len(sets) == 7  # () and flatten_order with 3 ways to group columns, and a pool or none
    assert [each.passes for each in record.trials if each.recipe == "static_w8a8"] == sets
    usual = ("flatten_order", "pair_columns")  # and none, and those of the three best
    quads = [("flatten_order", "quad_columns"), ("flatten_order", "pool_as_conv", "quad_columns")]
    assert [each.passes for each in record.trials if each.recipe == "float32"] == [(), usual, *quads]
    assert all(len(each.screened) == 3 for each in record.trials)
    (plain,) = trials(record, recipe="static_w8a8", passes=())
    assert len(plain.runs) == 9
    assert [len(trials(record, recipe=name, runs=())) for name in ("float32", "static_w8a8")] == [1, 3]
    assert len(bench.measure.decided) == 7  # together, so that they take turns


def test_what_is_only_noise_cheaper_is_not_worth_a_pass(chosen: Any) -> None:
    choice, _ = chosen(priced(1000, 400, {"flatten_order": 0.9995, "pool_as_conv": 0.9995}))
    assert choice.quantized.rewrites == ()
    choice, _ = chosen(priced(1000, 400, {"flatten_order": 0.9995, "pool_as_conv": 0.99}))
    assert choice.quantized.rewrites == ("flatten_order", "pool_as_conv")


def test_times_are_told_apart_by_their_runs(chosen: Any) -> None:
    def price(order: Order) -> Any:
        if order.recipe is FLOAT32:
            return 1000.0
        noisy = tuple(400.0 + 40 * number for number in range(9))
        return tuple(value * 0.97 for value in noisy) if "pool_as_conv" in (order.rewrites or ()) else noisy

    choice, _ = chosen(price, "time")
    assert choice.quantized.rewrites == ()
    choice, _ = chosen(priced(1000, 400, {"pool_as_conv": 0.97}), "time")
    assert choice.quantized.rewrites == ("flatten_order", "pool_as_conv")


def test_a_file_that_costs_more_than_the_plain_one_is_never_chosen_for_being_simple(chosen: Any) -> None:
    def price(order: Order) -> float:
        if order.recipe is FLOAT32:
            return 1000.0
        return {(): 400.0, ("flatten_order",): 400.4}.get(order.rewrites or (), 399.9)

    choice, _ = chosen(price)
    assert choice.quantized.rewrites == ()


def test_layers_are_kept_in_float32_where_that_costs_less(chosen: Any) -> None:
    price = priced(1000, 1000, {"flatten_order": 0.9}, layers=(-300, -200, 400, 500, -400), crossing=20)
    choice, bench = chosen(price)
    assert choice.quantized.float_layers == ("conv1", "conv2", "fc3")  # two stretches: no cut alone finds them
    assert choice.quantized.rewrites == ("flatten_order",)
    record = choice.made_for
    (best,) = trials(record, chosen=True, recipe="static_w8a8")
    assert best.float_layers == ("conv1", "conv2", "fc3")
    assert "and 3 layers in float32 costs the least" in record.why
    assert not record.float_is_best
    assert any("5 layers, cut in 4 places" in line for line in bench.said)


def test_a_conversion_that_costs_more_than_a_layer_saves_keeps_it_in_int8(chosen: Any) -> None:
    price = priced(1000, 900, {}, layers=(200, 200, -100, 200, 200), crossing=60)
    choice, _ = chosen(price)
    assert choice.quantized.float_layers == ()


def test_no_layer_is_tried_where_int8_is_much_faster(chosen: Any) -> None:
    choice, bench = chosen(priced(1000, 700, {}, layers=(-300,)))
    assert len(bench.measure.screened) == 2
    assert choice.quantized.float_layers == ()


def test_float32_is_offered_where_nothing_quantized_is_as_cheap(chosen: Any) -> None:
    choice, _ = chosen(priced(500, 1000, {"pool_as_conv": 0.9}, layers=(100, 100, 100, 100, 100)))
    record = choice.made_for
    assert record.float_is_best
    assert record.why == (
        "float32 is the best for cortex-a72: with flatten_order pool_as_conv it costs 0.50 of the best static_w8a8 "
        "file (flatten_order pool_as_conv, 900.4 instructions)"
    )
    assert (choice.quantized.rewrites, choice.quantized.float_layers) == (("flatten_order", "pool_as_conv"), ())


def test_what_costs_as_much_as_float32_is_not_said_to_cost_less(chosen: Any) -> None:
    def price(order: Order) -> Any:
        return tuple((1000.0 if order.recipe is FLOAT32 else 1010.0) + 40 * number for number in range(9))

    choice, _ = chosen(price, "time")
    record = choice.made_for
    assert not record.float_is_best
    assert record.why.startswith("static_w8a8 is no cheaper than float32 on cortex-a72: with no passes it costs 1,17")
    assert record.why.endswith(" microseconds, 1.01 of float32")


def test_a_candidate_that_fails_is_left_out_with_its_reason(chosen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def price(order: Order) -> Any:
        if order.recipe is FLOAT32:
            return 1000.0
        return "was killed by SIGILL" if "pair_columns" in (order.rewrites or ()) else 400.0

    original = Bench.make

    def make(self: Bench, order: Order, file: str, *more: Any) -> Any:
        if order.recipe is STATIC_W8A8 and order.rewrites == ():
            raise CheckFailedError(f"{file}: chooses another class")
        return original(self, order, file, *more)

    monkeypatch.setattr(Bench, "make", make)
    choice, _ = chosen(price)
    assert choice.quantized.rewrites == ("flatten_order",)
    failed = trials(choice.made_for, recipe="static_w8a8", screened=())
    assert {each.failure for each in failed} == {"was killed by SIGILL", "chooses another class"}
    (plain,) = trials(choice.made_for, recipe="static_w8a8", passes=())
    assert (plain.bytes, plain.sha256) == (None, None)
    assert "plain" not in choice.made_for.why


def test_a_recipe_of_which_nothing_can_be_measured_is_a_failed_check(chosen: Any) -> None:
    with pytest.raises(CheckFailedError, match="no candidate of static_w8a8 could be measured: no such instruction"):
        chosen(lambda order: 1.0 if order.recipe is FLOAT32 else "no such instruction")


def test_passes_that_give_the_same_file_are_one_candidate(chosen: Any) -> None:
    def alike(order: Order) -> str:
        return words(order).replace("quad_columns", "pair_columns")

    choice, bench = chosen(priced(1000, 400, {"quad_columns": 0.5, "pair_columns": 0.5}), alike=alike)
    assert [len(trials(choice.made_for, recipe=name)) for name in ("float32", "static_w8a8")] == [3, 5]
    assert len(list(bench.workshop.folder.iterdir())) == 8


def test_a_second_target_uses_what_was_made_for_the_first(chosen: Any) -> None:
    _, bench = chosen(priced(1000, 400, {}))
    made = list(bench.workshop.made)
    other = ScriptedCosts(lambda path: 3.0 if "float32" in path.name else 1.0)
    second = choose(bench.workshop, "x86", other)
    assert bench.workshop.made == made
    assert len(second.made_for.trials) == len(made)
    assert second.made_for.kind == "time"
