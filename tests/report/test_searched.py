"""What a search found, as text and as a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecnn.report.searched import Searched, Tried, page, text
from tests.browser import DESKTOP, PHONE, too_wide, visit
from tests.report.samples import HOSTILE

COMMANDS = ("edgecnn train --model design:c16-c24s2 --data cifar10", "edgecnn prune --model design:c16-c24s2")


def tried(number: int, accuracy: float, size: int, commands: tuple[str, ...] = COMMANDS) -> Tried:
    costs = {"bytes": float(size), "latency": size / 100_000, "cost": size / 1000}
    return Tried(number, f"design:c{number}", accuracy, costs, commands)


FOUND = Searched(
    f"Search on {HOSTILE}", "3 of 9 trials: 3 trained", [("data", HOSTILE)],
    [tried(4, 0.81, 90_000), tried(1, 0.75, 40_000, (f"edgecnn train --data '{HOSTILE}'",))], [tried(2, 0.7, 95_000)],
    "resnet8",
)  # fmt: skip
EMPTY = Searched("Search on digits", "1 of 9 trials: 1 over a bound", [], [], [], "resnet8")


def test_the_text_is_the_front_in_its_order() -> None:
    lines = text(FOUND).splitlines()
    assert lines[0].split() == ["trial", "accuracy", "bytes", "latency", "design"]
    assert [line.split() for line in lines[2:]] == [
        ["4", "81.00", "%", "90,000", "0.900", "design:c4"], ["1", "75.00", "%", "40,000", "0.400", "design:c1"],
    ]  # fmt: skip
    assert text(EMPTY) == "No trial was trained to the end."


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_page_fits_and_has_the_front_and_its_commands(browser, tmp_path: Path, size) -> None:
    path = tmp_path / "front.html"
    path.write_text(page(FOUND), "utf-8", "replace")
    with visit(browser, path.as_uri(), size, False) as found:
        assert too_wide(found) == []
        assert found.locator("b").count() == 0, "names are text"
        assert [each.split("\n")[0] for each in found.get_by_role("rowheader").all_inner_texts()] == [
            "4design:c4", "1design:c1",
        ]  # fmt: skip
        assert found.locator("pre").first.inner_text().splitlines() == list(COMMANDS)
        assert found.locator(".chart:visible").count() == 2
        assert found.locator(".chart:visible").first.locator("title").count() >= 1


def test_the_page_of_a_search_without_a_front_says_so() -> None:
    assert "No trial was trained to the end." in page(EMPTY)
