"""``edgecnn classify`` with a small real bundle."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.cli.main import main
from tests import tiny_artifacts
from tests.tiny_artifacts import FLOAT_FILE, INT8_FILE, LABELS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_artifacts.bundle(tmp_path / "b")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three pictures of the very size that the classifier takes, a hidden file and a folder."""
    place = tmp_path / "pictures"
    (place / "below").mkdir(parents=True)
    (place / ".hidden").write_bytes(b"x")
    for number, pixels in enumerate(tiny_artifacts.images(3)):
        Image.fromarray(pixels).save(place / f"{number}.png")
    return place


def lines_of(capfd: pytest.CaptureFixture[str]) -> tuple[list[str], list[str]]:
    out, err = capfd.readouterr()
    return out.splitlines(), [line for line in err.splitlines() if not line.startswith("INFO:")]


def run_json(capfd: pytest.CaptureFixture[str], *words: object, code: int = 0) -> dict:
    assert main(["classify", *map(str, words), "--json"]) == code
    return json.loads(capfd.readouterr().out)


def test_answers_are_those_of_the_classifier(folder: Path, pictures: Path, capfd) -> None:
    document = run_json(capfd, folder / FLOAT_FILE, pictures, "--top", 2)
    assert document["artifact"] == str(folder / FLOAT_FILE)
    assert [row["image"] for row in document["images"]] == [str(pictures / f"{number}.png") for number in range(3)]
    expected = tiny_artifacts.logits(tiny_artifacts.images(3), tiny_artifacts.weights())
    shares = np.exp(expected) / np.exp(expected).sum(1, keepdims=True)
    for row, logits, share in zip(document["images"], expected, shares, strict=True):
        order = np.argsort(-logits)[:2]
        assert [guess["label"] for guess in row["top"]] == [LABELS[index] for index in order]
        assert [guess["logit"] for guess in row["top"]] == pytest.approx(logits[order], rel=1e-4)
        assert [guess["probability"] for guess in row["top"]] == pytest.approx(share[order], rel=1e-4)
        assert row["milliseconds"].keys() == {"decode", "preprocess", "run"}
        assert min(row["milliseconds"].values()) > 0


def test_a_bundle_stands_for_its_own_recipe(folder: Path, pictures: Path, capfd) -> None:
    assert run_json(capfd, folder, pictures)["artifact"] == str(folder / INT8_FILE)


def test_a_line_for_each_image(folder: Path, pictures: Path, capfd) -> None:
    assert main(["classify", str(folder), str(pictures / "1.png"), str(pictures / "0.png"), "--top", "1"]) == 0
    out, err = lines_of(capfd)
    assert err == []
    truth = tiny_artifacts.logits(tiny_artifacts.images(3), tiny_artifacts.weights()).argmax(1)
    for line, number in zip(out, (1, 0), strict=True):
        assert line.startswith(f"{pictures / f'{number}.png'}  {LABELS[truth[number]]} ")
        assert "ms (decode " in line


def test_what_cannot_be_looked_at_in_a_folder_is_named(folder: Path, pictures: Path, capfd) -> None:
    (pictures / "1.png").unlink()
    (pictures / "1.png").symlink_to(pictures / "gone")
    assert main(["classify", str(folder), str(pictures)]) == 2
    out, err = lines_of(capfd)
    assert [line.split()[0] for line in out] == [str(pictures / "0.png"), str(pictures / "2.png")]
    assert err[0].startswith(f"edgecnn: {pictures / '1.png'}: ")


def test_a_bad_image_among_good_ones_is_named_and_the_rest_goes_on(folder: Path, pictures: Path, capfd) -> None:
    (pictures / "1.png").write_bytes(b"no image")
    assert main(["classify", str(folder), str(pictures)]) == 2
    out, err = lines_of(capfd)
    assert [line.split()[0] for line in out] == [str(pictures / "0.png"), str(pictures / "2.png")]
    assert err[0].startswith(f"edgecnn: {pictures / '1.png'}: not an image")
    assert err[1:] == ["edgecnn: error: 1 of 3 images could not be read; they are named above"]
    document = run_json(capfd, folder, pictures, code=2)
    assert document["images"][1] == {"image": str(pictures / "1.png"), "error": err[0].partition(".png: ")[2]}


def test_a_bad_image_alone_is_one_line(folder: Path, tmp_path: Path, capfd) -> None:
    assert main(["classify", str(folder), str(tmp_path / "none.png")]) == 2
    assert lines_of(capfd) == ([], [f"edgecnn: error: {tmp_path / 'none.png'}: there is no such file"])


