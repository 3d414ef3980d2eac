"""Names of data sets, and what 'auto' and 'cifar10' do when CIFAR-10 is out of reach."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.data import registry
from edgecnn.data.dataset import DataSet, Memory, everything
from edgecnn.data.location import data_root
from edgecnn.data.registry import load, names, register
from edgecnn.errors import EdgeCNNError, UnknownNameError, UsageError
from tests.data import factories


@pytest.fixture
def offline(tmp_path, monkeypatch) -> Path:
    """An empty data folder and a mirror that refuses."""
    monkeypatch.setenv("EDGECNN_DATA", str(tmp_path))
    monkeypatch.setenv("EDGECNN_CIFAR10_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path


def test_auto_falls_back_to_digits_and_says_so(offline):
    dataset = load("auto")
    assert dataset.name == "digits"
    assert dataset.note.startswith("CIFAR-10 is not here")
    assert "http://127.0.0.1:9/" in dataset.note
    assert "every figure is for digits" in dataset.note
    assert "\n" not in dataset.note
    np.testing.assert_array_equal(everything(dataset.test)[0], everything(load("digits").test)[0])
    assert list(offline.iterdir()) == []


def test_auto_is_cifar10_where_it_is(offline):
    factories.binary_layout(offline)
    dataset = load("auto")
    assert (dataset.name, dataset.note, len(dataset.train)) == ("cifar10", "", 50_000)


def test_cifar10_never_falls_back_and_says_where_it_looked(offline):
    with pytest.raises(EdgeCNNError) as caught:
        load("cifar10")
    message = str(caught.value)
    for part in ("http://127.0.0.1:9/", "cifar-10-batches-bin", "cifar-10-batches-py", str(offline), "EDGECNN_DATA"):
        assert part in message
    assert "\n" not in message


def test_unknown_name_names_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown data set 'cifar'; did you mean 'cifar10'"):
        load("cifar")


@pytest.mark.parametrize("name", ["cifar10", "digits"])
def test_an_image_size_that_the_data_set_lacks_is_refused(offline, name):
    factories.binary_layout(offline)
    assert load(name, image=(32, 32, 3)).image == (32, 32, 3)
    with pytest.raises(UsageError, match=f"'{name}' has images of 32x32x3, not 28x28x1"):
        load(name, image=(28, 28, 1))


@pytest.fixture
def colours(tmp_path):
    """A folder of images of two classes, named colours."""
    for split in ("train", "test"):
        for kind in ("blue", "red"):
            (tmp_path / "colours" / split / kind).mkdir(parents=True)
            Image.new("RGB", (8, 8), kind).save(tmp_path / "colours" / split / kind / "one.png")
    return tmp_path / "colours"


@pytest.mark.parametrize("name", [".", "inner/.."])
def test_the_folder_one_is_in_has_a_name(name, colours, monkeypatch):
    (colours / "inner").mkdir()
    monkeypatch.chdir(colours)
    assert Path(load(name).name).name == "colours"


@pytest.mark.parametrize("written", ["./colours", "./colours/", "colours"])
def test_a_folder_has_one_name_however_it_is_written(written, colours, monkeypatch):
    monkeypatch.chdir(colours.parent)
    assert load(written).name == "colours"


def test_a_users_own_data_set(monkeypatch):
    monkeypatch.setattr(registry, "_LOADERS", dict(registry._LOADERS))
    split = Memory(np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1]))

    @register("blobs")
    def blobs() -> DataSet:
        return DataSet("blobs", ("round", "square"), (8, 8, 1), split, split)

    assert names() == ["cifar10", "digits", "auto", "blobs"]
    assert load("blobs", image=(8, 8, 1)).classes == ("round", "square")
    with pytest.raises(UsageError, match="registered already"):
        register("digits")(blobs)


@pytest.mark.parametrize("name", ["digits", "auto", "cifar10"])
def test_where_there_are_no_files_none_are_skipped(name, offline):
    with pytest.raises(UsageError, match=f"--on-broken skip is for the images of a folder, not for '{name}'"):
        load(name, on_broken="skip")


def test_the_data_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("EDGECNN_DATA", "")
    assert data_root() == tmp_path / ".cache" / "edgecnn"
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert data_root() == Path("/caches/edgecnn")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert data_root() == tmp_path / "Library" / "Caches" / "edgecnn"
    monkeypatch.setenv("EDGECNN_DATA", "~/data")
    assert data_root() == tmp_path / "data"
