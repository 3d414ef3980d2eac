"""What ``quantize --max-drop`` and ``--float-layers`` add: their options, the ranking as a table, and the price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal

import click

from edgecnn.cli.options import print_json
from edgecnn.cli.sources import say
from edgecnn.errors import CheckFailedError, UsageError

if TYPE_CHECKING:
    from edgecnn.cli.bundling import FileWords
    from edgecnn.export.drafts import Order
    from edgecnn.export.judge import Judged
    from edgecnn.export.mixed import Cost, Latency, Outcome
    from edgecnn.export.source import Source
    from edgecnn.quantize.sensitivity import Effect

_OPTIONS = (
    click.option("--float-layers", metavar="NAMES", help="Layers that static_w8a8 leaves float32, with commas."),
    click.option(
        "--max-drop",
        metavar="POINTS",
        type=float,
        help="Leave the fewest layers float32 with which the accuracy drops by at most so much on held-out training "
        "images, and show which layer does what harm.",
    ),
)


def float_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a click command, which gets their values by name; those not given are None."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def way_to_layers(
    max_drop: float | None, files: FileWords, calibration: int | Literal["synthetic"]
) -> Callable[[Order, Source], Outcome] | None:
    """How to come from the TFLite order and a source to the layers that stay float32; None without ``--max-drop``.

    Raises UsageError for options that do not go together, before anything is read.
    """
    from edgecnn.cli.bundling import split_names
    from edgecnn.quantize.recipe import STATIC_W8A8

    if max_drop is None:
        return None
    if files.float_layers is not None:
        raise UsageError("--max-drop chooses the layers that --float-layers names; give one of them")
    if files.recipe is not STATIC_W8A8:
        raise UsageError(
            f"--max-drop is for recipe {STATIC_W8A8.name}, not for {files.recipe.name}; leave --recipe out"
        )
    if "tflite" not in split_names(files.formats):
        raise UsageError("--max-drop proves a TFLite file; add tflite to the formats")
    if calibration == "synthetic":
        raise UsageError("--max-drop needs labelled images; give --calibration a number, not 'synthetic'")
    if not 0 <= max_drop <= 100:
        raise UsageError(f"--max-drop {max_drop:g} is no drop of accuracy in points (valid: 0 to 100)")
    bound = max_drop

    def search(order: Order, source: Source) -> Outcome:
        from edgecnn.export.mixed import searching

        with searching(order, source, say) as found:
            return found.within(bound)

    return search


def with_layers(
    wanted: Sequence[Order], source: Source, search: Callable[[Order, Source], Outcome], as_json: bool
) -> tuple[list[Order], Outcome]:
    """The orders with the float layers that were found, and how.

    Raises CheckFailedError, and shows the best there is, where the bound cannot be kept.
    """
    from edgecnn.quantize.recipe import STATIC_W8A8

    outcome = search(next(order for order in wanted if order.recipe is STATIC_W8A8), source)
    if outcome.within:
        floats = outcome.best.float_layers
        return [replace(each, float_layers=floats) if each.recipe is STATIC_W8A8 else each for each in wanted], outcome
    model = source.header.model
    if as_json:
        print_json({"model": model, "dataset": source.dataset.name, "max_drop": document(outcome)})
    else:
        click.echo(text(outcome, model))
    names = ", ".join(outcome.best.float_layers) or "none"
    raise CheckFailedError(
        f"no choice of layers keeps the drop within {outcome.bound:g} points: the best drops "
        f"{_said(outcome.best.effect)} with float32 {names}; no bundle was written, raise --max-drop or try --qat"
    )


def check_proven(outcome: Outcome, judged: Sequence[Judged]) -> None:
    """Raise CheckFailedError if the bundle's TFLite file is another one than was proven."""
    digests = [each.artifact.sha256 for each in judged if each.artifact is not None]
    if outcome.best.sha256 not in digests:
        raise CheckFailedError("the TFLite file of the bundle is not the one that was proven; make it again")


