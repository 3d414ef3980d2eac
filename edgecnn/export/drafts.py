"""Every file that can be made of a model, each with what it must agree with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from torch import fx, nn

from edgecnn.errors import UnknownNameError, UsageError
from edgecnn.evaluate import predictor
from edgecnn.export import converted, onnx, tflite, torchscript
from edgecnn.export.parity import MIN_AGREEMENT, MIN_TRAINED_AGREEMENT
from edgecnn.export.source import Source
from edgecnn.models import ModelArguments, short_name
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.floats import float_layers_of, float_nodes, layer_names
from edgecnn.quantize.fold import fold
from edgecnn.quantize.recipe import FLOAT32, STATIC_W4A8, STATIC_W8A8, Recipe
from edgecnn.quantize.simulate import Mode, set_mode
from edgecnn.runtime.manifest import FORMATS

SUFFIXES = {"tflite": ".tflite", "torchscript": ".torchscript", "onnx": ".onnx"}

# Both were tried: ONNX Runtime 1.32 unpacks 4-bit weights again for each image and multiplies in float, five times as
# slow as with 8 bits.
_NO_KERNELS = "ONNX Runtime computes layers of 4-bit weights in float, and TorchScript has no such layers"


@dataclass(frozen=True)
class Draft:
    """A model file that was made and not yet judged.

    ``reference`` gives the logits it must reproduce, choosing the same class of at least ``agreement`` (a share) of
    images; ``graph`` is the PyTorch graph it was made from, where its layers can be held against it. ``float_layers``
    names the layers of a quantized file that stayed float32.
    """

    format: str
    recipe: Recipe
    content: bytes
    reference: Callable[[np.ndarray], np.ndarray]
    graph: fx.GraphModule | None = None
    rewrites: tuple[str, ...] = ()
    engine: str | None = None
    float_layers: tuple[str, ...] = ()
    agreement: float = MIN_AGREEMENT


@dataclass(frozen=True)
class Order:
    """A file to make: a format, a recipe, and what may be chosen of each.

    ``rewrites`` None means the default passes of the recipe; other formats than TFLite take only EQUALIZE of them.
    ``engine`` is the quantized engine of TorchScript; ``float_layers`` are the layers that a quantized file leaves
    float32.
    """

    format: str
    recipe: Recipe
    rewrites: tuple[str, ...] | None = None
    engine: str = torchscript.DEFAULT_ENGINE
    float_layers: tuple[str, ...] = ()

    def equalized(self) -> Order:
        """The same, with the weights equalized first."""
        chosen = passes.defaults(self.recipe) if self.rewrites is None else self.rewrites
        return replace(self, rewrites=tuple(dict.fromkeys((passes.EQUALIZE, *chosen))))

    def file(self, model: str) -> str:
        """File name: model, whole recipe name, suffix of the format."""
        return f"{short_name(model)}_{self.recipe.name}{SUFFIXES[self.format]}"


def orders(
    formats: Iterable[str],
    recipe: Recipe,
    rewrites: tuple[str, ...] | None,
    engine: str,
    float_layers: tuple[str, ...] = (),
) -> list[Order]:
    """The files of a bundle: float32 in every format, and the recipe in each that has it (TFLite has all).

    Raises UnknownNameError for a format, a pass or an engine that does not exist, UsageError when no format would
    have the recipe, or the recipe no ``float_layers``.
    """
    wanted = list(dict.fromkeys(formats))
    for name in wanted:
        if name not in FORMATS:
            raise UnknownNameError("format", name, FORMATS)
    if not wanted:
        raise UsageError(f"no format was asked for; give one or more of {', '.join(FORMATS)}")
    if float_layers and recipe is not STATIC_W8A8:
        raise UsageError(f"single layers stay float32 only in recipe {STATIC_W8A8.name}, not in {recipe.name}")
    passes.check_names(rewrites or ())
    torchscript.check_engine(engine)
    found = []
    for name in FORMATS:
        if name in wanted:
            found.append(Order(name, FLOAT32, rewrites))
            if recipe is not FLOAT32 and (name == "tflite" or recipe is STATIC_W8A8):
                found.append(Order(name, recipe, rewrites, engine, float_layers))
    if all(order.recipe is not recipe for order in found):
        reason = f": {_NO_KERNELS}" if recipe is STATIC_W4A8 else ""
        raise UsageError(f"recipe {recipe.name} exists only as tflite{reason}; add tflite to the formats")
    return found


def check_layers(names: Iterable[str], model: nn.Module, arguments: ModelArguments) -> None:
    """Raise UnknownNameError for a name of no convolution or linear of ``model``."""
    float_nodes(fold(model, arguments), names)


def make(order: Order, source: Source) -> Draft:
    """Make one file. Raises CheckFailedError if a converter fails, UnknownNameError for a pass or engine."""
    if order.format == "tflite":
        return _tflite(order, source)
    if order.format == "onnx":
        return _onnx(order, source)
    return _torchscript(order, source)


def _tflite(order: Order, source: Source) -> Draft:
    rewrites = rewrites_of(order, source)
    if order.recipe.simulated:
        graph = simulation(source, rewrites, order.recipe, order.float_layers)
        least = MIN_AGREEMENT if source.trained is None else MIN_TRAINED_AGREEMENT
        content = tflite.convert_quantized(graph, source.arguments)
        return Draft(
            order.format, order.recipe, content, predictor(graph), graph, rewrites,
            float_layers=float_layers_of(graph), agreement=least,
        )  # fmt: skip
    graph = passes.apply(fold(source.model, source.arguments), rewrites, source.arguments)
    content = tflite.convert_float(graph, source.arguments)
    if order.recipe is not FLOAT32:
        content = converted.convert(content, order.recipe, source.calibration_batches())
    return Draft(order.format, order.recipe, content, predictor(source.model), graph, rewrites)


def rewrites_of(order: Order, source: Source) -> tuple[str, ...]:
    """The passes of a TFLite file: as ordered, or those it was trained for, or the recipe's own."""
    if order.rewrites is not None:
        return order.rewrites
    if source.trained is not None and order.recipe.simulated:
        return source.trained.rewrites
    return passes.defaults(order.recipe)


