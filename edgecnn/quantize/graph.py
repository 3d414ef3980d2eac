"""What every rewrite of a traced graph needs: its modules, its shapes, and putting it in order after an edit."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional as F

from edgecnn.models import ModelArguments

TOLERANCE = 1e-3  # of the largest logit; float rounding of a deep model stays well below
SMALLEST = 1e-2  # logit that it is of: smaller ones, as shares of many classes, may be differences of larger values
_RELUS = (nn.ReLU, nn.ReLU6)


def example(arguments: ModelArguments, count: int = 1) -> Tensor:
    """Input zeros float32 [count, channels, height, width]."""
    return torch.zeros(count, arguments.in_channels, *arguments.image_size)


def values_of(graph_module: fx.GraphModule, images: Tensor) -> dict[fx.Node, Any]:
    """What every node gives for ``images`` float32 [n, channels, height, width]."""
    found: dict[fx.Node, Any] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            found[n] = super().run_node(n)
            return found[n]

    with torch.no_grad():
        Recorder(graph_module).run(images)
    return found


def on_noise(network: Callable[[Tensor], Tensor], arguments: ModelArguments) -> Tensor:
    """What ``network`` gives for three images of noise, which are always the same."""
    noise = torch.empty_like(example(arguments, 3)).uniform_(-2, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return network(noise)


def computes_same(expected: Tensor, found: Tensor) -> bool:
    """True where two results are the same up to float rounding, or the first holds what is no finite number."""
    allowed = TOLERANCE * max(SMALLEST, float(expected.abs().max()))
    return not bool(torch.isfinite(expected).all()) or float((found - expected).abs().max()) <= allowed


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


def source_of(node: fx.Node) -> fx.Node | None:
    """The node that is the first argument; None where there is none."""
    first = node.args[0] if node.args else None
    return first if isinstance(first, fx.Node) else None


def only_user(node: fx.Node) -> fx.Node | None:
    """The one node that uses ``node``; None if there are none or several."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def is_relu(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    """True for a ReLU or ReLU6, module or function."""
    return isinstance(module_of(graph_module, node), _RELUS) or node.target in (F.relu, torch.relu)


def mark_batchnorm(layer: nn.Module) -> nn.Module:
    """Note that a BatchNorm was folded into ``layer``, or into one that it stands for."""
    layer.edgecnn_held_batchnorm = True  # type: ignore[assignment]
    return layer


def held_batchnorm(layer: nn.Module) -> bool:
    """True for a layer that ``mark_batchnorm`` was told of."""
    return bool(getattr(layer, "edgecnn_held_batchnorm", False))


def add_module(graph_module: fx.GraphModule, wanted: str, module: nn.Module) -> str:
    """Add a submodule under the name ``wanted``, or that with a number after it where it is taken; gives the name."""
    name, number = wanted, 1
    while _taken(graph_module, name):
        number += 1
        name = f"{wanted}_{number}"
    graph_module.add_submodule(name, module)
    return name


def _taken(graph_module: fx.GraphModule, name: str) -> bool:
    parent: Any = graph_module
    for part in name.split("."):
        if not hasattr(parent, part):
            return False
        parent = getattr(parent, part)
    return True


def insert_after(graph_module: fx.GraphModule, node: fx.Node, wanted: str, module: nn.Module) -> fx.Node:
    """Call ``module`` on the result of ``node`` and hand what it gives to all that used ``node``."""
    name = add_module(graph_module, wanted, module)
    with graph_module.graph.inserting_after(node):
        added = graph_module.graph.call_module(name, (node,))
    node.replace_all_uses_with(added, delete_user_cb=lambda user: user is not added)
    return added


def replace(graph_module: fx.GraphModule, node: fx.Node, value: fx.Node) -> None:
    """Let ``value`` stand for ``node``, which goes."""
    node.replace_all_uses_with(value)
    graph_module.graph.erase_node(node)


def propagate_shapes(graph_module: fx.GraphModule, arguments: ModelArguments) -> None:
    """Give every node ``meta["tensor_meta"].shape`` for one image."""
    with contextlib.redirect_stderr(io.StringIO()):  # torch.fx prints the traceback of an error before it raises it
        ShapeProp(graph_module).propagate(example(arguments))


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Output shape of a node after ``propagate_shapes``."""
    return tuple(node.meta["tensor_meta"].shape)
