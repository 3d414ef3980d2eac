"""Pruning in steps: what is written, that it goes on where it stopped, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import edgecnn
from edgecnn import checkpoint, models
from edgecnn.checkpoint import Header
from edgecnn.data.augment import Augmentation
from edgecnn.data.dataset import DataSet, Memory
from edgecnn.errors import BadFileError, EdgeCNNError, OutputExistsError, UnknownNameError, UsageError
from edgecnn.evaluate import predictor
from edgecnn.models import ModelArguments, cost
from edgecnn.prune import iterate
from edgecnn.prune.iterate import PLAN, Pruning, prune
from edgecnn.prune.search import Plan
from edgecnn.prune.target import Target
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.recipe import STATIC_W8A8
from edgecnn.train import CHECKPOINT, WEIGHTS, TrainRecipe
from edgecnn.train.folder import RunFolder
from tests import nets
from tests.train import small
from tests.train.stopping import stop_after

ROOT = Path(edgecnn.__file__).parent.parent
HALF = Pruning(Target.parse("macs:0.5"), steps=2)


@cache
def floats(model: str = "depthwise") -> tuple[nn.Module, Header]:
    torch.manual_seed(0)
    height, width, channels = small.dataset().image
    arguments = ModelArguments(3, channels, (height, width))
    recipe = {"augmentation": {"shift": 1, "flip": False, "cutout": 3}, "label_smoothing": 0.1}
    network = nets.with_statistics(models.create(model, arguments))
    return network.eval(), Header(model, arguments, "small", small.dataset().classes, recipe)


def recipe(**changes: Any) -> TrainRecipe:
    return iterate.settings(floats()[1], **({"epochs": 2, "batch_size": 32} | changes))


def pruned(
    out: Path, pruning: Pruning = HALF, settings: TrainRecipe | None = None, *, resume: bool = False,
    force: bool = False, of: tuple[nn.Module, Header] | None = None, measure: Any = None, said: Any = None,
    teacher: tuple[nn.Module, Header] | None = None, device: str = "cpu", data: DataSet | None = None,
) -> tuple[Header, Plan]:  # fmt: skip
    model, header = of or floats()
    taught_by, origin = (None, None) if teacher is None else (teacher[0], teacher[1].origin)
    return prune(
        model, header, data or small.dataset(), pruning, settings or recipe(), out, measure=measure,
        say=[].append if said is None else said.append, device=device, resume=resume, force=force, command="as typed",
        teacher=taught_by, origin=origin,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run."""
    folder = tmp_path_factory.mktemp("prune")
    pruned(folder)
    return folder


def test_a_run_leaves_weights_of_half_the_macs_a_plan_and_a_run_for_each_step(run: Path) -> None:
    assert sorted(os.listdir(run)) == [PLAN, "step-1", "step-2", WEIGHTS]
    assert sorted(os.listdir(run / "step-1")) == small.FILES
    model, header = checkpoint.load_model(run / WEIGHTS)
    before = cost.macs(floats()[0], header.arguments)
    assert 0.46 < cost.macs(model, header.arguments) / before <= 0.5
    assert header.recipe["pruning"] == {
        "target": "macs:0.5", "importance": "l2", "steps": 2, "multiple": 8, "step": 2,
        "float_weights": checkpoint.digest(floats()[0]),
    }  # fmt: skip
    assert header.training["epochs"] == 3  # of the last step 2, of that before a tenth, but one at least
    assert header.command == "as typed"
    assert small.same(small.tensors(run), small.tensors(run / "step-2"))
    half_way = cost.macs(checkpoint.load_model(run / "step-1" / WEIGHTS)[0], header.arguments) / before
    assert 0.55 < half_way < 0.8


def test_pruned_weights_load_in_a_fresh_process_without_pickle(run: Path) -> None:
    model, _ = checkpoint.load_model(run / WEIGHTS)
    images = small.dataset().test.take(torch.arange(30).numpy())[0]
    code = f"""
import pickle, sys
pickle.load = pickle.loads = pickle.Unpickler = None
from pathlib import Path
from edgecnn import checkpoint
from edgecnn.evaluate import predictor
from tests.train import small
model, header = checkpoint.load_model(Path({str(run / WEIGHTS)!r}))
assert "torch_pruning" not in sys.modules
print(predictor(model)(small.dataset().test.take(__import__("numpy").arange(30))[0]).tobytes().hex())
"""
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == predictor(model)(images).tobytes().hex()


