"""Every file that can be made of a model, each with what it must agree with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from torch import fx

from edgecnn.errors import UnknownNameError, UsageError
from edgecnn.evaluate import predictor
from edgecnn.export import converted, onnx, tflite, torchscript
from edgecnn.export.parity import MIN_AGREEMENT, MIN_TRAINED_AGREEMENT
from edgecnn.export.source import Source
from edgecnn.models import short_name
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.fold import fold
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8, Recipe
from edgecnn.quantize.simulate import Mode, set_mode
from edgecnn.runtime.manifest import FORMATS

SUFFIXES = {"tflite": ".tflite", "torchscript": ".torchscript", "onnx": ".onnx"}


@dataclass(frozen=True)
class Draft:
    """A model file that was made and not yet judged.

    ``reference`` gives the logits it must reproduce, choosing the same class of at least ``agreement`` (a share) of
    images; ``graph`` is the PyTorch graph it was made from, where its layers can be held against it.
    """

    format: str
    recipe: Recipe
    content: bytes
    reference: Callable[[np.ndarray], np.ndarray]
    graph: fx.GraphModule | None = None
    rewrites: tuple[str, ...] = ()
    engine: str | None = None
    agreement: float = MIN_AGREEMENT


@dataclass(frozen=True)
class Order:
    """A file to make: a format, a recipe, and what may be chosen of each.

    ``rewrites`` None means the default passes of the recipe; ``engine`` is the quantized engine of TorchScript.
    """

    format: str
    recipe: Recipe
    rewrites: tuple[str, ...] | None = None
    engine: str = torchscript.DEFAULT_ENGINE

    def file(self, model: str) -> str:
        """File name: model, whole recipe name, suffix of the format."""
        return f"{short_name(model)}_{self.recipe.name}{SUFFIXES[self.format]}"


def orders(formats: Iterable[str], recipe: Recipe, rewrites: tuple[str, ...] | None, engine: str) -> list[Order]:
    """The files of a bundle: float32 in every format, and the recipe in each that has it (TFLite has all).

    Raises UnknownNameError for a format, a pass or an engine that does not exist, UsageError when no format would
    have the recipe.
    """
    wanted = list(dict.fromkeys(formats))
    for name in wanted:
        if name not in FORMATS:
            raise UnknownNameError("format", name, FORMATS)
    if not wanted:
        raise UsageError(f"no format was asked for; give one or more of {', '.join(FORMATS)}")
    passes.check_names(rewrites or ())
    torchscript.check_engine(engine)
    found = []
    for name in FORMATS:
        if name in wanted:
            found.append(Order(name, FLOAT32, rewrites))
            if recipe is not FLOAT32 and (name == "tflite" or recipe is STATIC_W8A8):
                found.append(Order(name, recipe, rewrites, engine))
    if all(order.recipe is not recipe for order in found):
        raise UsageError(f"recipe {recipe.name} exists only as tflite; add tflite to the formats")
    return found


def make(order: Order, source: Source) -> Draft:
    """Make one file. Raises CheckFailedError if a converter fails, UnknownNameError for a pass or engine."""
    if order.format == "tflite":
        return _tflite(order, source)
    if order.format == "onnx":
        return _onnx(order, source)
    return _torchscript(order, source)


def _tflite(order: Order, source: Source) -> Draft:
    rewrites = order.rewrites
    if rewrites is None and source.trained is not None and order.recipe is STATIC_W8A8:
        rewrites = source.trained.rewrites
    if rewrites is None:
        rewrites = passes.defaults(order.recipe)
    if order.recipe is STATIC_W8A8:
        graph = _simulation(source, rewrites)
        least = MIN_AGREEMENT if source.trained is None else MIN_TRAINED_AGREEMENT
        content = tflite.convert_quantized(graph, source.arguments)
        return Draft(order.format, order.recipe, content, predictor(graph), graph, rewrites, agreement=least)
    graph = passes.apply(fold(source.model, source.arguments), rewrites, source.arguments)
    content = tflite.convert_float(graph, source.arguments)
    if order.recipe is not FLOAT32:
        content = converted.convert(content, order.recipe, source.calibration_batches())
    return Draft(order.format, order.recipe, content, predictor(source.model), graph, rewrites)


def _simulation(source: Source, rewrites: tuple[str, ...]) -> fx.GraphModule:
    """The QDQ graph of recipe static_w8a8: trained where the source has it, otherwise calibrated."""
    if source.trained is not None:
        return source.trained.graph(source.model, rewrites)
    return ptq.calibrate(source.model, source.arguments, source.calibration_batches(), rewrites)


def _onnx(order: Order, source: Source) -> Draft:
    if order.recipe is FLOAT32:
        content = onnx.convert_float(fold(source.model, source.arguments), source.arguments)
        return Draft(order.format, order.recipe, content, predictor(source.model))
    graph = _simulation(source, () if source.trained is None else source.trained.lasting_rewrites)
    content = onnx.convert_quantized(graph, source.arguments)
    set_mode(graph, Mode.ONNX)  # it rounds averages as ONNX Runtime does, and the simulation as LiteRT
    return Draft(order.format, order.recipe, content, predictor(graph))


def _torchscript(order: Order, source: Source) -> Draft:
    if order.recipe is FLOAT32:
        content = torchscript.convert(fold(source.model, source.arguments), source.arguments)
        return Draft(order.format, order.recipe, content, predictor(source.model))
    trained = source.trained
    graph = fold(source.model, source.arguments) if trained is None else trained.float_graph(source.model)
    quantized = torchscript.quantize(graph, source.arguments, source.calibration_batches(), order.engine)
    content = torchscript.convert(quantized, source.arguments)
    reference = torchscript.predictor(quantized, order.engine)
    return Draft(order.format, order.recipe, content, reference, engine=order.engine)
