"""Models from outside by name: what is found, what is called with what, and a line for every mistake."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from edgecnn import models
from edgecnn.errors import BadFileError, MissingExtraError, UnknownNameError, UsageError
from edgecnn.models import ModelArguments, Normalization
from edgecnn.models.normalization import normalization_of

FILE = """
from torch import nn
from helper import HIDDEN

class Net(nn.Sequential):
    def __init__(self, num_classes, in_channels=3, image_size=None):
        super().__init__(nn.Conv2d(in_channels, HIDDEN, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(HIDDEN, num_classes))
        self.image_size = image_size

def fixed():
    return Net(10)

def loose(**settings):
    return Net(**settings)

def greedy(num_classes, depth, width):
    return Net(num_classes)

def broken():
    raise KeyError("oops")

def number():
    return 3

def pair(num_classes):
    class Pair(nn.Module):
        def forward(self, x):
            return x, x
    return Pair()

ready = Net(10)
size = 7
"""
ARGUMENTS = ModelArguments(4, 2, (12, 10))


@pytest.fixture
def file(tmp_path):
    """A user's file with factories of all kinds; it imports a file beside it."""
    (tmp_path / "helper.py").write_text("HIDDEN = 5\n")
    path = tmp_path / "nets.py"
    path.write_text(FILE)
    yield path
    sys.modules.pop("helper", None)


def test_a_class_in_a_file_gets_what_it_takes(file):
    model = models.create(f"{file}:Net", ARGUMENTS)
    assert model.image_size == (12, 10)
    assert model(torch.zeros(3, 2, 12, 10)).shape == (3, 4)


def test_a_function_with_open_keywords_gets_the_classes(file):
    assert models.create(f"{file}:loose", ModelArguments(4))(torch.zeros(1, 3, 9, 9)).shape == (1, 4)


def test_what_a_factory_imports_only_when_it_is_called_is_found_beside_its_file(file):
    late = file.with_name("late.py")
    late.write_text("def net(num_classes):\n    from helper import HIDDEN\n    from nets import Net\n"
                    "    assert HIDDEN == 5\n    return Net(num_classes)\n")  # fmt: skip
    sys.modules.pop("nets", None)
    assert models.create(f"{late}:net", ModelArguments(4))(torch.zeros(1, 3, 9, 9)).shape == (1, 4)
    assert str(file.parent) not in sys.path
    sys.modules.pop("nets", None)


def test_a_module_of_the_current_folder_is_found(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    assert models.create("nets:fixed")(torch.zeros(1, 3, 9, 9)).shape == (1, 10)
    assert str(file.parent) not in sys.path
    monkeypatch.delitem(sys.modules, "nets")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Nett", "unknown factory in .*nets.py 'Nett'; did you mean 'Net'"),
        ("greedy", "cannot be called without depth, width, and only num_classes, .* are known"),
        ("broken", "the code of '.*nets.py:broken' failed: KeyError: 'oops'"),
        ("number", "'number' in .*nets.py gives a int, not a torch.nn.Module"),
        ("pair", "gives a tuple for images, not one tensor of logits"),
        ("ready", "'ready' in .*nets.py is a model, not a function that makes one"),
        ("size", "'size' in .*nets.py is a int; name a function or class"),
        ("fixed", r"gives \[2, 10\] for 2 images, but the data set has 4 classes"),
    ],
)
def test_each_factory_that_will_not_do_has_its_own_line(file, name, line):
    with pytest.raises(UsageError, match=line):
        models.create(f"{file}:{name}", ModelArguments(4))


def test_a_class_of_which_nobody_knows_what_it_takes_is_one_line():
    with pytest.raises(UsageError, match="the code of 'builtins:dict' failed: ValueError: no signature found"):
        models.create("builtins:dict", ARGUMENTS)


def test_images_that_the_model_cannot_take_are_named(file):
    with pytest.raises(UsageError, match="cannot take images of 2x2x2: .*[Kk]ernel size"):
        models.create(f"{file}:Net", ModelArguments(4, 2, (2, 2)))


@pytest.mark.parametrize(
    ("name", "error", "line"),
    [
        ("nowhere/nets.py:Net", BadFileError, "there is no file nowhere/nets.py"),
        ("no_such_module_here:Net", UsageError, "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("nets.py:", UsageError, "names only half"),
        (":Net", UsageError, "names only half"),
        ("torchvision:resnet81", UnknownNameError, "unknown torchvision model 'resnet81'; did you mean 'resnet18'"),
        ("timm:resnett18", UnknownNameError, r"did you mean 'resnet18'\? \(valid: resnet18, .* and [0-9]+ more\)"),
        ("torchvision:maskrcnn_resnet50_fpn", UnknownNameError, "unknown torchvision model"),
        ("resnet18", UnknownNameError, "torchvision:NAME"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_at_once(name, error, line):
    with pytest.raises(error, match=line):
        models.create(name)


def test_checking_a_name_runs_nothing(tmp_path):
    (tmp_path / "trap.py").write_text("raise SystemExit('ran')\n")
    models.check(f"{tmp_path / 'trap.py'}:make")


def test_torchvision_by_name_with_its_normalization():
    name = "torchvision:squeezenet1_1"
    assert models.default_normalization(name, 3) == Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    model = models.create(name, ModelArguments(7, 3, (40, 40)), models.default_normalization(name, 3))
    assert normalization_of(model) is not None
    assert model.eval()(torch.zeros(1, 3, 40, 40)).shape == (1, 7)
    with pytest.raises(UsageError, match="takes images of 3 channels, not 1"):
        models.create(name, ModelArguments(7, 1, (40, 40)))


def test_timm_by_name_with_other_channels():
    name = "timm:mobilenetv3_small_050"
    model = models.create(name, ModelArguments(3, 1, (32, 32)))
    assert model.eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 3)
    grey = models.default_normalization(name, 1)
    assert grey is not None and grey.mean == pytest.approx((0.449,))
    with pytest.raises(UnknownNameError, match="mobilenetv3_small_050"):
        models.create("timm:mobilenetv3_smal_050")


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr("edgecnn.models.own._known", models.own._known.__wrapped__)
    with pytest.raises(MissingExtraError, match=r"needs the package 'timm'.*edgecnn\[timm\]"):
        models.check("timm:resnet10t")


def test_names_for_files():
    assert models.short_name("torchvision:resnet18") == "resnet18"
    assert models.short_name("timm:resnet18.a1_in1k") == "resnet18.a1_in1k"
    assert models.short_name("some where/nets.py:Net") == "nets_Net"
    assert models.short_name("my.nets:make") == "nets_make"
    assert models.short_name("lenet") == "lenet"


def test_which_models_are_code():
    assert models.runs_code("nets.py:Net") and models.runs_code("my.nets:Net")
    assert not models.runs_code("torchvision:resnet18") and not models.runs_code("lenet")
    assert models.is_own("timm:x") and not models.is_own("lenet")


def test_a_model_is_left_in_the_mode_its_factory_gave_it(file):
    assert models.create(f"{file}:Net", ARGUMENTS).training
    assert isinstance(models.create(f"{file}:Net", ARGUMENTS), nn.Sequential)