def simulation(
    source: Source, rewrites: tuple[str, ...], recipe: Recipe, float_layers: tuple[str, ...] = ()
) -> fx.GraphModule:
    """The QDQ graph of ``recipe``: trained where the source has it, otherwise calibrated."""
    if source.trained is not None:
        return source.trained.graph(source.model, rewrites, float_layers)
    images = source.calibration_batches()
    return ptq.calibrate(source.model, source.arguments, images, rewrites, recipe, float_layers=float_layers)


def _onnx(order: Order, source: Source) -> Draft:
    if order.recipe is FLOAT32:
        content = onnx.convert_float(fold(source.model, source.arguments), source.arguments)
        return Draft(order.format, order.recipe, content, predictor(source.model))
    rewrites = _portable(order) if source.trained is None else source.trained.lasting_rewrites
    graph = simulation(source, rewrites, order.recipe, order.float_layers)
    content = onnx.convert_quantized(graph, source.arguments)
    set_mode(graph, Mode.ONNX)  # it rounds averages as ONNX Runtime does, and the simulation as LiteRT
    return Draft(
        order.format, order.recipe, content, predictor(graph), rewrites=_portable(order),
        float_layers=float_layers_of(graph),
    )  # fmt: skip


def _torchscript(order: Order, source: Source) -> Draft:
    if order.recipe is FLOAT32:
        content = torchscript.convert(fold(source.model, source.arguments), source.arguments)
        return Draft(order.format, order.recipe, content, predictor(source.model))
    graph = fold(source.model, source.arguments)
    if source.trained is None:
        graph = passes.apply(graph, _portable(order), source.arguments)
    else:
        graph = source.trained.float_graph(source.model)
    kept = layer_names(graph, float_nodes(graph, order.float_layers))
    images = source.calibration_batches()
    quantized, simulated = torchscript.quantize(graph, source.arguments, images, order.engine, order.float_layers)
    content = torchscript.convert(quantized, source.arguments)
    return Draft(
        order.format, order.recipe, content, predictor(simulated), rewrites=_portable(order), engine=order.engine,
        float_layers=kept,
    )  # fmt: skip


def _portable(order: Order) -> tuple[str, ...]:
    """The rewrites of an order that are not for TFLite's kernels alone."""
    return tuple(name for name in order.rewrites or () if name == passes.EQUALIZE)
