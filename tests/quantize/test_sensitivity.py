"""Which layers lose what, and which are chosen to stay float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgecnn.data.dataset import Memory
from edgecnn.evaluate import predictor
from edgecnn.measure.stats import Interval, paired_change, sqnr
from edgecnn.models import ModelArguments
from edgecnn.quantize import ptq
from edgecnn.quantize.sensitivity import Effect, Harm, Yardstick, fewest, rank
from tests import nets

LAYERS = ("conv1", "conv2", "conv3", "fc1", "fc2")


def spread_out() -> nets.Handwritten:
    """The Handwritten net, its function as it was, with channels between conv1 and conv2 of very unlike size."""
    model = nets.handwritten()
    assert isinstance(model, nets.Handwritten)
    factors = 2.0 ** torch.tensor([-5, 5, -4, 0, 3, -5])
    with torch.no_grad():
        model.conv1.weight.mul_(factors[:, None, None, None])
        assert model.conv1.bias is not None
        model.conv1.bias.mul_(factors)
        model.conv2.weight.div_(factors[None, :, None, None])
    return model


def labelled(model, count=64) -> Yardstick:
    """Random images that the model has right."""
    images = nets.images(count, seed=3)
    return Yardstick(model, Memory(images, predictor(model)(images).argmax(1)))


def test_an_effect_is_paired_and_a_loss_is_above_0():
    model = nets.handwritten()
    yardstick = labelled(model)
    exact = predictor(model)
    same = yardstick.effect(exact)
    assert (same.drop, same.sqnr_db, same.noise) == (0, None, 0)

    def off(images):
        logits = exact(images)
        logits[:3] = -logits[:3]
        return logits

    effect = yardstick.first(10).effect(off)
    low, high = paired_change(3, 0, 10)
    assert effect.drop == 30
    assert effect.interval == Interval(-high, -low)
    images = nets.images(64, seed=3)[:10]
    assert effect.sqnr_db == sqnr(exact(images), off(images))
    assert effect.sqnr_db is not None
    assert effect.noise == pytest.approx(10 ** (-effect.sqnr_db / 10))


def test_a_gain_is_a_drop_below_0():
    model = nets.handwritten()
    images = nets.images(10, seed=3)
    labels = (predictor(model)(images).argmax(1) + 1) % 10
    right = np.eye(10, dtype=np.float32)[labels]
    assert Yardstick(model, Memory(images, labels)).effect(lambda _: right).drop == -100


def test_the_layers_around_unlike_channels_come_first():
    model, arguments, images = spread_out(), ModelArguments(), [nets.images(32)]
    ranges = ptq.calibrate(model, arguments, images, ())
    heard: list[str] = []
    ranking = rank(
        [(name,) for name in LAYERS],
        lambda floats: ptq.calibrate(model, arguments, images, (), float_layers=floats, ranges=ranges),
        labelled(model),
        heard.append,
    )
    assert {harm.layers for harm in ranking} == {(name,) for name in LAYERS}
    assert {harm.layers[0] for harm in ranking[:2]} == {"conv1", "conv2"}
    assert [harm.alone.noise for harm in ranking] == sorted((harm.alone.noise for harm in ranking), reverse=True)
    assert ranking[0].alone.noise > 10 * ranking[2].alone.noise
    assert heard[0] == "layer 1 of 5: conv1"
    whole = labelled(model).effect(predictor(ranges))
    assert min(harm.without.noise for harm in ranking) < whole.noise


def test_given_ranges_are_those_that_would_be_found():
    model, arguments, images = nets.handwritten(), ModelArguments(), [nets.images(32)]
    found = ptq.calibrate(model, arguments, images, ())
    taken = ptq.calibrate(model, arguments, images, (), ranges=found)
    assert found.state_dict().keys() == taken.state_dict().keys()
    assert all(torch.equal(value, taken.state_dict()[name]) for name, value in found.state_dict().items())
    mixed = ptq.calibrate(model, arguments, images, (), float_layers=("conv2",), ranges=found)
    for name, value in mixed.state_dict().items():
        if name.endswith((".low", ".high")):
            assert torch.equal(value, found.state_dict()[name])


class Dense(nn.Module):
    """A layer of a DenseNet: what it takes is joined with what it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.one, self.two, self.head = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 4, 3, padding=1), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.two(torch.relu(self.one(torch.relu(self.norm(x)))))
        return self.head(torch.cat([x, y], 1).mean((2, 3)))


def test_what_only_the_whole_graph_joins_takes_the_range_of_all_that_is_joined():
    torch.manual_seed(5)
    model, arguments, images = nets.with_statistics(Dense()), ModelArguments(4, 3, (8, 8)), [nets.images(8, (8, 8, 3))]
    found = ptq.calibrate(model, arguments, images, ())
    floats = ("stem", "one", "two", "head")
    mixed = ptq.calibrate(model, arguments, images, (), float_layers=floats, ranges=found).state_dict()
    assert "quantizer_stem.high" not in found.state_dict()
    assert torch.equal(mixed["quantizer_stem.high"], found.state_dict()["quantizer_cat.high"])


# ----------------------------------------------------------------------------------------------------- the choice


def harms(*names: str) -> list[Harm]:
    nothing = Effect(0.0, Interval(0.0, 0.0), None)
    return [Harm((name,), nothing, nothing) for name in names]


def chosen(drops, bound, names="abcd"):
    """Names that ``fewest`` keeps; ``drops`` gives the drop by the names kept, and counts what it was asked."""
    found = fewest(harms(*names), lambda kept: drops("".join(harm.layers[0] for harm in kept)), bound)
    return None if found is None else "".join(harm.layers[0] for harm in found)


def test_nothing_is_kept_where_nothing_is_lost():
    assert chosen(lambda kept: 0.3, 0.3) == ""


def test_layers_are_kept_in_the_order_of_harm_until_the_bound_is_met():
    assert chosen(lambda kept: 3.0 - len(kept), 1.0) == "ab"
    assert chosen(lambda kept: 3.0 - len(kept), 0.9) == "abc"


def test_a_layer_that_turned_out_not_to_matter_is_let_go():
    assert chosen(lambda kept: 0.0 if "c" in kept and "a" in kept else 2.0, 0.5) == "ac"
    assert chosen(lambda kept: 0.0 if "c" in kept else 2.0, 0.5) == "c"


def test_at_least_one_layer_stays_quantized():
    assert chosen(lambda kept: 0.0 if len(kept) == 4 else 1.0, 0.5) is None
    assert chosen(lambda kept: 0.0 if len(kept) == 3 else 1.0, 0.5) == "abc"
    assert chosen(lambda kept: 1.0, 0.5, "a") is None
