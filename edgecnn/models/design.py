"""Networks written as one line: their name says all of their shape, so that weights need nothing else to be loaded.

    design:c16-c24s2-b32e3n2-b56e4s2n3-c96k1

Stages follow each other with '-'. The letter is the kind of block, the number behind it its channels:

    c   dense convolution, BatchNorm, ReLU
    r   residual block of two dense 3x3 convolutions (He et al. 2015)
    b   inverted bottleneck: 1x1 to e times the channels that come in, depthwise k x k, 1x1, no ReLU at the end, and a
        sum where channels and size stay (Sandler et al. 2018, with ReLU in place of ReLU6)

Then, in this order and each only where it is not as usual: ``k`` kernel (3), ``e`` expansion (b alone: 4), ``s`` stride
of the first block (1), ``d`` dilation (1), ``n`` number of blocks (1). Global average pooling and one linear layer
end the network.

Dilation is of all of a stage's convolutions but its first, which has that of the stage before. So ``d2`` in place of
``s2`` also computes the places that the stride leaves out: the same weights see as much of an image, from more places
(F. Yu, V. Koltun and T. Funkhouser, "Dilated residual networks", 2017).
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass, replace

from torch import Tensor, nn

from edgecnn.errors import UsageError
from edgecnn.models.blocks import Residual

PREFIX = "design:"
FORM = f"{PREFIX}STAGE-STAGE-..."
KINDS = "crb"
EXPANSION = 4
_STAGE = re.compile(r"([crb])(\d{1,4})(?:k(\d{1,2}))?(?:e(\d{1,2}))?(?:s(\d))?(?:d(\d))?(?:n(\d{1,2}))?")
_LONGEST = 400  # characters; a name is also part of headers and messages


@dataclass(frozen=True)
class Stage:
    """``depth`` blocks of one kind; ``stride`` is the first block's, ``expansion`` means something to 'b' alone.

    ``dilation`` is that of all convolutions but the first.
    """

    kind: str
    channels: int
    _: KW_ONLY
    kernel: int = 3
    expansion: int = EXPANSION
    stride: int = 1
    dilation: int = 1
    depth: int = 1

    def __post_init__(self) -> None:
        good = {
            f"kind is one of {', '.join(KINDS)}": self.kind in KINDS,
            "channels are 1 to 1024": 1 <= self.channels <= 1024,
            "kernel is 1, 3, 5 or 7": self.kernel in (1, 3, 5, 7),
            "residual blocks have kernel 3": self.kind != "r" or self.kernel == 3,
            "expansion is 1 to 8, and of inverted bottlenecks alone": 1 <= self.expansion <= 8
            and (self.kind == "b" or self.expansion == EXPANSION),
            "stride is 1, 2 or 4": self.stride in (1, 2, 4),
            "dilation is 1, 2 or 4": self.dilation in (1, 2, 4),
            "depth is 1 to 16": 1 <= self.depth <= 16,
        }
        for rule, kept in good.items():
            if not kept:
                raise UsageError(f"stage '{self}' cannot be built: {rule}")

    def __str__(self) -> str:
        usual = (
            ("k", self.kernel, 3), ("e", self.expansion, EXPANSION), ("s", self.stride, 1), ("d", self.dilation, 1),
            ("n", self.depth, 1),
        )  # fmt: skip
        return f"{self.kind}{self.channels}" + "".join(f"{key}{value}" for key, value, left in usual if value != left)


@dataclass(frozen=True)
class Block:
    """One block of a ``stage`` of depth 1: it takes ``in_channels``, and its first convolution has ``dilation``."""

    stage: Stage
    in_channels: int
    dilation: int

    @property
    def stride(self) -> int:
        """By how much it makes images smaller."""
        return self.stage.stride

    @property
    def adds(self) -> bool:
        """True where what it computes is added to its input as it is."""
        return self.stage.kind in "rb" and self.stride == 1 and self.in_channels == self.stage.channels

    def build(self) -> nn.Module:
        """The module, with fresh weights."""
        stage = self.stage
        if stage.kind == "r":
            return Residual(self.in_channels, stage.channels, stage.stride, (self.dilation, stage.dilation))
        if stage.kind == "b":
            return Inverted(
                self.in_channels, stage.channels, stage.kernel, stage.expansion, stage.stride, self.dilation
            )
        padding = self.dilation * (stage.kernel // 2)
        dense = nn.Conv2d(
            self.in_channels, stage.channels, stage.kernel, stage.stride, padding, self.dilation, bias=False
        )
        return nn.Sequential(dense, nn.BatchNorm2d(stage.channels), nn.ReLU())


@dataclass(frozen=True)
class Design:
    """The stages of a network, first to last; ``str`` gives its name, ``parse`` takes it."""

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not self.stages:
            raise UsageError(f"a design has no stage; give one or more (valid: {FORM})")

    def __str__(self) -> str:
        return PREFIX + "-".join(map(str, self.stages))

    @property
    def short(self) -> str:
        """The name as a part of file names."""
        return str(self).replace(":", "_")

    @classmethod
    def parse(cls, name: str) -> Design:
        """The design a name says. Raises UsageError, naming the first stage that is none."""
        text = name.removeprefix(PREFIX)
        if len(name) > _LONGEST:
            raise UsageError(f"design of {len(name)} characters is longer than {_LONGEST}: '{name[:40]}...'")
        stages = []
        for word in text.split("-"):
            found = _STAGE.fullmatch(word)
            if found is None:
                raise UsageError(
                    f"design '{name}' has no stage '{word}'; a stage is c, r or b, channels, and then k, e, s, d, n "
                    "with numbers where they are not as usual, as in b32k5e3s2n2"
                )
            kind, channels, kernel, expansion, stride, dilation, depth = found.groups()
            stages.append(
                Stage(
                    kind, int(channels), kernel=int(kernel or 3), expansion=int(expansion or EXPANSION),
                    stride=int(stride or 1), dilation=int(dilation or 1), depth=int(depth or 1),
                )
            )  # fmt: skip
        return cls(tuple(stages))

    def build(self, num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
        """The network with fresh weights, for images of any size: strides round up, and the last pool takes all."""
        net = nn.Sequential()
        height, width = image_size
        blocks = self.blocks(in_channels)
        for name, block in blocks.items():
            net.add_module(name, block.build())
            height, width = -(-height // block.stride), -(-width // block.stride)
        net.add_module("pool", nn.AvgPool2d((height, width)))
        net.add_module("flatten", nn.Flatten())
        net.add_module("fc", nn.Linear(self.stages[-1].channels, num_classes))
        return net

    def blocks(self, in_channels: int) -> dict[str, Block]:
        """The blocks by the names of their modules, first to last."""
        found: dict[str, Block] = {}
        channels, before = in_channels, 1
        for number, stage in enumerate(self.stages, start=1):
            for index in range(stage.depth):
                name = f"{stage.kind}{number}" + (f"_{index + 1}" if stage.depth > 1 else "")
                stride = stage.stride if index == 0 else 1
                found[name] = Block(replace(stage, stride=stride, depth=1), channels, before)
                channels, before = stage.channels, stage.dilation
        return found


class Inverted(nn.Module):
    """1x1 BN ReLU, depthwise BN ReLU, 1x1 BN, plus the input where channels and size stay."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, expansion: int, stride: int, dilation: int
    ) -> None:
        super().__init__()
        inner = expansion * in_channels
        self.expand = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu1 = nn.ReLU()
        self.depth = nn.Conv2d(
            inner, inner, kernel, stride, padding=dilation * (kernel // 2), dilation=dilation, groups=inner, bias=False
        )
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU()
        self.project = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.same = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu2(self.bn2(self.depth(self.relu1(self.bn1(self.expand(x))))))
        y = self.bn3(self.project(y))
        return x + y if self.same else y

    def silence(self) -> None:
        """Have it add zero to its input, until it is trained."""
        nn.init.zeros_(self.bn3.weight)
