"""Exact rewrites of a lowered graph without which it would hold more operations than it needs, or float ones.

Unlike ``passes``, none of them is a matter of taste or target. Each says what becomes of which layer.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments
from edgecnn.quantize.graph import (
    add_module,
    finish,
    insert_after,
    mark_batchnorm,
    module_of,
    only_user,
    propagate_shapes,
    replace,
    shape_of,
    source_of,
)
from edgecnn.quantize.layers import (
    ELU,
    ChannelShuffle,
    GlobalMean,
    GroupNorm,
    LayerNorm,
    Permute,
    Reshape,
    Scale,
    Slice,
    UnitClamp,
    ZeroPad,
)
from edgecnn.quantize.lower import RANK

NOTHING_AT_INFERENCE = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Identity,
)  # fmt: skip
NOT_NEGATIVE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, UnitClamp)
WRITTEN_OUT: dict[type[nn.Module], type[nn.Module]] = {nn.LayerNorm: LayerNorm, nn.GroupNorm: GroupNorm, nn.ELU: ELU}
KEEPS_SIGN = (nn.MaxPool2d, nn.AvgPool2d, GlobalMean, nn.Flatten, ChannelShuffle, Slice, ZeroPad)


def fold_batchnorm(graph_module: fx.GraphModule) -> None:
    """BatchNorm into the layer before it (Jacob et al. 2018, section 3.2); dropout and Identity go."""
    for node in list(graph_module.graph.nodes):
        module, before = module_of(graph_module, node), source_of(node)
        if before is None:
            continue
        if isinstance(module, NOTHING_AT_INFERENCE):
            replace(graph_module, node, before)
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) and module.running_mean is None:
            raise UsageError(
                f"layer '{node.target}' is a BatchNorm without running statistics, which normalizes each batch by "
                "itself: there is no fixed computation to export; train it with track_running_stats=True"
            )
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) and len(before.users) == 1:
            layer = module_of(graph_module, before)
            if isinstance(layer, nn.Conv2d):
                graph_module.set_submodule(str(before.target), mark_batchnorm(fuse_conv_bn_eval(layer, module)))
            elif isinstance(layer, nn.Linear) and isinstance(module, nn.BatchNorm1d) and not _over_tokens(node):
                graph_module.set_submodule(str(before.target), fuse_linear_bn_eval(layer, module))
            else:
                continue
            replace(graph_module, node, before)


def _over_tokens(norm: fx.Node) -> bool:
    """Whether a BatchNorm1d is of a tensor with more than a row for each image, of which it normalizes the rows."""
    return bool(norm.meta.get(RANK, 0) > 2)


def simplify(graph_module: fx.GraphModule, arguments: ModelArguments) -> fx.GraphModule:
    """Apply every rewrite of this room, in place."""
    for rewrite in _REWRITES:
        propagate_shapes(graph_module, arguments)
        for node in list(graph_module.graph.nodes):
            module = module_of(graph_module, node)
            if module is not None:
                rewrite(graph_module, node, module)
        finish(graph_module)
    propagate_shapes(graph_module, arguments)
    return graph_module


def _set(graph_module: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    graph_module.set_submodule(str(node.target), module.eval())


def _kinds(graph_module: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    """What is written out: SiLU, norms, a Hardtanh that is one of the clamps runtimes know, padding channels-last."""
    if isinstance(module, nn.SiLU):
        source = source_of(node)
        assert source is not None
        with graph_module.graph.inserting_before(node):
            name = add_module(graph_module, f"{node.target}_sigmoid", nn.Sigmoid())
            gate = graph_module.graph.call_module(name, (source,))
        node.op, node.target, node.args = "call_function", operator.mul, (source, gate)
    elif isinstance(module, nn.Hardtanh) and (module.min_val, module.max_val) == (0, 6):
        _set(graph_module, node, nn.ReLU6())
    elif isinstance(module, nn.Hardtanh) and (module.min_val, module.max_val) == (0, 1):
        _set(graph_module, node, UnitClamp())
    elif type(module) in WRITTEN_OUT:
        module.__class__ = WRITTEN_OUT[type(module)]
    elif isinstance(module, nn.InstanceNorm2d) and not module.track_running_stats:
        norm = GroupNorm(module.num_features, module.num_features, module.eps, module.affine)
        norm.load_state_dict(module.state_dict())
        _set(graph_module, node, norm)
    elif isinstance(module, nn.ZeroPad2d) and len(shape_of(node)) == 4:  # it also pads tokens [n, t, c]
        _set(graph_module, node, ZeroPad(*module.padding))


def _batchnorm(graph_module: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    """A BatchNorm that no layer could take in is a factor and a shift for each channel."""
    if isinstance(module, nn.BatchNorm2d):
        assert module.running_mean is not None and module.running_var is not None
        factor = (1.0 if module.weight is None else module.weight) / torch.sqrt(module.running_var + module.eps)
        shift = -module.running_mean * factor
        _set(graph_module, node, Scale(factor, shift if module.bias is None else module.bias + shift))


def _hard_sigmoid(graph_module: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    """clamp(x / 6 + 1 / 2, 0, 1), of which the first half becomes part of the layer before."""
    if isinstance(module, nn.Hardsigmoid) and len(shape_of(node)) == 4:
        source = source_of(node)
        assert source is not None
        channels = shape_of(node)[1]
        scale = Scale(torch.full((channels,), 1 / 6), torch.full((channels,), 0.5))
        with graph_module.graph.inserting_before(node):
            name = add_module(graph_module, f"{node.target}_scale", scale)
            node.args = (graph_module.graph.call_module(name, (source,)),)
        _set(graph_module, node, UnitClamp())


def _scale(graph_module: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    """A factor and shift for each channel become part of the convolution right before."""
    before = source_of(node)
    layer = module_of(graph_module, before)
    if isinstance(module, Scale) and before is not None and only_user(before) is node and isinstance(layer, nn.Conv2d):
        assert module.bias is not None
        factor, shift = module.weight.detach().reshape(-1), module.bias.detach()
        bias = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()
        layer.weight = nn.Parameter(layer.weight.detach() * factor.reshape(-1, 1, 1, 1))
        layer.bias = nn.Parameter(bias * factor + shift)
        replace(graph_module, node, before)


def _adaptive_pool(graph_module: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    """An adaptive pool is a mean, a pool or nothing, where the size divides."""
    source = source_of(node)
    if not isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d) or source is None:
        return
    sizes = list(zip(shape_of(source)[2:], shape_of(node)[2:], strict=True))
    averages = isinstance(module, nn.AdaptiveAvgPool2d)
    if averages and all(out == 1 for _, out in sizes):
        _set(graph_module, node, GlobalMean())
    elif all(before == out for before, out in sizes):
        replace(graph_module, node, source)
    elif all(before % out == 0 for before, out in sizes):
        (height, rows), (width, columns) = sizes
        kernel = height // rows, width // columns
        _set(graph_module, node, nn.AvgPool2d(kernel) if averages else nn.MaxPool2d(kernel))


def _padded_pool(graph_module: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    """The padding of a pool becomes a ZeroPad where that is the same: integer kernels of pools have none.

    An average that is divided by other numbers than the kernel's size is the usual one times what makes good for it.
    """
    source = source_of(node)
    if not isinstance(module, nn.MaxPool2d | nn.AvgPool2d) or source is None:
        return
    largest = isinstance(module, nn.MaxPool2d)
    if largest and pair(module.dilation) != (1, 1):
        return
    kernel, stride, padding = (pair(each) for each in (module.kernel_size, module.stride, module.padding))
    sides, beyond = [], False
    for before, out, size, step, pad in zip(
        shape_of(source)[2:], shape_of(node)[2:], kernel, stride, padding, strict=True
    ):
        end = (out - 1) * step + size - before - pad  # below 0: the pool leaves the last pixels out
        beyond |= end > pad  # only ceil_mode reaches further than the padding
        sides += [pad, max(end, 0)]
    top, bottom, left, right = sides
    if largest and any(sides) and not _not_negative(graph_module, source):
        return
    border, plain = ZeroPad(left, right, top, bottom), type(module)(kernel, stride)
    if isinstance(module, nn.AvgPool2d) and (beyond or not module.count_include_pad or module.divisor_override):
        image = torch.ones(1, *shape_of(source)[1:])
        _make_good(graph_module, node, module(image) / plain(border(image)))
    if any(sides):
        node.args = (_insert_before(graph_module, node, f"{node.target}_pad", border),)
    _set(graph_module, node, plain)


def _make_good(graph_module: fx.GraphModule, node: fx.Node, factor: Tensor) -> None:
    """Multiply what a node gives by ``factor`` [1, channels, height, width], of which all channels are alike."""
    if torch.allclose(factor, torch.ones(())):
        return
    if torch.allclose(factor, factor[:, :, :1, :1]):
        scale = Scale(factor[0, :, 0, 0], torch.zeros(factor.shape[1]))
        scaled = insert_after(graph_module, node, f"{node.target}_factor", scale)
        scaled.meta["tensor_meta"] = node.meta["tensor_meta"]  # the next pool may take it
        return
    name = f"{node.name}_factor"
    graph_module.register_buffer(name, factor)
    with graph_module.graph.inserting_after(node):
        held = graph_module.graph.get_attr(name)
    with graph_module.graph.inserting_after(held):
        product = graph_module.graph.call_function(operator.mul, (node, held))
    product.meta["tensor_meta"] = node.meta["tensor_meta"]
    node.replace_all_uses_with(product, delete_user_cb=lambda user: user is not product)


def _insert_before(graph_module: fx.GraphModule, node: fx.Node, wanted: str, module: nn.Module) -> fx.Node:
    """A call of ``module`` on the first argument of ``node``, which goes on taking what it took."""
    with graph_module.graph.inserting_before(node):
        return graph_module.graph.call_module(add_module(graph_module, wanted, module), (source_of(node),))


def _not_negative(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    """True where no value of a node can be below zero."""
    if node.op == "call_function" and node.target is torch.cat:
        return all(_not_negative(graph_module, each) for each in node.args[0])  # type: ignore[union-attr, arg-type]
    module, source = module_of(graph_module, node), source_of(node)
    if isinstance(module, KEEPS_SIGN) and source is not None:
        return _not_negative(graph_module, source)
    return isinstance(module, NOT_NEGATIVE)


def _padding(graph_module: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    """Zeros around an image become the padding of the convolution they are for, where both sides get as many."""
    source = source_of(node)
    pad = module_of(graph_module, source)
    if not isinstance(module, nn.Conv2d) or module.padding_mode != "zeros" or source is None:
        return
    if isinstance(module.padding, str):
        _pad_in_numbers(graph_module, node, module)
    if isinstance(pad, ZeroPad) and only_user(source) is node and isinstance(module.padding, tuple):
        left, right, top, bottom = pad.sides
        if left == right >= 0 and top == bottom >= 0:  # a crop comes after zeros, or takes them away again
            module.padding = (module.padding[0] + top, module.padding[1] + left)
            module._reversed_padding_repeated_twice = [left, right, top, bottom]
            before = source_of(source)
            assert before is not None
            replace(graph_module, source, before)


def _pad_in_numbers(graph_module: fx.GraphModule, node: fx.Node, module: nn.Conv2d) -> None:
    """'valid' and 'same' in pixels; where 'same' is more on the right or below, as a layer of its own."""
    left, right, top, bottom = module._reversed_padding_repeated_twice
    if (left, top) == (right, bottom):
        module.padding = (top, left)
        return
    pad = ZeroPad(left, right, top, bottom)
    node.args = (_insert_before(graph_module, node, f"{node.target}_pad", pad),)
    module.padding, module._reversed_padding_repeated_twice = (0, 0), [0, 0, 0, 0]


def _shuffle(graph_module: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    """[n, g, c/g, h, w], transposed, and back to [n, c, h, w] is a channel shuffle."""
    if isinstance(module, nn.ChannelShuffle):
        _set(graph_module, node, ChannelShuffle(module.groups))
        return
    swap = source_of(node)
    apart = None if swap is None else source_of(swap)
    source = None if apart is None else source_of(apart)
    if swap is None or apart is None or source is None or not isinstance(module, Reshape):
        return
    permuted = module_of(graph_module, swap)
    if not (isinstance(permuted, Permute) and isinstance(module_of(graph_module, apart), Reshape)):
        return
    plain = permuted.dims == (0, 2, 1, 3, 4) and shape_of(apart)[3:] == shape_of(source)[2:]
    if plain and shape_of(source) == shape_of(node):
        _set(graph_module, node, ChannelShuffle(shape_of(apart)[1]))
        node.args = (source,)
        graph_module.graph.eliminate_dead_code()


def _channel_norm(graph_module: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    """Channels last, LayerNorm, channels first: a LayerNorm over channels."""
    turn, back = source_of(node), only_user(node)
    source = None if turn is None else source_of(turn)
    if not isinstance(module, LayerNorm) or turn is None or back is None or source is None:
        return
    dims = [
        each.dims
        for each in (module_of(graph_module, turn), module_of(graph_module, back))
        if isinstance(each, Permute)
    ]
    if dims == [(0, 2, 3, 1), (0, 3, 1, 2)] and len(module.normalized_shape) == 1:
        module.over_channels = True
        node.args = (source,)
        replace(graph_module, back, node)
        graph_module.graph.eliminate_dead_code()


def pair(value: Any) -> tuple[int, int]:
    """An int or a pair of them as a pair."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


_REWRITES: tuple[Callable[[fx.GraphModule, fx.Node, nn.Module], None], ...] = (
    _kinds, _batchnorm, _hard_sigmoid, _scale, _adaptive_pool, _shuffle, _channel_norm, _padded_pool, _padding,
)  # fmt: skip
