"""From functions and methods to layers: what models write in many ways is written in one.

A graph of torch.fx has Python's functions, methods and arithmetic on sizes, one of torch.export ATen's. Both become
calls of modules (torch's own and those of ``layers``) and four functions: add, sub, mul and cat. What is not in the
tables here stays as it is.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments
from edgecnn.quantize.builders import BUILDERS
from edgecnn.quantize.graph import add_module, example, module_of, replace, values_of
from edgecnn.quantize.layers import GlobalMean, Permute, Reshape, Scale, Slice

IS_TENSOR, RANK = "edgecnn.is_tensor", "edgecnn.rank"  # keys in Node.meta
# Nothing happens to an image in these, in evaluation mode.
IDENTITIES = (
    "dropout", "feature_dropout", "alpha_dropout", "dropout2d", "stochastic_depth", "drop_path", "contiguous", "clone",
    "detach", "alias", "lift_fresh_copy",
)  # fmt: skip
# Nor in these, where it was of that type before.
CASTS = ("to", "float", "type", "type_as", "_to_copy")
RESHAPES = ("view", "reshape", "flatten", "squeeze", "unsqueeze", "unflatten", "_unsafe_view")
EXPANDS = ("expand", "expand_as", "broadcast_to")
BINARY = {
    "add": operator.add, "iadd": operator.add, "mul": operator.mul, "imul": operator.mul, "multiply": operator.mul,
    "sub": operator.sub, "isub": operator.sub, "subtract": operator.sub, "rsub": operator.sub,
}  # fmt: skip
OPERANDS = ("input", "self", "other")
ALIASES = {"axis": "dim", "keepdims": "keepdim"}  # numpy's names, which torch takes too
WITH_INDICES = ("max_pool2d_with_indices", "adaptive_max_pool2d_with_indices", "adaptive_max_pool2d")
CHECKS = ("_assert", "_guards", "sym_constrain")


def lower(graph_module: fx.GraphModule, arguments: ModelArguments) -> fx.GraphModule:
    """Rewrite a graph that went through ``write_out`` as the module's docstring says, in place.

    It then is for images of one size and any number. Raises UsageError for what no layer can stand for.
    """
    values, more = (values_of(graph_module, example(arguments, count)) for count in (2, 3))
    _drop_indices(graph_module, values)
    constants = _constants(graph_module, values, more)
    for node in list(graph_module.graph.nodes):
        node.meta[IS_TENSOR] = isinstance(values[node], Tensor)
        node.meta[RANK] = getattr(values[node], "ndim", 0)
        if node in constants or not node.users or node.op not in ("call_function", "call_method"):
            continue
        _Lowering(graph_module, node, values, constants).run()
    _drop_the_rest(graph_module, constants)
    return graph_module


def write_out(graph_module: fx.GraphModule) -> None:
    """layer(input=x) becomes layer(x), add(a, b, alpha=c) becomes add(a, b * c) and rsub(a, b) becomes b - a."""
    graph = graph_module.graph
    for node in graph.nodes:
        if node.op == "call_module":
            given = inspect.signature(graph_module.get_submodule(node.target).forward).bind(*node.args, **node.kwargs)
            node.args, node.kwargs = given.args, given.kwargs
        elif _name(node) in BINARY:
            args, named = _named(node.target, node.args, node.kwargs)
            operands = _operands(args, named)
            if len(operands) != 2 or not named.keys() <= {*OPERANDS, "alpha"}:
                continue
            if _name(node) == "rsub":
                operands.reverse()
                node.target = operator.sub
            if "alpha" in named:
                with graph.inserting_before(node):
                    operands[1] = graph.call_function(operator.mul, (operands[1], named["alpha"]))
            node.args, node.kwargs = tuple(operands), {}


def _named(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of a call, in places and by names; an ATen overload names all of them."""
    if not isinstance(target, torch._ops.OpOverload):
        return list(args), dict(kwargs)
    names = (argument.name for argument in target._schema.arguments)
    return [], dict(zip(names, args, strict=False)) | dict(kwargs)


