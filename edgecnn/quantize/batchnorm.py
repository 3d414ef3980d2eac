"""BatchNorm during training under quantization: unfolded to be trained, folded into the weights that are quantized.

A network trained with BatchNorm cannot take the same steps without it: its folded weights differ in size by orders of
magnitude from channel to channel, and training them may diverge (mod_cnn's did in the second epoch at a learning rate
of 0.01, and resnet8's when its BatchNorm was frozen at half of that). So each convolution that held a BatchNorm gets
one back for the training: the weights that are quantized are those it would be folded to with its running statistics,
and the batch's own normalize the output. In every other mode it is a convolution with weights and bias like any other.
R. Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference" (2018), section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from edgecnn.quantize.graph import held_batchnorm
from edgecnn.quantize.simulate import TRAINED, QuantizedConv2d

EPSILON = 1e-5
MOMENTUM = 0.1  # share of the way that running statistics go towards those of a batch; PyTorch's default


class NormalizedConv2d(QuantizedConv2d):
    """A convolution without bias and the BatchNorm after it: ``weight`` is folded by ``gain / sqrt(var)``.

    ``gain``, ``shift``, ``mean`` and ``var`` are float32 [out channels].
    """

    gain: Tensor
    shift: Tensor
    mean: Tensor
    var: Tensor

    @classmethod
    def unfold(cls, layer: QuantizedConv2d, mean: Tensor, var: Tensor) -> None:
        """Turn a convolution with a bias, in place, into one that gives the same.

        ``mean`` and ``var`` are those of its output without the bias.
        """
        assert layer.bias is not None
        layer.__class__ = cls
        assert isinstance(layer, cls)
        layer.gain = nn.Parameter(torch.sqrt(var + EPSILON))
        layer.shift = nn.Parameter(layer.bias.detach() + mean)
        layer.register_buffer("mean", mean)
        layer.register_buffer("var", var)
        layer.bias = None

    def fold(self) -> None:
        """The inverse: one weight and one bias, which give the same."""
        weight, bias = self.folded_weight().detach(), self.folded_bias().detach()
        if self.steps is not None:
            self.steps = nn.Parameter(self.steps.detach() * self.growth().detach())
        for name in ("gain", "shift", "mean", "var"):
            delattr(self, name)
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.__class__ = QuantizedConv2d  # type: ignore[assignment]

    def factor(self) -> Tensor:
        """What the weights of each channel are multiplied by, float32 [out channels]."""
        # A copy, since the statistics change before the gradient is taken.
        return self.gain / torch.sqrt(self.var.clone() + EPSILON)

    def folded_weight(self) -> Tensor:
        """The weight with the running statistics folded in."""
        return self.weight * self.factor().view(-1, 1, 1, 1)

    def growth(self) -> Tensor:
        """The magnitude of ``factor``."""
        return self.factor().abs()

    def folded_bias(self) -> Tensor:
        """The bias with the running statistics folded in."""
        return self.shift - self.mean * self.factor()

    def forward(self, x: Tensor) -> Tensor:
        if self.mode not in TRAINED:
            return self._conv_forward(x, self.quantized_weight(), self.folded_bias())
        raw = self._conv_forward(x, self.quantized_weight(), None).float() / self.factor().view(1, -1, 1, 1)
        return F.batch_norm(raw, self.mean, self.var, self.gain, self.shift, True, MOMENTUM, EPSILON)


def unfold_batchnorm(graph_module: fx.GraphModule, batches: Iterable[Tensor]) -> None:
    """Give every convolution of a calibrated QDQ graph that held a BatchNorm one back, in place.

    ``batches`` float32 [n, channels, height, width] give the statistics; the graph computes the same as before.
    """
    layers = [part for part in graph_module.modules() if isinstance(part, QuantizedConv2d) and held_batchnorm(part)]
    layers = [layer for layer in layers if layer.bias is not None]
    sums = {layer: _Sums(len(layer.weight)) for layer in layers}
    hooks = [layer.register_forward_hook(sums[layer].take) for layer in layers]
    with torch.no_grad():
        for batch in batches:
            graph_module(batch)
    for hook in hooks:
        hook.remove()
    for layer in layers:
        NormalizedConv2d.unfold(layer, *sums[layer].statistics())


def fold_batchnorm_again(graph_module: nn.Module) -> nn.Module:
    """Undo ``unfold_batchnorm``, in place, with what training made of it."""
    for part in graph_module.modules():
        if isinstance(part, NormalizedConv2d):
            part.fold()
    return graph_module


class _Sums:
    """Mean and variance of each channel of a layer's output, its bias left out."""

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._sum = torch.zeros(channels, dtype=torch.float64)
        self._squares = torch.zeros(channels, dtype=torch.float64)

    def take(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """A forward hook."""
        assert isinstance(layer, QuantizedConv2d) and layer.bias is not None
        raw = (output - layer.bias.view(1, -1, 1, 1)).double()
        self._count += raw.numel() // raw.shape[1]
        self._sum += raw.sum((0, 2, 3))
        self._squares += raw.square().sum((0, 2, 3))

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and variance, float32 [channels]."""
        mean = self._sum / self._count
        return mean.float(), (self._squares / self._count - mean.square()).clamp(min=0).float()
