"""Dropout during training under quantization, where the float network had it.

A graph for inference has none. Without it a head that was trained with dropout learns in a few epochs, by heart, what
dropout kept it from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx, nn
from torch.nn import functional as F

from edgecnn.models import ModelArguments
from edgecnn.quantize.graph import add_module, finish, module_of, only_user, source_of
from edgecnn.quantize.trace import trace

KINDS: dict[Callable[..., Any], type[nn.Dropout | nn.Dropout2d]] = {F.dropout: nn.Dropout, F.dropout2d: nn.Dropout2d}


def bring_back(graph_module: fx.GraphModule, model: nn.Module, arguments: ModelArguments) -> None:
    """Drop inputs of those layers of a QDQ graph, in place, whose inputs ``model`` drops; it infers as before."""
    original = trace(model, arguments)
    dropouts = {
        str(user.target): dropout
        for node in original.graph.nodes
        if (dropout := _dropout(original, node)) is not None and (user := only_user(node)) is not None
        and isinstance(module_of(original, user), nn.Linear | nn.Conv2d)
    }  # fmt: skip
    for node in list(graph_module.graph.nodes):
        before = source_of(node)
        if node.op == "call_module" and node.target in dropouts and before is not None:
            with graph_module.graph.inserting_before(node):
                name = add_module(graph_module, f"{node.target}_dropout", dropouts[str(node.target)])
                node.replace_input_with(before, graph_module.graph.call_module(name, (before,)))
    finish(graph_module)


def _dropout(graph_module: fx.GraphModule, node: fx.Node) -> nn.Dropout | nn.Dropout2d | None:
    """A layer that drops what a node drops in training; None for a node that is no dropout."""
    module = module_of(graph_module, node)
    if isinstance(module, nn.Dropout | nn.Dropout2d):
        return type(module)(module.p)
    kind = KINDS.get(node.target) if callable(node.target) else None
    share: Any = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 0.5)
    return kind(share) if kind is not None and isinstance(share, int | float) else None
