"""A net made bad on purpose: the right layer is named for the right reason, and a good one gets no blame."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecnn.errors import UsageError
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.measure.findings import EXACT, Report, decibels
from edgecnn.measure.layer_errors import find_errors
from edgecnn.runtime.bundle import open_bundle
from tests import tiny_artifacts
from tests.measure import layered

NAMES = ["conv1", "first.conv1", "first.conv2", "first.add", "second.conv1", "second.conv2", "second.add", "pool", "fc"]


@pytest.fixture(scope="module")
def good(once) -> Path:
    return once("layered-good", layered.write)


def found(files: Path, tmp_path: Path, contrast: float = 0.5) -> Report:
    return find_errors(layered.bundle(files, tmp_path / "b", contrast), 48)


def renamed(files: Path, tmp_path: Path, name: Callable[[int, str], str], which: tuple[str, ...]) -> Path:
    """The files, the tensors of some named after ``name(index, old)``."""
    folder = tmp_path / "files"
    folder.mkdir()
    for recipe, file in layered.FILES.items():
        graph = TFLiteGraph((files / file).read_bytes())
        for index, tensor in enumerate(graph.subgraph.tensors):
            if recipe in which:
                tensor.name = name(index, tensor.name.decode()).encode()
        (folder / file).write_bytes(graph.to_bytes())
    return folder


def test_a_good_net_gets_no_blame_and_its_layers_have_their_modules_names(good: Path, tmp_path: Path) -> None:
    report = found(good, tmp_path)
    assert [each.name for each in report.layers] == NAMES
    assert (report.named, report.unmatched) == (True, ())
    assert report.verdict.sound and report.verdict.findings == ()
    assert "no layer loses more than" in report.verdict.said
    assert report.logits_db > 30 and report.agreement > 0.95
    for each in report.layers:
        assert each.alone_db is not None and each.alone_db > 35 and each.cosine > 0.999
        assert each.clipped is not None and each.clipped < 0.01 and each.used is not None and each.used > 0.8
        assert each.weight_db is None or 40 < each.weight_db < 60
    assert report.layers[0].channels == 8  # though the file computes two pixels of each at once
    assert report.layers[0].sqnr_db == pytest.approx(report.layers[0].alone_db, abs=0.01)  # nothing comes before it


def test_a_channel_that_spans_far_more_than_the_rest_is_named_with_its_layer(once, tmp_path: Path) -> None:
    files = once("layered-wide", lambda folder: layered.write(folder, layered.widen))
    report = found(files, tmp_path)
    (finding,) = report.verdict.findings
    assert (finding.layer, finding.cause) == ("second.conv1", "channels")
    assert "1 of 16 channels spans" in finding.said and "(channel 0)" in finding.said
    assert finding.said.endswith("which spoils the weights of second.conv2 too")
    layer = report.layers[NAMES.index("second.conv1")]
    assert layer.wide_channels == (0,) and layer.width > 20 and layer.worst_channel != 0


def test_a_channel_that_gives_nothing_harms_nothing(once, tmp_path: Path) -> None:
    files = once("layered-dead", lambda folder: layered.write(folder, layered.kill))
    report = found(files, tmp_path)
    assert report.verdict.sound and report.verdict.findings == ()
    assert [each.dead_channels for each in report.layers] == [0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert report.layers[1].worst_channel != 2 and report.layers[1].channel_db[2] == EXACT
    json.dumps(report.document(), allow_nan=False)


def test_ranges_that_are_too_narrow_for_the_images_are_told_from_other_causes(good: Path, tmp_path: Path) -> None:
    report = found(good, tmp_path, contrast=1.0)
    assert not report.verdict.sound
    assert [(each.layer, each.cause) for each in report.verdict.findings] == [("fc", "clipped")]
    assert "of its values lie outside its range" in report.verdict.findings[0].said
    assert "layers lose 1 % of their values or more" in report.verdict.findings[0].said
    assert "--calibration 2048" in report.verdict.findings[0].advice


def test_ranges_that_are_too_wide_for_the_images_are_told(good: Path, tmp_path: Path) -> None:
    report = found(good, tmp_path, contrast=0.02)
    assert not report.verdict.sound and report.verdict.findings == ()
    assert "8 of 9 ranges are more than twice as wide as these images need" in report.verdict.said
    assert all(each.clipped == 0 for each in report.layers)


def test_files_without_whole_names_are_matched_by_order_and_called_after_operations(good: Path, tmp_path: Path) -> None:
    files = renamed(good, tmp_path, lambda index, _old: f"tensor {index}", tuple(layered.FILES))
    report = found(files, tmp_path)
    (tmp_path / "named").mkdir()
    named = found(good, tmp_path / "named")
    assert not report.named and report.layers[0].name == "conv_2d at 2"  # after a RESHAPE
    assert [each.logits_db for each in report.layers] == [each.logits_db for each in named.layers]


def test_what_only_one_file_has_is_said_and_the_rest_is_judged(good: Path, tmp_path: Path) -> None:
    files = renamed(good, tmp_path, lambda _index, old: old.replace("second.conv1", "other"), ("static_w8a8",))
    report = found(files, tmp_path)
    assert report.unmatched == ("other (only in the quantized file)", "second.conv1 (only in the float file)")
    assert [each.name for each in report.layers] == [name for name in NAMES if name != "second.conv1"]
    following = report.layers[NAMES.index("second.conv1")]
    assert following.name == "second.conv2" and following.alone_db is None and following.loss_db is None
    assert following.sqnr_db > 30


def test_one_image_is_too_few(tmp_path: Path) -> None:
    bundle = open_bundle(tiny_artifacts.bundle(tmp_path / "b", count=1))
    with pytest.raises(UsageError, match="1 sample image is too few"):
        find_errors(bundle, 256)


def test_a_ratio_is_told_in_decibels_and_never_infinite() -> None:
    assert decibels(100, 1) == pytest.approx(20)
    assert (decibels(1, 0), decibels(0, 1)) == (EXACT, -EXACT)
