"""Architectures: exact sizes, other shapes of data, and models of other packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from edgecnn import models
from edgecnn.cli.main import main
from edgecnn.errors import UnknownNameError, UsageError
from edgecnn.models import ModelArguments, cost, registry

PARAMETERS = {
    "lenet": 62_006, "mod_cnn": 127_858, "depthwise": 109_196, "depth_res": 235_868, "resnet8": 78_186,
    "edge_s": 74_370, "edge_m": 179_506, "edge_l": 273_938,
}  # fmt: skip
MACS = {
    "lenet": 651_720, "mod_cnn": 1_686_056, "depthwise": 326_688, "depth_res": 3_025_576, "resnet8": 12_501_632,
    "edge_s": 8_761_824, "edge_m": 53_879_424, "edge_l": 84_296_400,
}  # fmt: skip


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, registry.Factory]:
    """The registry, put back as it was at the end."""
    registry.names()
    factories = dict(registry._FACTORIES)
    monkeypatch.setattr(registry, "_FACTORIES", factories)
    return factories


def test_our_models_come_first_in_the_order_of_the_readme() -> None:
    assert models.names()[: len(PARAMETERS)] == list(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_size_and_work_are_exactly_as_designed(name: str) -> None:
    model = models.create(name)
    assert cost.parameters(model) == PARAMETERS[name]
    assert cost.macs(model, ModelArguments()) == MACS[name]
    assert model.training, "left as it was"
    assert not any(module._forward_hooks for module in model.modules())


def test_macs_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, stride=2, groups=3), nn.Flatten(2), nn.Linear(16, 5),
        nn.Flatten(), nn.Linear(30, 2),
    )  # fmt: skip
    expected = 6 * 4 * 4 * (3 * 3) + 6 * 5 * 16 + 2 * 30
    assert cost.macs(model, ModelArguments(2, 3, (8, 8))) == expected
    with pytest.raises(RuntimeError):
        cost.macs(model, ModelArguments(2, 3, (9, 9)))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("shape", [(10, 3, (32, 32)), (3, 1, (40, 28)), (100, 4, (64, 96))], ids=str)
def test_classes_channels_and_image_size_are_arguments(name: str, shape: tuple[int, int, tuple[int, int]]) -> None:
    arguments = ModelArguments(*shape)
    model = models.create(name, arguments).eval()
    logits = model(torch.zeros(2, arguments.in_channels, *arguments.image_size))
    assert (logits.shape, logits.dtype) == ((2, arguments.num_classes), torch.float32)
    assert ModelArguments.from_json(arguments.to_json()) == arguments


@pytest.mark.parametrize("name", ["lenet", "mod_cnn", "depthwise", "depth_res"])
def test_an_image_that_is_too_small_is_one_line(name: str) -> None:
    with pytest.raises(UsageError, match=f"model '{name}' cannot take images of 3x2: [^\n]+$"):
        models.create(name, ModelArguments(10, 3, (3, 2)))


@pytest.mark.parametrize("arguments", [(1, 3, (32, 32)), (10, 0, (32, 32)), (10, 3, (0, 32))])
def test_arguments_that_describe_no_model(arguments: tuple[int, int, tuple[int, int]]) -> None:
    with pytest.raises(UsageError, match="at least 2 classes, 1 channel and 1x1 pixels"):
        ModelArguments(*arguments)


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown model 'depthwize'; did you mean 'depthwise'"):
        models.create("depthwize")


def test_the_teacher_is_known_and_not_listed_among_the_models_for_devices() -> None:
    assert "teacher" not in models.names()
    models.check("teacher")
    net = models.create("teacher", ModelArguments(7, 1, (16, 24)))
    assert net(torch.zeros(2, 1, 16, 24)).shape == (2, 7)
    assert cost.parameters(models.create("teacher")) > 1_000_000


def test_a_decorator_registers_a_model(known: dict[str, registry.Factory]) -> None:
    @models.register("flat")
    def flat(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
        height, width = image_size
        return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * height * width, num_classes))

    assert models.names() == [*PARAMETERS, "flat"]
    assert cost.parameters(models.create("flat", ModelArguments(4, 1, (5, 6)))) == 4 * 30 + 4
    models.register("flat")(flat)  # the same again, as a module that is imported twice does
    with pytest.raises(UsageError, match="a model named 'lenet' is registered already; choose another name"):
        models.register("lenet")(flat)


def package(folder: Path, module: str) -> None:
    """An installed package 'flat-nets', whose entry point names ``module``."""
    info = folder / "flat_nets-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flat-nets\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[edgecnn.models]\nflat = {module}\n")
    (folder / "flat_nets.py").write_text(
        "from torch import nn\n"
        "from edgecnn.models import register\n"
        "@register('flat')\n"
        "def flat(num_classes, in_channels, image_size):\n"
        "    height, width = image_size\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * height * width, num_classes))\n"
    )


@pytest.mark.usefixtures("known")
def test_an_installed_package_adds_models_to_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package(tmp_path, "flat_nets")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert models.names() == [*PARAMETERS, "flat"]
    words = ["--model", "flat", "--data", "digits", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main(["train", *words]) == 0
    assert "accuracy" in capsys.readouterr().out
    monkeypatch.delitem(sys.modules, "flat_nets")


@pytest.mark.parametrize("module", ["no_such_module", "flat_nets:no_such_name"])
@pytest.mark.usefixtures("known")
def test_a_broken_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    package(tmp_path, module)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        UsageError, match=r"the models of package 'flat-nets' cannot be loaded \(.*\); mend or uninstall"
    ):
        models.names()
    sys.modules.pop("flat_nets", None)


def test_a_registered_model_must_fit_the_classes_and_its_code_may_raise_anything(
    known: dict[str, registry.Factory], capsys: pytest.CaptureFixture[str]
) -> None:
    @models.register("wide")
    def wide(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size[0] * image_size[1], 12))

    @models.register("choosy")
    def choosy(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
        assert image_size == (28, 28), "28x28 only"
        return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 28 * 28, num_classes))

    with pytest.raises(UsageError, match=r"model 'wide' gives \[2, 12\] for 2 images, but the data set has 10 classes"):
        models.create("wide")
    with pytest.raises(UsageError, match="the code of model 'choosy' failed: AssertionError: 28x28 only"):
        models.create("choosy")
    assert models.create("choosy", ModelArguments(10, 1, (28, 28))) is not None
    assert main(["models"]) == 0
    assert "choosy: not measured (the code of model 'choosy' failed" in capsys.readouterr().err