@pytest.mark.parametrize("model", nets.MODELS)
def test_what_is_left_of_every_model_is_quantized_as_the_whole_is(model: str, tmp_path: Path) -> None:
    source = nets.source(model)
    data = replace(source.dataset, train=Memory(*source.dataset.train.take(torch.arange(256).numpy())),
                   test=Memory(*source.dataset.test.take(torch.arange(50).numpy())))  # fmt: skip
    settings = iterate.settings(source.header, epochs=1, batch_size=64)
    prune(
        source.model, source.header, data, replace(HALF, steps=1), settings, tmp_path, measure=None, say=print,
        device="cpu",
    )  # fmt: skip
    network, header = checkpoint.load_model(tmp_path / WEIGHTS, model)
    assert 0.45 < cost.macs(network, header.arguments) / cost.macs(source.model, header.arguments) <= 0.5
    rewrites = passes.defaults(STATIC_W8A8)
    graph = ptq.calibrate(network, header.arguments, [data.train.take(torch.arange(128).numpy())[0]], rewrites)
    images = data.test.take(torch.arange(50).numpy())[0]
    same = predictor(graph)(images).argmax(1) == predictor(network)(images).argmax(1)
    assert same.mean() >= 0.9


@pytest.mark.parametrize("pruning", [HALF, replace(HALF, importance="taylor")], ids=lambda each: each.importance)
@pytest.mark.parametrize("step", [1, 2])
def test_a_run_stopped_in_any_step_and_resumed_ends_with_the_same_bits(
    step: int, pruning: Pruning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe(epochs=20)  # and 2 of the first step
    pruned(tmp_path / "whole", pruning, settings)
    folder = tmp_path / "parts"
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            pruned(folder, pruning, settings)
    if step == 2:
        from edgecnn.train.epoch import Trainer

        one_epoch, seen = Trainer.one_epoch, list[int]()

        def interrupted(self: Trainer, epoch: int, progress: Any) -> tuple[float, float]:
            seen.append(epoch)
            if seen == [1, 0, 1]:  # the rest of the first step, and half of the second
                raise KeyboardInterrupt
            return one_epoch(self, epoch, progress)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "one_epoch", interrupted)
            with pytest.raises(KeyboardInterrupt):
                pruned(folder, pruning, settings, resume=True)
        assert (folder / "step-2" / CHECKPOINT).exists()
    assert not (folder / WEIGHTS).exists()
    pruned(folder, pruning, settings, resume=True)
    assert small.same(small.tensors(folder), small.tensors(tmp_path / "whole"))


