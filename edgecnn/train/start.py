"""What training goes on from: a network that was trained before, perhaps for other classes.

Of one that knows the same classes all is kept. Otherwise the last layer, which gives a logit for each class, starts
anew, and what the others see in images serves the new classes (J. Yosinski et al., "How transferable are features in
deep neural networks?", 2014). A design may go on as a deeper one.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from edgecnn import models
from edgecnn.checkpoint import Header, fit
from edgecnn.data.dataset import DataSet
from edgecnn.data.registry import same
from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments
from edgecnn.models.cost import layer_costs, weighted
from edgecnn.models.deepen import blocks_kept, deepened, design_of
from edgecnn.models.widths import Widths, resize
from edgecnn.train.recipe import TrainRecipe


@dataclass(frozen=True)
class Start:
    """A ``network`` as a weights file holds it, and the file's ``header``.

    ``deeper`` is the name of the model that it goes on as, where that has more blocks.
    """

    network: nn.Module
    header: Header
    deeper: str | None = None

    def keeps_all(self, data: DataSet) -> bool:
        """True where the network knows the classes of ``data``, in their order."""
        return self.header.classes == data.classes

    @property
    def last(self) -> str:
        """The name of the layer that gives a logit for each class: the one that is used last."""
        used = layer_costs(self.network, self.header.arguments)[-1].module
        return next(name for name, layer in weighted(self.network).items() if layer is used)

    @property
    def blocks_kept(self) -> dict[str, str] | None:
        """How its blocks are called in the deeper network; None where it goes on as it is. Raises UsageError."""
        if self.deeper is None:
            return None
        design, deeper = design_of(self.header.model), design_of(self.deeper)
        if design is None or deeper is None:
            raise UsageError(f"'{self.header.model}' cannot go on as '{self.deeper}': both have to be designs")
        if self.header.widths:
            raise UsageError(f"weights of a pruned '{self.header.model}' cannot go on as '{self.deeper}'")
        return blocks_kept(design, deeper, self.header.arguments.in_channels)

    def widths(self, data: DataSet) -> Widths:
        """The channels of the layers that were pruned, for the classes of ``data``."""
        found = dict(self.header.widths)
        if not found or self.keeps_all(data):
            return found
        last = self.last
        if last in found:
            found[last] = (found[last][0], len(data.classes))
        return found

    def build(self, data: DataSet) -> nn.Module:
        """The network for ``data``, with the weights it has.

        Raises BadFileError where they do not fit such images, and UsageError where ``deeper`` is not that.
        """
        header, arguments = self.header, ModelArguments.for_images(data.image, len(data.classes))
        kept = self.blocks_kept
        network = models.create(self.deeper or header.model, arguments, header.normalization)
        resize(network, self.widths(data), arguments)
        tensors = self.network.state_dict() if kept is None else deepened(self.network, network, kept)
        if not self.keeps_all(data):
            fresh, last = network.state_dict(), self.last
            tensors |= {name: fresh[name] for name in fresh if name.rpartition(".")[0] == last}
        fit(network, tensors, f"the network that '{header.model}' became on {header.dataset}")
        return network


def unseen(header: Header, dataset: str) -> float:
    """The share of a data set's training images that weights with this ``header`` never saw, as far as it tells.

    What they began with counts, whatever they were trained on since; 1 where it was always other images.
    """
    seen = [stage for stage in header.stages() if same(stage.get("dataset", ""), dataset)]
    return float(min((stage.get("recipe", {}).get("validation", 0.0) for stage in seen), default=1.0))


def check_unseen(header: Header, data: DataSet, recipe: TrainRecipe) -> None:
    """Raise UsageError if ``recipe`` would hold out images that the weights of ``header`` were trained on.

    A smaller share that is held out is a part of the larger.
    """
    before = unseen(header, data.name)
    if recipe.validation > before:
        raise UsageError(
            f"--validation {recipe.validation} holds out images that these weights were trained on, which held out "
            f"{before}; give no more than that, or weights of 'edgecnn train --validation'"
        )
