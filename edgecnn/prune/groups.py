"""Which channels can only go together, as torch-pruning's dependency graph finds them.

G. Fang, X. Ma, M. Song, M. B. Mi and X. Wang, "DepGraph: Towards Any Structural Pruning" (2023). A channel of a
convolution is also one of the BatchNorm behind it, of whatever is added to it, and of every layer that takes it in.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor, nn

from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments
from edgecnn.models.widths import Widths, widths_of

CLOSE = 1e-3  # logits that differ by so much of the largest, or by so much at all, differ by more than rounding
Importance = Callable[[tp.dependency.Group], Tensor]  # a group with all its channels -> float [channels]


@dataclass(frozen=True)
class Group:
    """Channels that go together. ``name`` is the module that makes them, ``channels`` how many there are.

    Of each channel that goes, a module of ``inputs`` loses so many inputs (a linear layer behind a flattened image all
    pixels of it), and one of ``outputs`` so many outputs.
    """

    name: str
    channels: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


class Channels:
    """The groups of a copy of ``model``, and the means to cut them.

    ``groups`` leaves out those that must stay as they are: the channels of the image, the logits, and those that run
    through anything but dense and depthwise convolutions, linear layers and BatchNorm.
    """

    def __init__(self, model: nn.Module, arguments: ModelArguments) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(True)
        self.arguments = arguments
        self._names = {module: name for name, module in self.model.named_modules()}
        self._known = widths_of(self.model)
        image = torch.zeros(1, arguments.in_channels, *arguments.image_size)
        with torch.enable_grad():
            self._graph = tp.DependencyGraph().build_dependency(self.model, example_inputs=image, verbose=False)
        self._roots: dict[str, tp.dependency.Group] = {}
        self.groups: list[Group] = []
        for root in self._graph.get_all_groups():
            group = self._read(root)
            if group is not None:
                self._roots[group.name] = root
                self.groups.append(group)

    def scores(self, importance: Importance) -> dict[str, Tensor]:
        """The importance of every channel, float32 [channels], by the name of its group."""
        return {name: importance(root).detach().float() for name, root in self._roots.items()}

    def cut(self, sizes: Mapping[str, int], scores: Mapping[str, Tensor]) -> nn.Module:
        """The model with groups of ``sizes`` channels, those of the highest ``scores``; done once.

        Raises UsageError if what is left no longer gives one logit for each class, or others than the model would give
        whose layers do not listen to the channels that went.
        """
        for group in self.groups:
            lost = group.channels - sizes[group.name]
            if lost:
                root = self._roots[group.name][0]
                order = torch.argsort(scores[group.name], stable=True)
                chosen = sorted(order[:lost].tolist())
                going = self._graph.get_pruning_group(root.dep.target.module, root.dep.handler, chosen)
                wanted = self._without(going)
                going.prune()
                self._prove(wanted)
        return self.model

    def _read(self, root: tp.dependency.Group) -> Group | None:
        """The group in our words; None for one that must stay."""
        inputs: dict[str, int] = {}
        outputs: dict[str, int] = {}
        channels = len(root[0].idxs)
        for dep, indices in root:
            module = dep.target.module
            name = self._names.get(module)
            if name not in self._known:
                if isinstance(module, nn.Parameter) or (name is not None and any(True for _ in module.parameters())):
                    return None
                continue
            assert name is not None
            into = self._graph.is_in_channel_pruning_fn(dep.handler)
            out_of = self._graph.is_out_channel_pruning_fn(dep.handler)
            if len(indices) % channels:
                return None
            for wanted, found, width in zip((into, out_of), (inputs, outputs), self._known[name], strict=True):
                if not wanted:
                    continue
                if max(indices) >= width:
                    return None  # these are no channels of it: something between turned some into pixels
                found[name] = len(indices) // channels
        made = [name for name in outputs if name not in inputs]
        taken = [name for name in inputs if name not in outputs]
        # What no layer makes are channels of the image; what no layer takes in are the logits.
        return Group(self._names[root[0].dep.target.module], channels, inputs, outputs) if made and taken else None

    def _without(self, going: tp.dependency.Group) -> Tensor:
        """The logits [1, classes] for an image when no layer listens to the channels that go."""
        with contextlib.ExitStack() as stack:
            for dep, indices in going:
                module = dep.target.module
                out_of = self._graph.is_out_channel_pruning_fn(dep.handler)
                if self._graph.is_in_channel_pruning_fn(dep.handler) and not out_of:
                    stack.enter_context(_deaf(module.weight, indices))
            return self._logits()

    def _prove(self, wanted: Tensor) -> None:
        try:
            found = self._logits()
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(f"this model cannot be pruned: with fewer channels it does not run ({reason})") from error
        if found.shape != wanted.shape:
            shape = list(found.shape)
            raise UsageError(f"this model cannot be pruned: with fewer channels it gives {shape} for an image")
        if not torch.allclose(found, wanted, rtol=0, atol=max(CLOSE * float(wanted.abs().max()), CLOSE)):
            raise UsageError(
                "this model cannot be pruned: something between its layers reorders or mixes channels, "
                "so that those that are left do not meet their weights"
            )

    def _logits(self) -> Tensor:
        arguments = self.arguments
        shape = (1, arguments.in_channels, *arguments.image_size)
        image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            logits: Tensor = self.model(image)
        return logits


@contextlib.contextmanager
def _deaf(weight: Tensor, indices: Sequence[int]) -> Iterator[None]:
    """The ``weight`` of a layer that does not listen to the input channels ``indices``, for a while."""
    kept = weight.detach()[:, indices].clone()
    with torch.no_grad():
        weight[:, indices] = 0
        try:
            yield
        finally:
            weight[:, indices] = kept


def narrower(widths: Widths, groups: list[Group], sizes: Mapping[str, int]) -> Widths:
    """``widths`` of a model when its ``groups`` have ``sizes`` channels."""
    found = dict(widths)
    for group in groups:
        lost = group.channels - sizes[group.name]
        for name, count in group.inputs.items():
            found[name] = (found[name][0] - lost * count, found[name][1])
        for name, count in group.outputs.items():
            found[name] = (found[name][0], found[name][1] - lost * count)
    return found
