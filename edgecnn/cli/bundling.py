"""What ``quantize`` and ``export`` share: from their options to a bundle, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgecnn.cli import made_for, max_drop
from edgecnn.cli.bundle_text import document, text
from edgecnn.cli.options import force_option, json_option, out_option, print_json
from edgecnn.cli.sources import SourceWords, say
from edgecnn.errors import CheckFailedError, UsageError

if TYPE_CHECKING:
    from edgecnn.export.drafts import Order
    from edgecnn.export.judge import Judged
    from edgecnn.export.mixed import Outcome
    from edgecnn.export.source import Source
    from edgecnn.quantize.qat import Trained
    from edgecnn.quantize.recipe import Recipe
    from edgecnn.runtime.made_for import MadeFor

formats_option = click.option(
    "--format",
    "formats",
    default="tflite,torchscript,onnx",
    show_default=True,
    help="Of tflite, torchscript and onnx, with commas. Only static_w8a8 is also quantized in the last two.",
)
passes_option = click.option(
    "--passes", metavar="NAMES", help="Rewrites of the TFLite graph, with commas, or 'none'. Default: fastest on x86."
)
_sign_option = click.option(
    "--sign", metavar="KEY", type=click.Path(path_type=Path), help="Sign the bundle with this Ed25519 key (PEM)."
)


def bundle_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options about the bundle as a whole to a click command; ``run`` takes them by name."""
    for option in reversed((_sign_option, out_option, force_option, json_option)):
        command = option(command)
    return command


def split_names(text: str) -> list[str]:
    """The names in a comma-separated option; 'none' and the empty text name nothing."""
    return [] if text == "none" else [name.strip() for name in text.split(",") if name.strip()]


@dataclass(frozen=True)
class FileWords:
    """Which files are asked for; ``formats``, ``passes`` and ``float_layers`` are names with commas."""

    recipe: Recipe
    formats: str
    passes: str | None
    float_layers: str | None = None
    engine: str | None = None
    equalize: bool = False
    mirrored: bool = False

    @property
    def float_names(self) -> tuple[str, ...]:
        """The layers that are to stay float32."""
        return tuple(split_names(self.float_layers or ""))

    def orders(self) -> list[Order]:
        """Raises UsageError and UnknownNameError for files that there cannot be, or an engine for none of them."""
        from edgecnn.export.drafts import orders
        from edgecnn.export.torchscript import DEFAULT_ENGINE

        rewrites = None if self.passes is None else tuple(split_names(self.passes))
        engine = self.engine or DEFAULT_ENGINE
        wanted = orders(split_names(self.formats), self.recipe, rewrites, engine, self.float_names)
        quantized = [order.format for order in wanted if order.recipe is self.recipe]
        if self.engine is not None and "torchscript" not in quantized:
            raise UsageError(f"--engine {self.engine} is for quantized TorchScript, and no file is that; leave it out")
        if not self.equalize:
            return wanted
        if self.recipe.weight_bits > 8:
            raise UsageError(f"--equalize is for recipes with weights of 8 bits or less, not for {self.recipe.name}")
        return [order.equalized() for order in wanted]


@dataclass(frozen=True)
class Ways:
    """How weights and orders are found once the source is there, each None unless asked for.

    ``trained`` gives weights that were trained for the recipe, from the source and the rewrites that were chosen, and
    ``search`` the layers of the TFLite file that are to stay float32. ``target`` is what the TFLite files are made for;
    check_target let it pass.
    """

    trained: Callable[[Source, tuple[str, ...]], Trained] | None = None
    search: Callable[[Order, Source], Outcome] | None = None
    target: str | None = None

    @property
    def long(self) -> bool:
        """Whether it takes so long that what would stop the bundle is better found before."""
        return (self.trained, self.search, self.target) != (None, None, None)


NOTHING_TO_FIND = Ways()


def run(
    words: SourceWords,
    calibration: int | Literal["synthetic"],
    files: FileWords,
    ways: Ways = NOTHING_TO_FIND,
    *,
    out: Path | None,
    force: bool,
    as_json: bool,
    sign: Path | None,
) -> None:
    """Everything after the options of ``quantize`` and ``export`` are read."""
    from edgecnn.export.bundle import check_place, write_bundle
    from edgecnn.export.drafts import check_layers
    from edgecnn.runtime.signature import signer

    signing = None if sign is None else signer(sign)
    wanted = files.orders()
    if ways.trained is None:  # a graph that is trained is rewritten for every format
        _check_used(files.passes, wanted)
    if out is not None:
        check_place(out, force)
    measure = None if ways.target is None else made_for.measure_on(ways.target, say)
    if ways.trained is not None and calibration == "synthetic":
        raise UsageError("--qat and --qat-weights need a data set; give --calibration a number, not 'synthetic'")
    source = words.source(calibration)
    if files.mirrored:
        source = source.looking_twice()
    check_layers(files.float_names, source.model, source.arguments)
    suffix = "-synthetic" if source.held_out is not None else "" if ways.trained is None else "-qat"
    folder = out or Path(f"{source.name}-{files.recipe.name}{suffix}")
    if ways.long:
        check_place(folder, force)
    if ways.trained is not None:
        source = replace(source, trained=ways.trained(source, _rewrites(wanted, files.recipe)))
    outcome, record = None, None
    if ways.search is not None:
        wanted, outcome = max_drop.with_layers(wanted, source, ways.search, as_json)
    if ways.target is not None and measure is not None:
        wanted, record = made_for.chosen(wanted, ways.target, measure, source)
    judged = write_bundle(wanted, files.recipe, source, folder, force=force, say=say, made_for=record, sign=signing)
    if as_json:
        found: dict[str, Any] = {} if outcome is None else {"max_drop": max_drop.document(outcome)}
        found |= {} if record is None else {"made_for": asdict(record)}
        print_json(document(judged, files.recipe, source, folder) | found)
    else:
        _print(judged, source, folder, outcome, record, wanted)
    if outcome is not None:
        max_drop.check_proven(outcome, judged)
    failures = [each for each in judged if each.failure is not None]
    if failures:
        raise CheckFailedError(f"{len(failures)} of {len(judged)} files failed: {failures[0].failure}")


def _check_used(names: str | None, wanted: list[Order]) -> None:
    """Raise UsageError for passes that no file would have."""
    from edgecnn.quantize.passes import EQUALIZE

    if {*split_names(names or "")} - {EQUALIZE} and all(order.format != "tflite" for order in wanted):
        raise UsageError(f"--passes {names} rewrites TFLite files, and no file is one; leave it out")


def _rewrites(wanted: list[Order], recipe: Recipe) -> tuple[str, ...]:
    """Those of the graph that is trained: of the recipe's files."""
    from edgecnn.quantize.passes import defaults

    chosen = next(order.rewrites for order in wanted if order.recipe is recipe)
    return defaults(recipe) if chosen is None else chosen


def _print(
    judged: list[Judged],
    source: Source,
    folder: Path,
    outcome: Outcome | None,
    record: MadeFor | None,
    wanted: list[Order],
) -> None:
    """What a person reads."""
    click.echo(text(judged, source, folder))
    if outcome is not None:
        click.echo("\n" + max_drop.text(outcome, source.header.model))
    if record is not None:
        click.echo("\n" + made_for.text(record, wanted[0].file(source.header.model)))