def test_a_finished_run_is_resumed_without_training(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = small.tensors(run)
    stop_after(0, monkeypatch)
    pruned(run, resume=True)
    assert small.same(small.tensors(run), before)


def test_a_plan_found_by_measuring_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = floats()[1].arguments
    whole = cost.macs(floats()[0], arguments)
    latency = replace(HALF, target=Target.parse("latency:0.8"))
    said: list[str] = []
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            pruned(
                tmp_path, latency, said=said, measure=lambda network: 0.5 + 0.5 * cost.macs(network, arguments) / whole
            )
    assert said[0].endswith("% of the latency")
    _, plan = pruned(tmp_path, latency, resume=True)
    assert plan == Plan.from_json(json.loads((tmp_path / PLAN).read_text()))
    share = cost.macs(checkpoint.load_model(tmp_path / WEIGHTS)[0], arguments) / whole
    assert 0.5 < share <= 0.6


def test_the_pruned_network_learns_from_the_unpruned_one(run: Path, tmp_path: Path) -> None:
    pruned(tmp_path, settings=recipe(distillation=0.0))
    assert not small.same(small.tensors(tmp_path), small.tensors(run))


def test_another_network_teaches_in_place_of_the_unpruned_one(run: Path, tmp_path: Path) -> None:
    own, other = floats(), floats("lenet")
    pruned(tmp_path / "own", teacher=own)
    header, _ = pruned(tmp_path / "other", teacher=other)
    assert small.same(small.tensors(tmp_path / "own"), small.tensors(run))
    assert not small.same(small.tensors(tmp_path / "other"), small.tensors(run))
    assert header.recipe["teacher"] == checkpoint.digest(other[0])
    assert header.teacher == other[1].origin
    assert "teacher" not in checkpoint.load(run / WEIGHTS)[0].recipe
    with pytest.raises(UsageError, match="its teacher is [0-9a-f]{64}, this run's is None"):
        pruned(tmp_path / "other", resume=True)


def test_pruned_weights_are_pruned_further(run: Path, tmp_path: Path) -> None:
    model, header = checkpoint.load_model(run / WEIGHTS)
    pruned(tmp_path, Pruning(Target.parse("macs:0.8"), steps=1), recipe(epochs=1), of=(model, header))
    again, narrow = checkpoint.load_model(tmp_path / WEIGHTS)
    assert cost.macs(again, header.arguments) <= 0.8 * cost.macs(model, header.arguments)
    assert header.widths.keys() <= narrow.widths.keys()


def test_images_are_augmented_and_labels_smoothed_as_before() -> None:
    settings = recipe(epochs=7)
    assert settings.augmentation == Augmentation(shift=1, flip=False, cutout=3)
    assert (settings.label_smoothing, settings.epochs) == (0.1, 7)
    nothing = replace(floats()[1], recipe={})
    assert not iterate.settings(nothing, mirrorable=False).augmentation.flip


def test_steps_are_trained_with_the_optimizer_of_the_weights_and_what_suits_it() -> None:
    header = floats()[1]
    for optimizer, rate in (("muon", 0.05), ("sgd", 0.1)):
        found = iterate.settings(replace(header, recipe={"optimizer": optimizer, "learning_rate": 0.007}))
        assert (found.optimizer, found.learning_rate) == (optimizer, rate)
    assert iterate.settings(replace(header, recipe={})).optimizer == "sgd"


def test_a_run_is_not_replaced_unless_told_to(run: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputExistsError):
        pruned(run)
    pruned(tmp_path, replace(HALF, steps=3), recipe(epochs=1))
    pruned(tmp_path, settings=recipe(), force=True)
    assert small.same(small.tensors(tmp_path), small.tensors(run))
    assert os.listdir(tmp_path / "step-3") == []


def test_a_run_that_is_still_going_is_left_alone(run: Path) -> None:
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for resume in (True, False):
        with RunFolder(run).claimed(), pytest.raises(UsageError, match="a training that is still running"):
            pruned(run, resume=resume, force=not resume)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == files


@pytest.mark.parametrize(
    ("pruning", "changes", "part"),
    [
        (replace(HALF, importance="l1"), {}, "its importance is l2, this run's is l1; use the same options, or"),
        (replace(HALF, steps=3), {}, "its steps is 2, this run's is 3; use the same options, or"),
        (replace(HALF, target=Target.parse("macs:0.4")), {}, "its target is macs:0.5, this run's is macs:0.4"),
        (HALF, {"epochs": 3}, "its epochs is 2, this run's is 3; use the same options, or"),
    ],
)
def test_another_run_is_not_resumed(run: Path, pruning: Pruning, changes: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageError) as caught:
        pruned(run, pruning, recipe(**changes), resume=True)
    assert part in str(caught.value)


def test_a_plan_of_nonsense_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="nothing to resume: .* does not exist; run without --resume"):
        pruned(tmp_path, resume=True)
    good = json.loads((run / PLAN).read_text())
    bad: list[tuple[Any, str]] = [
        ("{", "no plan that 'edgecnn prune' wrote"),
        ([], "no plan that 'edgecnn prune' wrote"),
        (good | {"steps": [{"fc1": "8"}]}, "no plan that 'edgecnn prune' wrote"),
        (good | {"steps": [{"fc1": 8}]}, "no plan for 'depthwise'"),
        (good | {"steps": [good["steps"][0] | {"fc1": 10**9}]}, "no plan for 'depthwise'"),
        (good | {"steps": good["steps"][:1]}, "has 1 steps, not 2"),
    ]
    for value, part in bad:
        (tmp_path / PLAN).write_text(value if isinstance(value, str) else json.dumps(value))
        with pytest.raises(BadFileError) as caught:
            pruned(tmp_path, resume=True)
        assert part in str(caught.value)


def test_images_that_the_weights_saw_are_not_held_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--validation 0.2 holds out images that these weights were trained on"):
        pruned(tmp_path, settings=recipe(validation=0.2))
    model, header = floats()
    apart = replace(header, recipe=header.recipe | {"validation": 0.2})
    done, _ = pruned(tmp_path, settings=recipe(validation=0.2, epochs=1), of=(model, apart))
    assert done.metrics["validation_images"] == 20
    assert "test_accuracy" not in done.metrics


def test_numbers_and_names_that_make_no_pruning_are_refused() -> None:
    with pytest.raises(UsageError, match="steps is 0, but must be 1 or more"):
        replace(HALF, steps=0)
    with pytest.raises(UnknownNameError, match="unknown importance 'l22'; did you mean 'l2'"):
        replace(HALF, importance="l22")


def test_a_run_is_not_replaced_by_one_that_cannot_be(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=r"target macs:0\.0001 cannot be met"):
        pruned(folder, replace(HALF, target=Target.parse("macs:0.0001")), force=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_run_is_not_replaced_by_one_that_is_refused_for_its_settings(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(EdgeCNNError, match="gpu"):
        pruned(folder, force=True, device="gpu")
    with pytest.raises(UsageError, match="batch of 512 is more than the"):
        pruned(folder, settings=recipe(batch_size=512), force=True)
    unseen = replace(small.dataset(), name="others")
    with pytest.raises(UsageError, match="validation 0.001 of 100 training images is not one image"):
        pruned(folder, settings=recipe(validation=0.001), force=True, data=unseen)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_run_on_other_images_is_not_resumed(run: Path) -> None:
    with pytest.raises(UsageError, match="its dataset is small, this run's is others"):
        pruned(run, resume=True, data=replace(small.dataset(), name="others"))