def test_a_stream_of_paths_is_answered_one_by_one(folder: Path, pictures: Path) -> None:
    """Each answer is there before the next path is given."""
    words = [sys.executable, "-m", "edgecnn", "classify", str(folder), "-", "--json"]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        guard = threading.Timer(60, process.kill)  # an answer that never comes would be waited for without end
        guard.start()
        for name in ("2.png", "none.png", "0.png"):
            process.stdin.write(f"{pictures / name}\n\n")
            process.stdin.flush()
            row = json.loads(process.stdout.readline())
            assert row["image"] == str(pictures / name)
            assert ("error" in row) == (name == "none.png")
        process.stdin.close()
        assert process.stdout.read() == ""
        guard.cancel()
    assert process.returncode == 2


def test_broken_images_of_a_stream_are_not_kept_in_memory(folder: Path, tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(whole, "JPEG")  # 16 MB when it is decoded
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(whole.getvalue()[:-5000])
    assert peak_of(folder, [broken] * 30) < peak_of(folder, [broken] * 2) + (64 << 20)


def peak_of(folder: Path, images: list[Path]) -> int:
    """Bytes of memory that a process takes at most to classify a stream of images."""
    words = [sys.executable, "-m", "edgecnn", "classify", str(folder), "-", "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("".join(f"{image}\n" for image in images).encode())
        process.stdin.close()
        assert process.stdout.read().count(b"truncated") == len(images)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 2
    return used.ru_maxrss * 1024


def test_an_empty_stream_gives_nothing(folder: Path) -> None:
    words = [sys.executable, "-m", "edgecnn", "classify", str(folder), "-", "--json"]
    run = subprocess.run(words, cwd=ROOT, input="", capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "")


def test_what_a_name_could_tell_a_terminal_is_not_printed(folder: Path, pictures: Path, capfd) -> None:
    (pictures / "0.png").rename(pictures / "\x1b]0;owned\x07.png")
    assert main(["classify", str(folder), str(pictures)]) == 0
    assert "\x1b" not in capfd.readouterr().out


def test_a_folder_without_files_is_refused(folder: Path, tmp_path: Path, capfd) -> None:
    (tmp_path / "none").mkdir()
    assert main(["classify", str(folder), str(tmp_path / "none")]) == 2
    assert lines_of(capfd)[1] == [
        f"edgecnn: error: the folder {tmp_path / 'none'} holds no files; give a folder of images, or their paths"
    ]


def test_a_file_without_a_bundle_is_refused(tmp_path: Path, capfd) -> None:
    path = tiny_artifacts.tflite(tmp_path / "x.tflite", tiny_artifacts.weights())
    assert main(["classify", str(path), "x.png"]) == 2
    (line,) = lines_of(capfd)[1]
    assert line.startswith(f"edgecnn: error: {path} lies in no bundle, which has a manifest.json; give")
    assert main(["classify", str(tmp_path / "nope"), "x.png"]) == 2
    (line,) = lines_of(capfd)[1]
    assert line.startswith(f"edgecnn: error: there is no {tmp_path / 'nope'} to read; give the folder of a bundle")


def test_scores_that_are_no_numbers_are_refused(folder: Path, pictures: Path, capfd) -> None:
    matrix = np.full((3, 48), 1e38, np.float32)
    matrix[0] = np.nan
    tiny_artifacts.tflite(folder / FLOAT_FILE, matrix)
    tiny_artifacts.relist(folder)
    assert main(["classify", str(folder / FLOAT_FILE), str(pictures)]) == 2
    (line,) = lines_of(capfd)[1]
    assert "scores that are no finite numbers" in line


def test_what_a_decoder_says_of_each_bad_row_is_not_printed(folder: Path, pictures: Path, capfd) -> None:
    """libtiff writes to standard error by itself, past Python."""
    rows = ROOT / "tests" / "benchmarks" / "found"
    (bad,) = rows.glob("*.fax.tiff.image")
    assert main(["classify", str(folder), str(bad)]) == 2
    out, err = lines_of(capfd)
    assert out == []
    assert len(err) == 1 and err[0].startswith(f"edgecnn: error: {bad}: ")


@pytest.mark.parametrize("words", [["classify", "BUNDLE", "image.png"], ["watch", "BUNDLE", "--folder", "none"]])
def test_more_threads_than_cpus_are_refused(words: list[str], folder: Path, capfd) -> None:
    threads = 10**12
    asked = [word.replace("BUNDLE", str(folder)) for word in words]
    assert main([*asked, "--threads", str(threads)]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"'--threads': {threads} is more than the {len(os.sched_getaffinity(0))} CPUs there are for them" in err


def test_a_name_that_a_terminal_would_obey_is_shown_as_harmless_where_it_is_the_only_one(
    folder: Path, tmp_path: Path, capfd
) -> None:
    (tmp_path / "\x1b[2Jgone.png").write_bytes(b"no image")
    assert main(["classify", str(folder), str(tmp_path / "\x1b[2Jgone.png")]) == 2
    assert lines_of(capfd)[1][0].startswith(f"edgecnn: error: {tmp_path}/?[2Jgone.png: not an image")
