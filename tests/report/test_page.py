"""The HTML page: complete without anything beside it, every figure there, and nothing from a file believed."""

from __future__ import annotations

import dataclasses
import re

from edgecnn.measure.measurement import Energy, Settings
from edgecnn.measure.trust import UNSTABLE, Verdict
from edgecnn.report.page import page
from tests.report.reading import Element, Page
from tests.report.samples import (
    EMULATED,
    HOSTILE,
    OTHER,
    THROTTLED,
    emulated,
    everything,
    five,
    invalid,
    profile,
    row,
    sections_of,
    session,
    sustained,
)  # fmt: skip

TITLE = "Report"


def read(*sessions) -> Page:
    return Page(page(sections_of(*sessions), TITLE))


def cells(found: Page, number: int = 0) -> dict[str, str]:
    """The cells of a row of the results, by heading."""
    rows = [each for each in found.all("tr", role="row") if each.children[0].attributes.get("scope") == "row"]
    return {each.attributes.get("data-label") or "file": each.text for each in rows[number].children}


def verdicts(found: Page) -> list[Element]:
    return [each for each in found.elements if "verdict" in (each.attributes.get("class") or "").split()]


def test_the_page_needs_nothing_and_runs_nothing() -> None:
    text = page(sections_of(*everything()), TITLE)
    found = Page(text)
    assert found.declared == ["doctype html"]
    assert found.all("html", lang="en") and found.all("meta", charset="utf-8")
    assert found.all("meta", name="viewport", content="width=device-width, initial-scale=1")
    (policy,) = found.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert (policy.attributes["content"] or "").startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert not {"script", "link", "img", "iframe", "object", "form"} & {each.tag for each in found.elements}
    names = {name for each in found.elements for name in each.attributes}
    assert not [name for name in names if name.startswith("on")] and "src" not in names
    assert all((each.attributes["href"] or "").startswith("#") for each in found.all("a"))
    (style,) = found.all("style")
    assert "url(" not in style.text and "@import" not in style.text


def test_what_a_file_says_is_never_markup() -> None:
    machine = dataclasses.replace(OTHER, board=HOSTILE, cpu=HOSTILE, kernel=HOSTILE, features=(HOSTILE,))
    rows = [
        row(HOSTILE, HOSTILE, engine=HOSTILE, runtime=HOSTILE, verdict=Verdict(UNSTABLE, (HOSTILE,))),
        row(runs=0, failure=HOSTILE), row(energy=Energy(None, None, False, HOSTILE)),
    ]  # fmt: skip
    text = page(sections_of(session(rows, machine, edgecnn=HOSTILE, created=HOSTILE), session(rows)), HOSTILE)
    found = Page(text)
    text.encode()
    assert not found.all("script") and not found.all("b")
    assert not set(text) & set("\x1b\u202e\udc80")
    assert text.count("&lt;script&gt;alert(") > 20


def test_every_figure_is_in_the_table() -> None:
    charged = row(energy=Energy(1.5e-4, "a chip", True, None), microseconds=12, size=78_024, correct=738)
    found = cells(read(session([charged])))
    assert found["file"] == "1lenet/lenet_float32.tflitefloat32Pareto: latency and bytes"
    assert found["runtime, threads, batch"] == "litert 1.01 threadbatch 1"
    assert found["bytes"] == "78,024"
    assert found["accuracy"] == "73.80 %71.0 to 76.41,000 images"
    assert found["p50"].startswith("12.2 µs12.2 to ") and found["p90"].endswith(" µs") and found["p99"].endswith(" µs")
    assert found["cold start"] == "115 msload 5.0 msfirst run 0.3 ms"
    assert found["memory"] == "2.00 MB"
    assert found["energy"] == "0.15 mJestimate"


def test_what_is_not_known_is_said_and_not_made_up() -> None:
    text = page(sections_of(session([row(correct=None, runs=2)], settings=Settings(runs=2))), TITLE)
    found = cells(Page(text))
    assert found["accuracy"] == "not scored" and found["p50"].endswith("too few runs")
    assert "energy" not in found
    assert "unavailable: no meter here" in text
    assert "its interval needs 5 runs or more" in text


def test_the_verdict_comes_first_and_gives_every_reason() -> None:
    (verdict,) = verdicts(read(session([row()])))
    assert verdict.text.startswith("Valid") and "valid" in (verdict.attributes["class"] or "")
    doubts = Verdict(UNSTABLE, ("other processes kept 1.4 of 2 CPUs busy",))
    own = Verdict(UNSTABLE, (*doubts.reasons, "runs of the same file differ by 12%"))
    (verdict,) = verdicts(read(session([row(verdict=own)], verdict=doubts)))
    assert verdict.text.startswith("Unstable")
    lines = [each.text for child in verdict.children for each in child.children]
    assert lines == [doubts.reasons[0], "lenet/lenet_float32.tflite in litert: runs of the same file differ by 12%"]


def test_an_invalid_session_is_marked_on_every_figure_and_row() -> None:
    found = read(invalid([*five(), row(sustained=sustained())]))
    (verdict,) = verdicts(found)
    assert verdict.text.startswith("INVALID") and "under-voltage during the run" in verdict.text
    assert verdict.attributes["role"] == "alert"
    assert len(found.all("tr", class_="invalid")) == len(found.all("span", class_="pill")) == 11
    assert {each.text for each in found.all("span", class_="pill")} == {"INVALID"}
    charts = found.all("svg")
    assert len(charts) == 2 * 2 + 11 + 1
    stamps = [each.text for each in found.all("text", class_="stamp")]
    assert len(stamps) == len(charts) and {each[:9] for each in stamps} == {"INVALID: "}
    assert len(found.all("li", class_="bad")) == 5  # verdicts on speed
    assert "Pareto: " not in "".join(each.text for each in found.all("th"))


