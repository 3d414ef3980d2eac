"""From a PyTorch module to the plain graph that everything is exported from."""

from __future__ import annotations

import copy

import torch
from torch import fx, nn

from edgecnn.errors import CheckFailedError
from edgecnn.models import ModelArguments
from edgecnn.models.normalization import normalization_of
from edgecnn.quantize.graph import example, finish, module_of
from edgecnn.quantize.lower import lower
from edgecnn.quantize.normalize import fold_normalization
from edgecnn.quantize.simplify import fold_batchnorm, simplify
from edgecnn.quantize.trace import trace

TOLERANCE = 1e-3  # of the largest logit; float rounding of a deep model stays well below


def fold(model: nn.Module, arguments: ModelArguments | None = None) -> fx.GraphModule:
    """A traced copy of ``model`` for inference: BatchNorm folded into the layer before it, dropout gone.

    With ``arguments`` functions become layers and what depends on the size of the image is settled for that size,
    which all models but those of edgecnn need. The result computes the same as ``model.eval()`` up to float rounding,
    the model's input normalization included. Raises UsageError if the model cannot be traced, CheckFailedError if the
    graph computes something else.
    """
    graph_module = trace(model, arguments)
    if arguments is not None:
        lower(graph_module, arguments)
    _unshare(graph_module)
    for part in graph_module.modules():
        if hasattr(part, "inplace"):
            part.inplace = False  # type: ignore[assignment]  # a tensor of the graph may have other users
    fold_batchnorm(graph_module)
    finish(graph_module)
    if arguments is not None:
        simplify(graph_module, arguments)
        normalization = normalization_of(model)
        if normalization is not None:
            fold_normalization(graph_module, normalization, arguments)
        _check(model, graph_module, arguments)
    return graph_module


def _unshare(graph_module: fx.GraphModule) -> None:
    """Give every call a module of its own, so that rewriting one call leaves the others alone."""
    called: set[str] = set()
    for node in graph_module.graph.nodes:
        module = module_of(graph_module, node)
        if module is None:
            continue
        if node.target in called:
            node.target = f"{node.name}_again"
            graph_module.add_submodule(node.target, copy.deepcopy(module))
        called.add(node.target)


def _check(model: nn.Module, graph_module: fx.GraphModule, arguments: ModelArguments) -> None:
    """Compare the two on noise: a tracer writes down what the code did once, and code may do something else again."""
    noise = torch.empty_like(example(arguments, 3)).uniform_(-2, 2, generator=torch.Generator().manual_seed(0))
    was_training = model.training
    with torch.no_grad():
        expected, found = model.eval()(noise.clone()), graph_module(noise)  # a model may write into its input
    model.train(was_training)
    largest = max(1.0, float(expected.abs().max()))
    difference = float((found - expected).abs().max())
    if torch.isfinite(expected).all() and not difference <= TOLERANCE * largest:
        raise CheckFailedError(
            f"the graph traced from the model gives other logits than the model (by {difference:.2g} of "
            f"{largest:.2g}); its forward may depend on the images or on chance in a way that no graph can hold"
        )