def _operands(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """What a call of add, sub or mul computes with, whether it names them or not."""
    return [*args, *(kwargs[name] for name in OPERANDS if name in kwargs)]


def _drop_indices(graph_module: fx.GraphModule, values: dict[fx.Node, Any]) -> None:
    """A pool that also says where its values were gives only these. Raises UsageError where the places are used."""
    for node, given in values.items():
        module = module_of(graph_module, node)
        name = node.name if module is None else node.target
        if not isinstance(given, tuple) or not (hasattr(module, "return_indices") or _name(node) in WITH_INDICES):
            continue
        if any(user.target is not operator.getitem or (user.args[1] != 0 and user.users) for user in node.users):
            raise UsageError(
                f"'{name}' is a pool of which the model also uses where the largest values were (return_indices=True), "
                "as for unpooling: there is no int8 operation for that; use another layer"
            )
        for user in list(node.users):
            replace(graph_module, user, node)
        if module is not None:
            module.return_indices = False  # type: ignore[assignment]
        values[node] = given[0]


def _constants(
    graph_module: fx.GraphModule, values: dict[fx.Node, Any], more: dict[fx.Node, Any]
) -> dict[fx.Node, Any]:
    """Values of the nodes that are the same for all images: weights, and sizes other than the number of images."""
    found: dict[fx.Node, Any] = {}
    for node in graph_module.graph.nodes:
        if node.op in ("placeholder", "output", "call_module"):
            continue
        value = values[node]
        if all(each in found for each in node.all_input_nodes) or (not _holds_tensor(value) and value == more[node]):
            found[node] = value
    return found


def _holds_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(map(_holds_tensor, value)))


def _drop_the_rest(graph_module: fx.GraphModule, constants: dict[fx.Node, Any]) -> None:
    """Put numbers in the place of what computes them, and let go of what nobody uses any more."""
    graph = graph_module.graph
    plain = {node: value for node, value in constants.items() if not _holds_tensor(value)}
    for node in graph.nodes:
        if node not in plain:
            node.args = fx.map_arg(node.args, lambda each: plain.get(each, each))
            node.kwargs = fx.map_arg(node.kwargs, lambda each: plain.get(each, each))
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("output", "placeholder") and (_name(node) or "").startswith(CHECKS):
            graph.erase_node(node)
    graph.eliminate_dead_code()