def test_a_valid_session_beside_an_invalid_one_keeps_its_rows() -> None:
    found = read(session([row("good")]), invalid([row("bad")]))
    (bad,) = found.all("tr", class_="invalid")
    assert bad.text.startswith("2bad/")
    assert len(found.all("text", class_="stamp")) == 4 + 1  # the plots they share, and the bad one's own


def test_machines_are_never_in_one_plot_or_table() -> None:
    found = read(session([row("one")]), session([row("two")], OTHER))
    assert [each.text for each in found.all("h2")] == ["Board 1, Cortex-A76", "Board 2, Cortex-A76"]
    for chart in found.all("svg"):
        assert ("one" in chart.text) != ("two" in chart.text)
    links = [each.attributes["href"] for each in found.all("a")]
    assert links == ["#machine-1", "#machine-2"]
    assert {each.attributes["id"] for each in found.all("h2")} == {"machine-1", "machine-2"}


def test_an_emulated_machine_has_instructions_and_not_one_time() -> None:
    text = page(sections_of(session([emulated("lenet", 1_230_000), emulated("b", 5_000_000)], EMULATED)), TITLE)
    found = Page(text)
    shown = cells(found)
    assert shown["instructions per image, emulated"] == "1.23 M1.23 to 1.23 M"
    assert shown["outputs"] == "the same1,000 images"
    assert not {"p50", "p90", "p99", "cold start", "energy", "memory"} & shown.keys()
    (body,) = found.all("body")
    assert not re.search(r"\d (µs|ms|s|ns)\b", body.text)
    assert "emulated" in "".join(each.text for each in found.all("title") if "instructions" in each.text)
    assert [each.text for each in found.all("h3")][1:3] == ["Accuracy against cost", "Instructions"]


def test_failures_sustained_runs_and_the_machine_are_shown() -> None:
    rows = [row("broken", runs=0, failure="was killed by SIGILL"), row("hot", sustained=sustained(40)), row()]
    found = read(session(rows, settings=Settings(pin=(0, 1), cooldown=2.0, sustained=60.0)))
    (failed,) = found.all("div", class_="failed")
    assert "broken/broken_float32.tflite in litert (run-1.json): was killed by SIGILL" in failed.text
    assert len(found.all("rect", class_="bad-ground")) == 20
    assert len(found.all("path", class_="curve")) == 3  # latency, clock, temperature
    defined = dict(zip([each.text for each in found.all("dt")], [each.text for each in found.all("dd")], strict=True))
    assert defined["settings"].endswith("on CPU 0, 1 only; 2 s of rest before each run; then 60 s without a rest")
    assert defined["board"] == "Board 1" and defined["memory"].endswith("GB") and defined["kernel"] == "6.12"
    assert "SDOT" in defined["CPU features for int8"]
    assert defined["in the times"] == "the call, and 60 ns of the timing loop; not reading or preparing the image"


def test_a_slow_quantized_file_is_explained() -> None:
    rows = [row(microseconds=100), row(recipe="weight_w8", microseconds=99)]
    rows = [dataclasses.replace(each, case=dataclasses.replace(each.case, bundle="b")) for each in rows]
    (gains,) = read(session(rows)).all("ul", class_="speed")
    assert "1.01 times as fast as lenet_float32.tflite" in gains.text
    assert "weight_w8 computes in float" in gains.text


def test_a_profile_has_a_bar_for_each_operation() -> None:
    found = read(profile())
    wide, narrow = found.all("svg")
    shown = ["the call itself", "1.00 µs, 5.0 %", "1 CONV_2D conv1", "12.0 µs, 60.0 %", "2 RESHAPE conv1",
             "< 0.10 µs, < 0.5 %", "3 AVERAGE_POOL_2D conv1", "7.00 µs, 35.0 %"]  # fmt: skip
    assert [each.text for each in found.all("text", class_="label")][:8] == shown
    for chart in (wide, narrow):
        assert chart.text.startswith("Operations of lenet/lenet.tflite")
        assert "the bars add up to 20.0 µs" in chart.text and "27,648 multiply-adds" in chart.text
        assert "outside the delegate" in chart.text
    assert [each.text for each in found.all("h3")] == ["Operations", "The machine", "Its state"]


def test_an_invalid_profile_is_marked_and_leaves_the_bench_beside_it_alone() -> None:
    found = read(session([row()]), profile(verdict=THROTTLED))
    (verdict,) = verdicts(found)
    assert verdict.text.startswith("INVALID") and "run-2.json: under-voltage during the run" in verdict.text
    assert len(found.all("text", class_="stamp")) == 2
    assert not found.all("tr", class_="invalid")


def test_a_page_of_ten_files_is_small() -> None:
    assert len(page(sections_of(session(five())), TITLE)) < 200_000


def test_regions_are_named_for_those_who_do_not_see_them() -> None:
    found = read(*everything())
    tables, regions, charts = found.all("table"), found.all("div", class_="scroll"), found.all("svg")
    assert tables and len(regions) == len(tables) and charts
    for each in tables:
        assert each.attributes.get("aria-label")
    for each in regions:
        assert each.attributes["role"] == "region" and each.attributes["aria-label"]
        assert each.attributes["tabindex"] == "0", "it scrolls without a mouse"
    for each in charts:
        assert each.attributes["role"] == "img" and [child.tag for child in each.children[:2]] == ["title", "desc"]
