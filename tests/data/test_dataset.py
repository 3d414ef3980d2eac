"""Pieces of splits: which images are in them, in what order, and that nothing held out is ever trained on."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.data.dataset import Memory, batches, everything, held_apart, hold_out, sample
from edgecnn.errors import UsageError

COUNT = 103


@pytest.fixture
def split() -> Memory:
    """Images that are all different, each labelled with its place."""
    return Memory(np.arange(COUNT, dtype=np.uint8).reshape(COUNT, 1, 1, 1), np.arange(COUNT))


def test_what_is_held_out_and_what_is_kept_are_all_images_each_once(split):
    kept, held = hold_out(split, 0.2)
    (_, kept_places), (images, held_places) = everything(kept), everything(held)
    assert (len(kept), len(held)) == (82, 21)
    assert sorted([*kept_places, *held_places]) == list(range(COUNT))
    assert images.flatten().tolist() == held_places.tolist()
    assert held_places.tolist() != list(range(21)), "drawn at random"


def test_a_smaller_share_that_is_held_out_is_a_part_of_a_larger_and_always_the_same(split):
    """So what goes on from a training may hold out less than that did, and still nothing it has seen."""
    small, large, again = (set(everything(hold_out(split, share)[1])[1].tolist()) for share in (0.1, 0.3, 0.3))
    assert small < large == again


def test_nothing_is_held_out_unless_asked_for_and_then_one_image_at_least(split):
    assert held_apart(split, 0.0) == (split, None)
    kept, held = held_apart(split, 0.01)
    assert held is not None and (len(kept), len(held)) == (102, 1)
    with pytest.raises(UsageError, match="validation 0.001 of 103 training images is not one image; raise it"):
        held_apart(split, 0.001)


def test_a_sample_is_of_different_images_by_its_seed_and_of_all_where_there_are_fewer(split):
    first, again, other = (everything(sample(split, 40, seed))[1].tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert len(set(first)) == 40
    assert everything(sample(split, 1000, 0))[1].tolist() == list(range(COUNT))


@pytest.mark.parametrize(("limit", "sizes"), [(None, [50, 50, 3]), (60, [50, 10]), (100, [50, 50]), (999, [50, 50, 3])])
def test_batches_are_in_order_and_no_more_than_asked_for(split, limit, sizes):
    pieces = list(batches(split, 50, limit))
    assert [len(labels) for _, labels in pieces] == sizes
    for images, labels in pieces:
        assert images.flatten().tolist() == labels.tolist()
    assert np.concatenate([labels for _, labels in pieces]).tolist() == list(range(sum(sizes)))
