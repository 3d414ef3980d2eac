"""Dropout during training under quantization, where the float network had it.

A graph for inference has none. Without it a head that was trained with dropout learns in a few epochs, by heart, what
dropout kept it from.
"""

from __future__ import annotations

from typing import Any

from torch import fx, nn
from torch.nn import functional as F

from edgecnn.models import ModelArguments
from edgecnn.quantize.graph import add_module, finish, module_of, only_user, source_of
from edgecnn.quantize.trace import trace


def bring_back(graph_module: fx.GraphModule, model: nn.Module, arguments: ModelArguments) -> None:
    """Drop inputs of those layers of a QDQ graph, in place, whose inputs ``model`` drops; it infers as before."""
    original = trace(model, arguments)
    shares = {
        str(user.target): share
        for node in original.graph.nodes
        if (share := _share(original, node)) is not None and (user := only_user(node)) is not None
        and isinstance(module_of(original, user), nn.Linear | nn.Conv2d)
    }  # fmt: skip
    for node in list(graph_module.graph.nodes):
        before = source_of(node)
        if node.op == "call_module" and node.target in shares and before is not None:
            with graph_module.graph.inserting_before(node):
                name = add_module(graph_module, f"{node.target}_dropout", nn.Dropout(shares[str(node.target)]))
                node.replace_input_with(before, graph_module.graph.call_module(name, (before,)))
    finish(graph_module)


def _share(graph_module: fx.GraphModule, node: fx.Node) -> float | None:
    """The share of its input that a node drops in training; None for one that is no dropout."""
    module = module_of(graph_module, node)
    if isinstance(module, nn.Dropout):
        return module.p
    share: Any = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 0.5)
    return share if node.target is F.dropout and isinstance(share, int | float) else None
