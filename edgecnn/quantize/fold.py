"""From a PyTorch module to the plain graph that everything is exported from."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments

_NOTHING_AT_INFERENCE = (nn.Dropout, nn.Dropout2d, nn.Identity)
_RELUS = (nn.ReLU, nn.ReLU6)


def example(arguments: ModelArguments, count: int = 1) -> Tensor:
    """Input zeros float32 [count, channels, height, width]."""
    return torch.zeros(count, arguments.in_channels, *arguments.image_size)


def fold(model: nn.Module) -> fx.GraphModule:
    """A traced copy of ``model`` for inference: BatchNorm folded into the convolution before it, dropout gone.

    The result computes the same as ``model.eval()`` up to float rounding (BatchNorm: Jacob et al. 2018, section 3.2).
    Raises UsageError if torch.fx cannot trace the model.
    """
    try:
        graph_module = fx.symbolic_trace(copy.deepcopy(model).eval())
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise UsageError(f"this model cannot be traced by torch.fx: {error}") from error
    graph = graph_module.graph
    _unshare(graph_module)
    for node in list(graph.nodes):
        module = module_of(graph_module, node)
        if isinstance(module, _NOTHING_AT_INFERENCE):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif isinstance(module, nn.BatchNorm2d):
            before = node.args[0]
            convolution = module_of(graph_module, before)
            if isinstance(convolution, nn.Conv2d) and len(before.users) == 1:
                graph_module.set_submodule(before.target, fuse_conv_bn_eval(convolution, module))
                node.replace_all_uses_with(before)
                graph.erase_node(node)
    return finish(graph_module)


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


def finish(graph_module: fx.GraphModule) -> fx.GraphModule:
    """Recompile after an edit and drop the submodules that nothing calls any more."""
    graph_module.graph.lint()
    graph_module.delete_all_unused_submodules()
    graph_module.recompile()
    return graph_module.eval()


def module_of(graph_module: fx.GraphModule, node: Any) -> nn.Module | None:
    """The submodule that a call_module node calls; None for any other node."""
    if isinstance(node, fx.Node) and node.op == "call_module":
        return graph_module.get_submodule(str(node.target))
    return None


def is_relu(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    """True for a ReLU or ReLU6, module or function."""
    return isinstance(module_of(graph_module, node), _RELUS) or node.target in (F.relu, torch.relu)


def propagate_shapes(graph_module: fx.GraphModule, arguments: ModelArguments) -> None:
    """Give every node ``meta["tensor_meta"].shape`` for one image."""
    ShapeProp(graph_module).propagate(example(arguments))


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Output shape of a node after ``propagate_shapes``."""
    return tuple(node.meta["tensor_meta"].shape)
