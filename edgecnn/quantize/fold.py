"""From a PyTorch module to the plain graph that everything is exported from."""

from __future__ import annotations

import copy

from torch import fx, nn

from edgecnn.errors import CheckFailedError, EdgeCNNError, UsageError
from edgecnn.models import ModelArguments
from edgecnn.models.mirrored import Mirrored
from edgecnn.models.normalization import normalization_of
from edgecnn.quantize.graph import add_module, computes_same, finish, module_of, on_noise, propagate_shapes, source_of
from edgecnn.quantize.lower import lower, write_out
from edgecnn.quantize.mirror import look_twice
from edgecnn.quantize.normalize import fold_normalization
from edgecnn.quantize.simplify import fold_batchnorm, simplify
from edgecnn.quantize.trace import first_line, trace


def fold(model: nn.Module, arguments: ModelArguments | None = None) -> fx.GraphModule:
    """A traced copy of ``model`` for inference: BatchNorm folded into the layer before it, dropout gone.

    With ``arguments`` functions become layers and what depends on the size of the image is settled for that size,
    which all models but those of edgecnn need. The result computes the same as ``model.eval()`` up to float rounding,
    the model's input normalization included; of a Mirrored one it holds the network once. Raises UsageError if the
    model cannot be traced or nothing can be made of its graph, CheckFailedError if the graph computes something else.
    """
    if isinstance(model, Mirrored):
        graph_module = look_twice(fold(model.network, arguments))
        if arguments is not None:
            propagate_shapes(graph_module, arguments)
            _check(model, graph_module, arguments)
        return graph_module
    graph_module = trace(model, arguments)
    try:
        _rewrite(graph_module, model, arguments)
    except EdgeCNNError:
        raise
    except Exception as error:  # what the tables say of a function may not be true of each of its calls
        reason = first_line(error.__cause__ or error)  # torch.fx tells the node that failed, and why in the cause
        raise UsageError(f"'{type(model).__name__}' gives no graph that edgecnn understands: {reason}") from error
    return graph_module


def _rewrite(graph_module: fx.GraphModule, model: nn.Module, arguments: ModelArguments | None) -> None:
    """Everything but tracing, in place."""
    write_out(graph_module)
    _hand_on(graph_module)
    if arguments is not None:
        lower(graph_module, arguments)
    _unshare(graph_module)
    for part in graph_module.modules():
        if hasattr(part, "inplace"):
            part.inplace = False  # type: ignore[assignment]
    fold_batchnorm(graph_module)
    finish(graph_module)
    if arguments is not None:
        simplify(graph_module, arguments)
        normalization = normalization_of(model)
        if normalization is not None:
            fold_normalization(graph_module, normalization, arguments)
        _check(model, graph_module, arguments)


def _unshare(graph_module: fx.GraphModule) -> None:
    """Give every call a module, and every module weights, of its own: rewriting one call leaves the others alone."""
    called: set[str] = set()
    for node in graph_module.graph.nodes:
        module = module_of(graph_module, node)
        if module is None:
            continue
        if node.target in called:
            node.target = add_module(graph_module, f"{node.name}_again", copy.deepcopy(module))
        called.add(node.target)
    seen: set[nn.Parameter] = set()
    for module in graph_module.modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight in seen:
                setattr(module, name, nn.Parameter(weight.detach().clone()))
            seen.add(weight)


def _hand_on(graph_module: fx.GraphModule) -> None:
    """What takes a tensor after it was written over takes what was written, so that nothing need be written over."""
    order = {node: place for place, node in enumerate(graph_module.graph.nodes)}
    for node, place in order.items():
        source = source_of(node)
        if source is not None and _writes(graph_module, node):
            for user in [user for user in source.users if order[user] > place]:
                user.replace_input_with(source, node)


def _writes(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    """True for a layer, function or method that gives its result in the place of its first argument."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    named = node.op in ("call_function", "call_method") and name.endswith("_") and not name.endswith("__")
    return named or bool(node.kwargs.get("inplace", getattr(module_of(graph_module, node), "inplace", False)))


def _check(model: nn.Module, graph_module: fx.GraphModule, arguments: ModelArguments) -> None:
    """Compare the two on noise: a tracer writes down what the code did once, and code may do something else again."""
    was_training = model.training
    expected, found = on_noise(model.eval(), arguments), on_noise(graph_module, arguments)
    model.train(was_training)
    if not computes_same(expected, found):
        raise CheckFailedError(
            f"the graph traced from the model gives other logits than the model (by "
            f"{float((found - expected).abs().max()):.2g} of {float(expected.abs().max()):.2g}); its forward may "
            "depend on the images or on chance, or write into a tensor that is used again, in a way that no graph can "
            "hold"
        )
