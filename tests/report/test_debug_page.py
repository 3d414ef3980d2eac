"""The page of ``edgecnn debug`` in a real browser, of a net with a layer to blame."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecnn.measure.layer_errors import find_errors
from edgecnn.report.debug_page import page
from tests.browser import DESKTOP, PHONE, too_wide, visit
from tests.measure import layered


@pytest.fixture(scope="module")
def address(once, tmp_path_factory: pytest.TempPathFactory) -> str:
    files = once("layered-wide", lambda folder: layered.write(folder, layered.widen))
    folder = tmp_path_factory.mktemp("debug")
    path = folder / "page.html"
    path.write_text(page(find_errors(layered.bundle(files, folder / "b<i>"), 32)), "utf-8")
    return Path(path).as_uri()


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_and_asks_for_nothing(browser, address, size, dark) -> None:
    with visit(browser, address, size, dark) as found:
        assert too_wide(found) == []
        assert found.locator(".chart:visible").count() == 2 + 6
        assert found.locator("i").count() == 0  # the bundle's name is text


def test_the_page_names_the_layer_to_blame_on_top_and_in_the_table(browser, address) -> None:
    with visit(browser, address) as found:
        alert = found.get_by_role("alert").inner_text()
        assert alert.startswith("To blame: second.conv1") and "1 of 16 channels spans" in alert
        rows = found.get_by_role("rowheader").all_inner_texts()
        assert len(rows) == 9 and [each for each in rows if "to blame" in each] == [rows[4]]
        first = found.locator(".plots.small .chart title").first
        assert first.text_content() == "second.conv1"
