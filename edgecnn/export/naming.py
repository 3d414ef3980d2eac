"""Full module names in TFLite files: litert-torch writes only the last part of each, after a long path of classes.

So that no name is lost, the graph is converted under names that are single words, and the tensors of the file are
renamed afterwards: ``res1.conv1.weight`` and ``res1.conv1.bias`` for what a layer holds, ``res1.conv1;conv_2d`` for
what an operation gives. A function has the name of the module that calls it before its own, as in ``res1.add``. The
tensors that a caller sees, inputs and outputs, keep their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from torch import fx, nn

from edgecnn.export.flatbuffer import LAYER_OPERATIONS, TFLiteGraph

_WORD = re.compile(r"_named(\d+)end\b")


class _Call(nn.Module):
    """A function or method as a module, since the converter names only what lies in modules."""

    def __init__(self, function: Callable[..., Any] | str) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.function, str):
            return getattr(args[0], self.function)(*args[1:], **kwargs)
        return self.function(*args, **kwargs)


def flattened(graph_module: fx.GraphModule) -> tuple[fx.GraphModule, list[str]]:
    """The same graph over the same modules, each called by one word; and the full names that the words stand for."""
    names: list[str] = []
    parts: dict[str, Any] = {}
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph_module.graph.nodes:
        if node.op in ("call_module", "call_function", "call_method"):
            word = f"named{len(names)}end"
            names.append(_name(node))
            target = node.target
            parts[word] = graph_module.get_submodule(target) if node.op == "call_module" else _Call(target)
            args, kwargs = fx.map_arg((node.args, node.kwargs), copies.__getitem__)
            copies[node] = graph.call_module(word, args, kwargs)
            continue
        if node.op == "get_attr":
            parts[node.target] = _attribute(graph_module, node.target)
        copies[node] = graph.node_copy(node, copies.__getitem__)
    return fx.GraphModule(parts, graph).eval(), names


def rename(graph: TFLiteGraph, names: Sequence[str]) -> None:
    """Give the tensors of a converted file the names that their words stand for."""
    tensors = graph.subgraph.tensors
    found = [_modules(tensor, names) for tensor in tensors]
    taken = {tensor.name for tensor in tensors}
    kept = {int(index) for index in (*graph.subgraph.inputs, *graph.subgraph.outputs)}
    module_of: dict[int, str] = {}

    def name(index: int, text: str) -> None:
        if index in kept or index < 0:
            return
        kept.add(index)
        unique, count = text, 1
        while unique.encode() in taken:
            count += 1
            unique = f"{text};{count}"
        taken.add(unique.encode())
        tensors[index].name = unique.encode()

    for operation, operator in zip(graph.names, graph.subgraph.operators, strict=True):
        inputs, outputs = ([int(each) for each in ends] for ends in (operator.inputs, operator.outputs))
        layer = operation in LAYER_OPERATIONS
        # An output is named after all that was fused into it, the first of it last; what a layer holds is its own.
        before = {module_of.get(each) for each in inputs}
        candidates = [module for index in outputs for module in reversed(found[index])]
        own = found[inputs[1]][-1:] if layer else [each for each in candidates if each not in before]
        module = next(iter([*own, *candidates]), None)
        if module is None:
            continue
        if layer:
            for index, what in zip(inputs[1:3], ("weight", "bias"), strict=False):
                name(index, f"{module}.{what}")
        for index in outputs:
            module_of[index] = module
            name(index, f"{module};{operation.lower()}")
    for index, modules in enumerate(found):
        if modules:
            name(index, f"{modules[-1]};constant")


def _name(node: fx.Node) -> str:
    if node.op == "call_module":
        return str(node.target)
    around = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
    own = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", node.name)
    return ".".join([*(path for path in around[-1:] if path), own])


def _attribute(root: Any, path: str) -> Any:
    for part in path.split("."):
        root = getattr(root, part)
    return root


def _modules(tensor: schema.TensorT, names: Sequence[str]) -> list[str]:
    """The modules in a tensor's name."""
    return [names[int(match[1])] for match in _WORD.finditer((tensor.name or b"").decode(errors="replace"))]
