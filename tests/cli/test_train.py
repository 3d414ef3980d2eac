"""``edgecnn train`` on the digits: its outputs, and what it refuses."""

from __future__ import annotations

import json
import os
import resource
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn import checkpoint
from edgecnn.cli.main import main
from edgecnn.runtime.manifest import Manifest
from edgecnn.train import CHECKPOINT, WEIGHTS, recipe
from tests.train import small

WORDS = ["train", "--model", "lenet", "--data", "digits", "--epochs", "1", "--batch-size", "64", "--device", "cpu"]


def test_a_training_that_learned_nothing_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--learning-rate", "1e-9", "--optimizer", "sgd", "--out", str(tmp_path / "run")]) == 0
    assert "nothing was learned: guessing is right on 10.0%; lower --learning-rate (1e-09), or train for more" in (
        capfd.readouterr().err
    )
    assert main([*WORDS, "--out", str(tmp_path / "good")]) == 0
    assert "nothing was learned" not in capfd.readouterr().err


def refused(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line of an error that a refused command leaves."""
    assert main([*WORDS, *words]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("epoch ")]
    assert len(lines) == 1, err
    assert lines[0].startswith("edgecnn: error: ")
    return lines[0]


def test_a_person_reads_the_accuracy_and_where_the_weights_are(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(WORDS) == 0
    out, err = capfd.readouterr()
    header, _ = checkpoint.load(tmp_path / "runs" / "lenet-digits" / WEIGHTS)
    accuracy, weights = out.splitlines()
    assert accuracy.startswith(f"test accuracy {header.metrics['test_accuracy']:.4f} on 450 images of digits, ")
    assert weights == f"weights runs/lenet-digits/{WEIGHTS}"
    assert err.startswith("epoch 1/1  loss ")


def test_json_is_one_document_on_standard_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--out", str(tmp_path / "run"), "--validation", "0.1", "--json"]) == 0
    out, err = capfd.readouterr()
    document = json.loads(out)
    header, _ = checkpoint.load(Path(document["weights"]))
    assert document == {
        "model": "lenet", "dataset": "digits", "note": "", "metrics": header.metrics, "training": header.training,
        "weights": str(tmp_path / "run" / WEIGHTS), "curve": str(tmp_path / "run" / "curve.csv"),
    }  # fmt: skip
    assert document["metrics"].keys() == {"train_loss", "validation_accuracy", "validation_images"}
    assert "validation 0." in err


def test_the_recorded_command_gives_the_same_weights(tmp_path: Path) -> None:
    words = ["--no-flip", "--seed", "3", "--optimizer", "adamw", "--learning-rate", "0.003"]
    assert main([*WORDS, *words, "--out", str(tmp_path / "one"), "--force"]) == 0
    command = checkpoint.load(tmp_path / "one" / WEIGHTS)[0].command
    assert command == (
        "edgecnn train --model lenet --data digits --epochs 1 --batch-size 64 --optimizer adamw --learning-rate 0.003 "
        "--no-flip --seed 3 --device cpu"
    )
    assert main([*shlex.split(command)[1:], "--out", str(tmp_path / "two")]) == 0
    assert small.same(small.tensors(tmp_path / "one"), small.tensors(tmp_path / "two"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ("muon", 0.05, 0.05)), (("--optimizer", "sgd"), ("sgd", 0.1, 5e-4)),
        (("--optimizer", "adamw", "--weight-decay", "0.1"), ("adamw", 0.003, 0.1)),
    ],
)  # fmt: skip
def test_each_optimizer_has_a_rate_and_a_decay_of_its_own(
    words: tuple[str, ...], expected: tuple[str, float, float], tmp_path: Path
) -> None:
    assert main([*WORDS, *words, "--out", str(tmp_path)]) == 0
    recipe = checkpoint.load(tmp_path / WEIGHTS)[0].recipe
    assert (recipe["optimizer"], recipe["learning_rate"], recipe["weight_decay"]) == expected


@pytest.mark.parametrize("verb", ["train", "prune --target macs:0.5", "quantize --qat"])
def test_without_a_compiler_nothing_is_compiled(
    verb: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.chdir(tmp_path)
    assert main([*verb.split(), "--model", "lenet", "--data", "digits", "--compile"]) == 2
    line = capfd.readouterr().err
    assert "needs a C++ compiler and Python's headers, and 'no-such-compiler' is not there; leave it out, or" in line
    assert line.count("\n") == 1 and not list(tmp_path.iterdir())


def test_auto_says_which_data_it_took_and_records_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECNN_DATA", str(tmp_path / "no data"))
    monkeypatch.setenv("EDGECNN_CIFAR10_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    words = [word for word in WORDS if word not in ("--data", "digits")]
    assert main([*words, "--out", str(tmp_path / "run"), "--json"]) == 0
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert document["dataset"] == "digits"
    assert document["note"] in err
    assert "using the embedded digits instead" in document["note"]
    assert "--data digits" in checkpoint.load(tmp_path / "run" / WEIGHTS)[0].command


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--model", "lennet"], "unknown model 'lennet'; did you mean 'lenet'? (valid: "),
        (["--data", "digit"], "unknown data set 'digit'; did you mean 'digits'?"),
        (["--optimizer", "sdg"], "unknown optimizer 'sdg'; did you mean 'sgd'? (valid: adamw, muon, sgd)"),
        (["--precision", "float16"], "did you mean 'bfloat16'? (valid: auto, bfloat16, float32)"),
        (["--weights", "cifra10"], "unknown weights 'cifra10'; did you mean 'cifar10'? (valid: "),
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--epochs", "0"], "'--epochs': 0 is not in the range x>=1."),
        (["--epochs", "many"], "'--epochs': 'many' is not a valid integer range"),
        (["--batch-size", "1348"], "a batch of 1348 is more than the 1347 training images; give --batch-size 1024"),
        (["--learning-rate", "-1"], "learning rate is -1.0, but must be above 0"),
        (["--learning-rate", "nan"], "learning rate is nan, but must be above 0"),
        (["--weight-decay", "-1"], "weight decay is -1.0, but must be 0 or more"),
        (["--label-smoothing", "1"], "label smoothing is 1.0, but must be 0 or more, below 1"),
        (["--average", "1"], "average is 1.0, but must be a decay: 0 or more, below 1"),
        (["--shift", "-1"], "'--shift': -1 is not in the range x>=0."),
        (["--dropout", "1"], "dropout is 1.0, but must be a probability: 0 or more, below 1"),
        (["--validation", "1"], "validation is 1.0, but must be a fraction of the training images"),
        (["--seed", "-1"], "seed is -1, but must be 0 or more"),
        (["--resume"], "nothing to resume: "),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_leaves_nothing(
    words: list[str], part: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = refused(capfd, *words, "--out", str(tmp_path / "run"))
    assert part.rstrip(".") in line
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_left_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / CHECKPOINT).write_text("precious")
    line = refused(capfd, "--out", str(tmp_path))
    assert f"{tmp_path / CHECKPOINT} already exists; choose another place or pass --force to replace it" in line
    assert (tmp_path / CHECKPOINT).read_text() == "precious"
    assert os.listdir(tmp_path) == [CHECKPOINT]
    assert main([*WORDS, "--out", str(tmp_path), "--force"]) == 0
    assert sorted(os.listdir(tmp_path)) == small.FILES


def test_a_place_that_cannot_be_written_is_found_before_training(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    places = [tmp_path / "file" / "run"] + ([Path("/proc/run")] if sys.platform == "linux" else [])
    for place in places:
        assert main([*WORDS, "--out", str(place)]) == 2
        err = capfd.readouterr().err
        assert err.startswith(f"edgecnn: error: cannot write {place}"), err
        assert err.count("\n") == 1


@pytest.fixture
def full_disk() -> Iterator[None]:
    """The kernel refuses files of more than 100 kB, and a checkpoint has 700 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_and_keeps_what_was_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    assert main([*WORDS, "--out", str(tmp_path / "old")]) == 0
    before = {name: (tmp_path / "old" / name).read_bytes() for name in small.FILES}
    capfd.readouterr()
    request.getfixturevalue("full_disk")
    line = refused(capfd, "--out", str(tmp_path / "new"))
    assert f"cannot write {tmp_path / 'new' / CHECKPOINT}: File too large; free the space" in line
    assert os.listdir(tmp_path / "new") == [], "no half of a file"
    line = refused(capfd, "--out", str(tmp_path / "old"), "--resume")
    assert f"cannot write {tmp_path / 'old' / WEIGHTS}: File too large" in line
    assert {name: (tmp_path / "old" / name).read_bytes() for name in small.FILES} == before


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A folder of two easy classes, images of many sizes, one of them broken."""
    folder = tmp_path / "colours"
    random = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 8)):
        for channel, name in enumerate(("red", "green")):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 100, (*random.integers(20, 60, 2), 3)).astype(np.uint8)
                pixels[..., channel] += 120
                Image.fromarray(pixels).save(place / f"{number}.png")
    (folder / "train" / "red" / "broken.png").write_bytes(b"no image")
    return folder


def test_a_folder_goes_from_images_to_a_bundle_in_its_own_size(
    colours: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = refused(capfd, "--data", str(colours), "--image-size", "28x36", "--out", str(tmp_path / "run"))
    assert "1 of 65 images" in line and "red/broken.png" in line and "--on-broken skip" in line

    shared = ["--model", "lenet", "--data", str(colours), "--on-broken", "skip"]
    small_run = ["--image-size", "28x36", "--epochs", "3", "--batch-size", "8", "--out", str(tmp_path / "run")]
    assert main(["train", *shared, *small_run]) == 0
    assert "1 of 65 images" in capfd.readouterr().err
    weights = tmp_path / "run" / WEIGHTS
    header, _ = checkpoint.load(weights)
    assert header.arguments.image_size == (28, 36)
    assert "--image-size 28x36x3 --on-broken skip" in header.command

    bundle = tmp_path / "bundle"
    words = ["--weights", str(weights), "--format", "tflite", "--out", str(bundle)]
    assert main(["quantize", *shared, *words]) == 0
    manifest = Manifest.load(bundle)
    assert (manifest.input.height, manifest.input.width, manifest.dataset.classes) == (28, 36, 2)
    assert "1 of 65 images" in manifest.dataset.note


@pytest.mark.parametrize("size", ["28x", "0x28", "28x36x", "big", "9" * 5000])
def test_an_image_size_that_is_none_is_refused(size: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert "HEIGHTxWIDTH" in refused(capfd, "--image-size", size)


def test_the_default_run_folder_is_named_after_the_folder_not_its_path(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (colours / "train" / "red" / "broken.png").unlink()
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--model", "lenet", "--data", str(colours), "--epochs", "1", "--batch-size", "8"]) == 0
    assert (tmp_path / "runs" / "lenet-colours" / WEIGHTS).is_file()


def test_only_a_folder_is_resized(capfd: pytest.CaptureFixture[str]) -> None:
    assert "only a folder is resized" in refused(capfd, "--data", "digits", "--image-size", "28x36")


def test_a_teacher_is_learned_from_recorded_and_asked_for_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shipped = [checkpoint.shipped(name, "digits") for name in ("lenet", "mod_cnn")]
    words = ["--teacher", str(shipped[1])]
    assert main([*WORDS, "--out", str(tmp_path / "alone")]) == 0
    assert main([*WORDS, *words, "--out", str(tmp_path / "taught")]) == 0
    assert main([*WORDS, *words, "--distillation", "1", "--out", str(tmp_path / "all")]) == 0
    alone, taught, wholly = (checkpoint.load(tmp_path / name / WEIGHTS)[0] for name in ("alone", "taught", "all"))
    assert "teacher" not in alone.recipe
    assert (alone.recipe["distillation"], taught.recipe["distillation"], wholly.recipe["distillation"]) == (0, 0.5, 1)
    assert shipped[1] is not None
    assert taught.recipe["teacher"] == checkpoint.digest(checkpoint.load_model(shipped[1])[0])
    assert len({header.metrics["train_loss"] for header in (alone, taught, wholly)}) == 3
    run = tmp_path / "taught"
    capfd.readouterr()
    assert f"its teacher is {taught.recipe['teacher']}, this run's is " in refused(
        capfd, "--teacher", str(shipped[0]), "--out", str(run), "--resume"
    )


def test_the_header_says_how_the_teacher_was_made_and_nothing_of_this_machines_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    teacher = Path("runs") / "lenet-digits" / WEIGHTS
    assert main(WORDS) == 0
    assert main([*WORDS, "--teacher", str(teacher), "--out", "pupil"]) == 0
    assert main([*WORDS, "--teacher", str(Path("pupil") / WEIGHTS), "--out", "pupils pupil"]) == 0
    written = (teacher, Path("pupil") / WEIGHTS, Path("pupils pupil") / WEIGHTS)
    made, pupil, last = (checkpoint.load(path)[0] for path in written)
    assert made.teacher == {}
    assert f" --teacher {teacher} " in pupil.command
    assert pupil.teacher == {
        "model": "lenet", "dataset": "digits", "recipe": made.recipe, "command": made.command, "metrics": made.metrics,
        "training": made.training,
    }  # fmt: skip
    assert last.teacher["teacher"] == pupil.teacher
    resumed = [*WORDS, "--teacher", str(tmp_path / teacher), "--out", "pupil", "--resume"]
    assert main(resumed) == 0
    again = checkpoint.load(Path("pupil") / WEIGHTS)[0]
    assert f" --teacher {WEIGHTS} " in again.command
    assert (again.teacher, again.training["seconds"]) == (pupil.teacher, pupil.training["seconds"])


def test_several_teachers_are_recorded_each_with_how_it_was_made(tmp_path: Path) -> None:
    names = ("mod_cnn", "depthwise")
    words = [word for name in names for word in ("--teacher", name)]
    assert main([*WORDS, *words, "--views", "1", "--out", str(tmp_path / "both")]) == 0
    assert main([*WORDS, "--teacher", names[0], "--views", "1", "--out", str(tmp_path / "one")]) == 0
    both, one = (checkpoint.load(tmp_path / name / WEIGHTS)[0] for name in ("both", "one"))
    known = [checkpoint.load(path)[0].origin for name in names if (path := checkpoint.shipped(name, "digits"))]
    assert both.teacher == {"together": known} and one.teacher == known[0]
    digests = both.recipe["teacher"].split("+")
    assert digests[0] == one.recipe["teacher"] and len(set(digests)) == 2
    assert " --teacher mod_cnn --teacher depthwise " in both.command
    assert both.metrics["train_loss"] != one.metrics["train_loss"]


def test_a_model_whose_weights_ship_teaches_by_its_name(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shipped = checkpoint.shipped("mod_cnn", "digits")
    assert shipped is not None
    assert main([*WORDS, "--teacher", "mod_cnn", "--out", str(tmp_path / "named")]) == 0
    assert main([*WORDS, "--teacher", str(shipped), "--out", str(tmp_path / "given")]) == 0
    named, given = (checkpoint.load(tmp_path / name / WEIGHTS)[0] for name in ("named", "given"))
    assert " --teacher mod_cnn " in named.command
    assert (named.recipe, named.teacher) == (given.recipe, given.teacher)
    assert small.same(small.tensors(tmp_path / "named"), small.tensors(tmp_path / "given"))
    capfd.readouterr()
    line = refused(capfd, "--teacher", "teacher", "--out", str(tmp_path / "run"))
    assert "unknown teacher 'teacher' (valid: FILE.safetensors, " in line


def test_a_design_goes_on_as_a_deeper_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "first" / WEIGHTS
    words = [*WORDS[:2], "design:c4s2-r8s2", *WORDS[3:]]
    assert main([*words, "--out", str(tmp_path / "first")]) == 0
    words[2] = "design:c4s2-r8s2n2"
    capfd.readouterr()
    assert main([*words, "--weights", str(weights), "--out", str(tmp_path / "second")]) == 0
    assert "the blocks of design:c4s2-r8s2 go on; others begin by adding nothing to their input\n" in (
        capfd.readouterr().err
    )
    assert checkpoint.load(tmp_path / "second" / WEIGHTS)[0].start == checkpoint.load(weights)[0].origin
    line = refused(capfd, "--model", "design:c4s2-r6s2", "--weights", str(weights), "--out", str(tmp_path / "third"))
    assert "'design:c4s2-r6s2' is not 'design:c4s2-r8s2' with more blocks, each of which is added to its input" in line


def test_training_goes_on_from_weights_that_ship_or_from_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shipped = checkpoint.shipped("lenet", "digits")
    assert shipped is not None
    assert main([*WORDS, "--weights", "digits", "--out", str(tmp_path / "named")]) == 0
    assert main([*WORDS, "--weights", str(shipped), "--out", str(tmp_path / "given")]) == 0
    assert "anew" not in capfd.readouterr().err
    named, given = (checkpoint.load(tmp_path / name / WEIGHTS)[0] for name in ("named", "given"))
    assert " --weights digits " in named.command and f" --weights {shipped.name} " in given.command
    assert named.start == given.start == checkpoint.load(shipped)[0].origin
    assert small.same(small.tensors(tmp_path / "named"), small.tensors(tmp_path / "given"))
    assert main([*WORDS, "--out", str(tmp_path / "fresh")]) == 0
    fresh = checkpoint.load(tmp_path / "fresh" / WEIGHTS)[0]
    assert named.metrics["test_accuracy"] > 0.95 > fresh.metrics["test_accuracy"]


def test_weights_learn_the_classes_of_a_folder_in_the_size_they_know(
    colours: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(colours), "--on-broken", "skip", "--batch-size", "8", "--out", str(tmp_path / "run")]
    assert main([*WORDS, *words, "--weights", "cifar10"]) == 0
    assert "the last layer, fc3, starts anew: these weights know other classes\n" in capfd.readouterr().err
    header, _ = checkpoint.load(tmp_path / "run" / WEIGHTS)
    assert (header.classes, header.arguments.image_size) == (("green", "red"), (32, 32))
    assert header.start["dataset"] == "cifar10"


def test_weights_that_cannot_be_gone_on_from_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "run")]
    assert "cannot read weights none.safetensors" in refused(capfd, "--weights", "none.safetensors", *out)
    other = str(checkpoint.shipped("mod_cnn", "digits"))
    assert "does not fit the model" in refused(capfd, "--weights", other, *out)
    assert "are recorded with these weights" in refused(capfd, "--weights", "digits", "--mean", "0", "--std", "1", *out)
    line = refused(capfd, "--weights", "auto", *out)
    assert "for data set 'auto' come with edgecnn (valid: cifar10, digits); make them" in line


def test_a_run_that_was_begun_before_headers_spoke_of_teachers_is_resumed_and_says_it_then(tmp_path: Path) -> None:
    teacher = checkpoint.shipped("mod_cnn", "digits")
    words = [*WORDS, "--teacher", str(teacher), "--out", str(tmp_path)]
    assert main(words) == 0
    for name in (CHECKPOINT, WEIGHTS):
        header, tensors = checkpoint.load(tmp_path / name)
        checkpoint.save(tmp_path / name, replace(header, teacher={}), tensors)
    before = small.tensors(tmp_path)
    assert main([*words, "--resume"]) == 0
    assert checkpoint.load(tmp_path / WEIGHTS)[0].teacher["model"] == "mod_cnn"
    assert small.same(small.tensors(tmp_path), before)


def test_what_cannot_teach_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cifar10 = checkpoint.shipped("lenet", "cifar10")
    line = refused(capfd, "--teacher", str(cifar10), "--out", str(tmp_path / "run"))
    assert f"{cifar10} is a teacher for the 10 classes of cifar10, not for the 10 of digits" in line
    assert "cannot read weights" in refused(capfd, "--teacher", str(tmp_path / "none"), "--out", str(tmp_path / "run"))
    line = refused(capfd, "--distillation", "0.5")
    assert line.endswith("--distillation is the share of a teacher; give --teacher NAME or FILE")
    line = refused(capfd, "--teacher", str(cifar10), "--distillation", "2")
    assert "distillation is 2.0, but must be a share of the loss: 0 to 1" in line
    line = refused(capfd, "--teacher", "mod_cnn", "--distillation", "0", "--out", str(tmp_path / "run"))
    assert line.endswith("--distillation 0 learns nothing from a --teacher; leave one of the two away")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("role", ["--weights", "--teacher"])
def test_a_run_does_not_replace_what_it_is_made_from(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = Path("runs") / "lenet-digits" / WEIGHTS
    assert main(WORDS) == 0
    before = weights.read_bytes()
    capfd.readouterr()
    line = refused(capfd, role, str(weights), "--force")
    assert line.startswith("edgecnn: error: this run would replace ") and line.endswith("; give another --out")
    assert weights.read_bytes() == before
    assert main([*WORDS, role, str(weights), "--out", "other"]) == 0


def test_images_that_the_weights_were_trained_on_are_not_held_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = refused(capfd, "--weights", "digits", "--validation", "0.1", "--out", str(tmp_path / "run"))
    assert "--validation 0.1 holds out images that these weights were trained on, which held out 0" in line
    assert main([*WORDS, "--validation", "0.2", "--out", str(tmp_path / "first")]) == 0
    more = ["--weights", str(tmp_path / "first" / WEIGHTS), "--validation", "0.1", "--out", str(tmp_path / "more")]
    assert main([*WORDS, *more]) == 0


@pytest.mark.parametrize(("epochs", "warm_up"), [(1, 0.2), (5, 1.0), (10, 2.0), (60, 2.0)])
def test_a_short_training_is_not_all_warm_up(epochs: int, warm_up: float) -> None:
    assert recipe.warm_up(epochs) == pytest.approx(warm_up)