def _name(node: fx.Node) -> str | None:
    """The plain name of what a node calls: the same for a function, a method, in place or not, and ATen's."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.partition("::")[2].removesuffix("_")
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    return name if name.startswith("_") else name.removesuffix("_")


class _Lowering:
    """One node and how it is written in layers."""

    def __init__(
        self, graph_module: fx.GraphModule, node: fx.Node, values: dict[fx.Node, Any], constants: dict[fx.Node, Any]
    ) -> None:
        self.graph_module, self.node, self.values = graph_module, node, values
        self.name = _name(node) or ""
        args: Any = fx.map_arg(tuple(node.args), lambda each: constants.get(each, each))
        kwargs: Any = fx.map_arg(dict(node.kwargs), lambda each: constants.get(each, each))
        # F.batch_norm has the name of torch's and another order.
        target = torch.ops.aten.batch_norm.default if node.target is torch.batch_norm else node.target
        self.args, self.kwargs = _named(target, args, kwargs)
        if isinstance(target, torch._ops.OpOverload):
            self.args = [self.kwargs.pop(target._schema.arguments[0].name)]
        self.kwargs = {ALIASES.get(name, name): value for name, value in self.kwargs.items()}
        if "input" in self.kwargs:
            self.args = [self.kwargs.pop("input"), *self.args]

    def run(self) -> None:
        """Rewrite the node if a table knows it."""
        if self.name in ("cat", "concat", "concatenate"):
            self._cat()
        elif self.name in BINARY:
            self._binary()
        elif self.name in ("chunk", "split", "split_with_sizes", "tensor_split"):
            self._split()
        else:
            layers = self._layers()
            if layers is not None:
                self._call(layers)

    def _layers(self) -> Sequence[nn.Module] | None:
        """The layers, one after another, that do the same; None where that is not known."""
        source = self._source()
        if source is None:
            return None
        before, after = self.values.get(source), self.values[self.node]
        if not isinstance(before, Tensor) or not isinstance(after, Tensor):
            return None
        if self.name in IDENTITIES or (self.name in RESHAPES and before.shape == after.shape):
            return ()
        if self.name in CASTS:
            return () if before.dtype == after.dtype else None
        if self.name in EXPANDS:
            return () if before.ndim == after.ndim and all(map(self._expands, self.node.users)) else None
        if self.name in RESHAPES:
            return self._reshape(before, after)
        if self.name in ("permute", "transpose", "swapaxes"):
            return self._permute(before.ndim)
        if self.name in ("mean", "slice", "getitem", "div", "truediv"):
            return getattr(self, f"_{self.name}")(before)
        return self._table(before)

    def _expands(self, user: fx.Node) -> bool:
        """Whether ``user`` itself repeats what it takes to this node's shape, as arithmetic with such a tensor does."""
        others = [self.values[each] for each in user.all_input_nodes if each is not self.node]
        return _name(user) in BINARY and [each.shape for each in others] == [self.values[self.node].shape]

    def _source(self) -> fx.Node | None:
        first = self.args[0] if self.args else None
        return first if isinstance(first, fx.Node) else None

    def _table(self, before: Tensor) -> Sequence[nn.Module] | None:
        builder = BUILDERS.get(self.name)
        if builder is None:
            return None
        names = list(inspect.signature(builder).parameters)
        given = dict(zip(names, self.args[1:], strict=False)) | {k: v for k, v in self.kwargs.items() if k in names}
        if any(isinstance(value, fx.Node) for value in given.values()):
            return None
        layer = builder(**given)
        if isinstance(layer, nn.BatchNorm2d) and before.ndim != 4:
            layer.__class__ = nn.BatchNorm1d  # type: ignore[assignment]  # they differ in the shapes they take
        return None if layer is None else (layer,)

    def _call(self, layers: Sequence[nn.Module]) -> None:
        source, graph = self._source(), self.graph_module.graph
        assert source is not None
        for layer in layers:
            with graph.inserting_before(self.node):
                source = graph.call_module(add_module(self.graph_module, self._path(), layer.eval()), (source,))
            source.meta |= {IS_TENSOR: True}
        source.meta[RANK] = getattr(self.values[self.node], "ndim", 0)
        self.values[source] = self.values[self.node]
        self.node.replace_all_uses_with(source)
        graph.erase_node(self.node)

    def _path(self) -> str:
        """A name for a layer: of the module whose forward this stands in and, if that is not a layer, of the call."""
        stack = list((self.node.meta.get("nn_module_stack") or {}).values())
        path, kind = stack[-1][:2] if stack else ("", "")
        kind = kind if isinstance(kind, str) else f"{kind.__module__}."
        name = self.node.name
        return str(path) if path and kind.startswith("torch.nn.modules.") else f"{path}.{name}".lstrip(".")

    def _reshape(self, before: Tensor, after: Tensor) -> Sequence[nn.Module] | None:
        if before.shape[0] != after.shape[0]:
            return None
        return (nn.Flatten(),) if after.ndim == 2 else (Reshape(*after.shape[1:]),)

    def _permute(self, dimensions: int) -> Sequence[nn.Module] | None:
        rest = [*self.args[1:], *self.kwargs.values()]
        dims = list(rest[0]) if len(rest) == 1 and isinstance(rest[0], list | tuple) else rest
        dims = [dim % dimensions for dim in dims]
        if self.name != "permute":
            first, second = dims
            dims = list(range(dimensions))
            dims[first], dims[second] = second, first
        return (Permute(*dims),) if dims[0] == 0 else None

    def _mean(self, before: Tensor) -> Sequence[nn.Module] | None:
        rest = dict(zip(("dim", "keepdim"), self.args[1:], strict=False)) | self.kwargs
        dims = rest.get("dim") or ()  # None is all of them, as nothing is
        dims = {dim % before.ndim for dim in ([dims] if isinstance(dims, int) else dims)}
        if before.ndim != 4 or dims != {2, 3}:
            return None
        return (GlobalMean(),) if rest.get("keepdim", False) else (GlobalMean(), nn.Flatten())

    def _slice(self, before: Tensor) -> Sequence[nn.Module] | None:
        """ATen's slice(x, dim, start, end, step)."""
        dim = self.kwargs.get("dim", 0) % before.ndim
        key = slice(*(self.kwargs.get(name) for name in ("start", "end", "step")))
        return _sliced(before, [slice(None)] * dim + [key])

    def _getitem(self, before: Tensor) -> Sequence[nn.Module] | None:
        key = self.args[1]
        keys = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in keys:
            place = keys.index(Ellipsis)
            keys[place : place + 1] = [slice(None)] * (before.ndim + 1 - len(keys))
        # One of a dimension is a slice of one, of which the dimension then goes.
        ranged = [slice(key, key + 1 or None) if isinstance(key, int) else key for key in keys]
        layers = _sliced(before, ranged)
        if layers is None or ranged == keys:
            return layers
        return [*layers, *(self._reshape(before, self.values[self.node]) or ())]

    def _div(self, before: Tensor) -> Sequence[nn.Module] | None:
        divisor = self.args[1] if len(self.args) > 1 else self.kwargs.get("other")
        if "rounding_mode" in self.kwargs or not isinstance(divisor, int | float | Tensor):
            return None
        return _scaled(before, 1 / torch.as_tensor(divisor), 0.0)

    _truediv = _div

    def _cat(self) -> None:
        tensors = self.args[0] if self.args else self.kwargs["tensors"]
        dim = self.args[1] if len(self.args) > 1 else self.kwargs.get("dim", 0)
        if isinstance(tensors, list | tuple) and all(isinstance(each, fx.Node) for each in tensors):
            self._becomes(torch.cat, (tuple(tensors), dim % self.values[self.node].ndim))

    def _binary(self) -> None:
        operands = _operands(self.args, self.kwargs)
        data = [each for each in operands if isinstance(each, fx.Node)]
        if len(operands) != 2 or not data or not self.node.meta[IS_TENSOR]:
            return
        function = BINARY[self.name]
        if len(data) == 2:
            self._becomes(function, tuple(operands))
            return
        other = next(each for each in operands if each is not data[0])
        if not isinstance(other, int | float | Tensor) or not isinstance(self.values[data[0]], Tensor):
            return
        factor: Tensor | float
        shift: Tensor | float
        if function is operator.mul:
            factor, shift = other, 0.0
        elif function is operator.add:
            factor, shift = 1.0, other
        else:
            factor, shift = (1.0, -other) if operands[0] is data[0] else (-1.0, other)
        layers = _scaled(self.values[data[0]], factor, shift)
        if layers is None:  # a value for each pixel, or of no image
            given = _operands(self.node.args, self.node.kwargs)
            self._becomes(function, tuple(each if each is data[0] else self._real(each, other) for each in given))
        else:
            self.args = [data[0]]
            self._call(layers)

    def _real(self, operand: Any, value: Tensor | float) -> Any:
        """``operand``, or where its ``value`` is a tensor of whole numbers, as a mask is, the same in float32."""
        if not isinstance(value, Tensor) or value.is_floating_point():
            return operand
        name = f"{self.node.name}_operand"
        self.graph_module.register_buffer(name, value.float())
        with self.graph_module.graph.inserting_before(self.node):
            return self.graph_module.graph.get_attr(name)

    def _becomes(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.node.op, self.node.target = "call_function", function
        self.node.args, self.node.kwargs = args, {}

    def _split(self) -> None:
        """Every piece that is used becomes a slice of its own."""
        pieces, source = self.values[self.node], self._source()
        dim = self.kwargs.get("dim", self.args[2] if len(self.args) > 2 else 0)
        if source is None:
            return
        dim %= pieces[0].ndim
        stops = [sum(piece.shape[dim] for piece in pieces[: index + 1]) for index in range(len(pieces))]

        def taken_by(user: fx.Node, numbers: Sequence[int]) -> list[fx.Node]:
            found = []
            for number in numbers:
                layer = Slice(dim, stops[number] - pieces[number].shape[dim], stops[number])
                name = add_module(self.graph_module, user.name, layer)
                with self.graph_module.graph.inserting_before(user):
                    found.append(self.graph_module.graph.call_module(name, (source,)))
                self.values[found[-1]] = pieces[number]
            return found

        for user in list(self.node.users):
            if user.target is not operator.getitem:  # takes all pieces as one, as cat does
                _replace_by_several(self.node, user, taken_by(user, range(len(pieces))))
                continue
            index: Any = user.args[1]
            taken = taken_by(user, range(len(pieces))[index] if isinstance(index, slice) else [index])
            if isinstance(index, slice):
                for each in list(user.users):
                    _replace_by_several(user, each, taken)
            else:
                user.replace_all_uses_with(taken[0])


def _replace_by_several(node: fx.Node, user: fx.Node, parts: list[fx.Node]) -> None:
    """Hand ``user``, which takes ``node``, a tuple, its parts."""
    for name in ("args", "kwargs"):
        setattr(user, name, fx.map_arg(getattr(user, name), lambda each: parts if each is node else each))


def _sliced(before: Tensor, keys: Sequence[Any]) -> Sequence[nn.Module] | None:
    if not all(isinstance(key, slice) for key in keys) or any(key != slice(None) for key in keys[:1]):
        return None
    found = [(dim, key.indices(before.shape[dim])) for dim, key in enumerate(keys) if key != slice(None)]
    return [Slice(dim, *key) for dim, key in found if key != (0, before.shape[dim], 1)]


def _scaled(before: Tensor, factor: Tensor | float, shift: Tensor | float) -> Sequence[nn.Module] | None:
    """x * factor + shift as a layer, where they are numbers or have a value for each channel."""
    if before.ndim != 4:
        return None
    channels = []
    for value in (factor, shift):
        tensor = torch.as_tensor(value, dtype=torch.float32).detach()
        if tensor.ndim > 4 or tensor.numel() not in (1, before.shape[1]):
            return None
        if tensor.numel() > 1 and (tensor.ndim < 3 or tensor.shape[-3] != tensor.numel()):
            return None  # broadcast along another dimension than that of the channels
        channels.append(tensor.reshape(-1).expand(before.shape[1]))
    return (Scale(*channels),)
