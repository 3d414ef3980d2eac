"""Mixed batches: what is in each image is what its partner and its share say."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from edgecnn.data.mix import Mixed, Mixing
from edgecnn.errors import UsageError
from tests.data.test_augment import batch, seeded

SHAPES = [(300, 8, 8, 3), (50, 7, 12, 1), (1, 5, 5, 4)]
WAYS = [Mixing(mixup=0.2), Mixing(cutmix=1.0), Mixing(mixup=1.0, cutmix=1.0)]


def is_blend(before: torch.Tensor, mixed: Mixed) -> bool:
    """Every image is the mean of itself and its partner, weighted by the share."""
    own = mixed.share[:, None, None, None]
    expected = own * before + (1 - own) * before[mixed.partner]
    return bool((mixed.images.float() - expected).abs().max() <= 0.501)


@pytest.mark.parametrize("shape", SHAPES)
def test_mixup_blends_two_images_by_the_share(shape: tuple[int, ...]) -> None:
    before = batch(shape)
    mixed = Mixing(mixup=1.0)(before, seeded())
    assert is_blend(before, mixed)
    assert sorted(mixed.partner.tolist()) == list(range(len(before)))


@pytest.mark.parametrize("shape", SHAPES)
def test_cutmix_puts_a_rectangle_of_the_partner_in_and_the_share_is_what_is_left(shape: tuple[int, ...]) -> None:
    before = torch.arange(shape[0]).to(torch.uint8)[:, None, None, None].expand(shape) % 251
    mixed = Mixing(cutmix=1.0)(before, seeded())
    for number, (image, partner, share) in enumerate(zip(mixed.images, mixed.partner, mixed.share, strict=True)):
        theirs = image[..., 0] != before[number, 0, 0, 0]
        assert (image[theirs] == before[partner, 0, 0, 0]).all()
        if before[partner, 0, 0, 0] != before[number, 0, 0, 0]:
            assert float(share) == pytest.approx(1 - float(theirs.float().mean()), abs=1e-6)
            rows, columns = theirs.any(1).sum(), theirs.any(0).sum()
            assert theirs.sum() == rows * columns, "one rectangle"


def test_rectangles_are_as_large_as_the_shares_drawn_and_lie_everywhere() -> None:
    before = torch.zeros(2000, 16, 16, 1, dtype=torch.uint8)
    before[1000:] = 255
    mixed = Mixing(cutmix=1.0)(before, seeded())
    changed = (mixed.images != before).float().mean(0)
    assert changed.min() > 0.03 and changed.max() < 0.35
    # Beta(1, 1) is uniform: half of the pixels on average, less what is beyond the border.
    assert 0.55 < float(mixed.share.mean()) < 0.75
    assert float(mixed.share.min()) < 0.1 and float(mixed.share.max()) > 0.95


@pytest.mark.parametrize(("alpha", "near_the_ends"), [(0.1, 0.817), (1.0, 0.2), (20.0, 0.0)])
def test_alpha_says_how_even_the_shares_are(alpha: float, near_the_ends: float) -> None:
    share = Mixing(mixup=alpha)(batch((4000, 1, 1, 1)), seeded()).share
    assert float(((share < 0.1) | (share > 0.9)).float().mean()) == pytest.approx(near_the_ends, abs=0.03)
    assert float(share.mean()) == pytest.approx(0.5, abs=0.03)


def test_with_both_each_batch_undergoes_one_of_them() -> None:
    generator, before = seeded(), batch((20, 6, 6, 1))
    blends = [is_blend(before, Mixing(mixup=1.0, cutmix=1.0)(before, generator)) for _ in range(60)]
    assert 15 < sum(blends) < 45


@pytest.mark.parametrize("mixing", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_kinds_of_what_is_given_and_the_generator_alone_decides(mixing: Mixing, shape: tuple[int, ...]) -> None:
    before = batch(shape)
    kept = before.clone()
    torch.manual_seed(1)
    first = mixing(before, seeded(5))
    assert (first.images.dtype, first.partner.dtype, first.share.dtype) == (torch.uint8, torch.int64, torch.float32)
    assert (first.images.shape, first.partner.shape, first.share.shape) == (shape, shape[:1], shape[:1])
    assert before.equal(kept)
    torch.manual_seed(2)
    again = mixing(before, seeded(5))
    assert all(getattr(first, name).equal(getattr(again, name)) for name in ("images", "partner", "share"))
    assert len(before) == 1 or not mixing(before, seeded(6)).images.equal(first.images)


@pytest.mark.parametrize("alpha", [1e-310, 1e-3, 100.0])
def test_any_alpha_gives_shares(alpha: float) -> None:
    share = Mixing(mixup=alpha)(batch((500, 1, 1, 1)), seeded()).share
    assert ((share >= 0) & (share <= 1)).all()


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), 101.0])
def test_what_is_no_alpha_is_refused(name: str, value: float) -> None:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(UsageError, match=f"{name} is {value}, but must be the alpha of a Beta distribution: 0 to 100"):
        Mixing(**settings)


def test_whether_anything_is_mixed() -> None:
    assert [bool(mixing) for mixing in (Mixing(), *WAYS)] == [False, True, True, True]