def document(outcome: Outcome) -> dict[str, Any]:
    """The JSON of a search; drops are points of accuracy against the float model, below 0 for a gain."""
    return {
        "bound_points": outcome.bound,
        "within": outcome.within,
        "float_layers": list(outcome.best.float_layers),
        "images": {
            "split": "train", "ranking": outcome.ranking_images, "choosing": outcome.choosing,
            "proving": outcome.proving, "trained_on": outcome.trained_on,
        },
        "ranking": [
            {"layers": list(harm.layers), "alone": _effect(harm.alone), "without": _effect(harm.without)}
            for harm in outcome.ranking
        ],
        "chosen": _effect(outcome.chosen),
        "proven": _effect(outcome.best.effect),
        "bytes": outcome.best.bytes,
        "int8_throughout": _effect(outcome.plain.effect) | {"bytes": outcome.plain.bytes},
        "cost": None if outcome.cost is None else asdict(outcome.cost),
    }  # fmt: skip


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "drop_points": effect.drop, "interval_points": list(effect.interval), "sqnr_db": effect.sqnr_db,
    }  # fmt: skip


def text(outcome: Outcome, model: str) -> str:
    """What a person reads."""
    from edgecnn.report.table import table

    rows = [
        [
            ", ".join(harm.layers), *_cells(harm.alone), *_cells(harm.without),
            "float32" if set(harm.layers) <= set(outcome.best.float_layers) else "int8",
        ]
        for harm in outcome.ranking
    ]  # fmt: skip
    seen = "which they were trained on" if outcome.trained_on else "which they were not trained on"
    return "\n".join([
        f"what quantizing each layer of {model} does to these weights on {outcome.ranking_images:,} training images, "
        f"{seen}",
        "",
        table(["layer", "alone drops", "SQNR dB", "without drops", "SQNR dB", "becomes"], rows, "lrrrrl"),
        "",
        "alone    only this layer is quantized; without: all but this one. Drops are in points, gains are below 0",
        f"int8     throughout the file drops {_said(outcome.plain.effect)} on {outcome.proving:,} other images",
        *_verdict(outcome),
        *([] if outcome.cost is None else _price(outcome, outcome.cost)),
    ])  # fmt: skip


def _verdict(outcome: Outcome) -> list[str]:
    if not outcome.within:
        return []
    if not outcome.best.float_layers:
        return [f"within   {outcome.bound:g} points: no layer needs to stay float32"]
    kept = sum(set(harm.layers) <= set(outcome.best.float_layers) for harm in outcome.ranking)
    return [
        f"within   {outcome.bound:g} points: with {kept} of {len(outcome.ranking)} layers float32 the file drops "
        f"{_said(outcome.best.effect)}"
    ]


def _price(outcome: Outcome, cost: Cost) -> list[str]:
    grown = outcome.best.bytes / outcome.plain.bytes
    lines = [
        f"bytes    {outcome.best.bytes:,} instead of {outcome.plain.bytes:,}: {grown:.2f} times; float32 takes "
        f"{cost.float32_bytes:,}",
        f"latency  {cost.mixed.microseconds:.1f} us instead of {cost.plain_microseconds:.1f}: "
        f"{_times(cost.mixed)}; float32 takes {cost.float32.microseconds:.1f}: {_times(cost.float32)}",
    ]
    return [*lines, *(f"doubt    {reason}" for reason in cost.doubts)]


def _times(latency: Latency) -> str:
    if latency.interval is None:
        return f"{latency.ratio:.2f} times"
    low, high = latency.interval
    return f"{latency.ratio:.2f} times ({low:.2f} to {high:.2f})"


def _cells(effect: Effect) -> list[str]:
    return [f"{effect.drop:+.2f}", "exact" if effect.sqnr_db is None else f"{effect.sqnr_db:.1f}"]


def _said(effect: Effect) -> str:
    low, high = effect.interval
    return f"{effect.drop:+.2f} points (95 %: {low:+.2f} to {high:+.2f})"
