"""CIFAR-10's files: read right, read in pieces, and refused when they are not what they should be."""

from __future__ import annotations

import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgecnn.data import cifar10
from edgecnn.data.dataset import DataSet
from edgecnn.data.location import data_root
from edgecnn.data.registry import load
from edgecnn.errors import BadFileError
from tests.data import factories

ROWS = (0, 7, 9_999)
REPOSITORY = Path(__file__).parents[2]
LAYOUTS = {"binary": factories.binary_layout, "python": factories.python_layout}
REAL = os.environ.get("EDGECNN_DATA") and cifar10.find(data_root())


@pytest.fixture
def root(tmp_path, monkeypatch) -> Iterator[Path]:
    """An empty data folder, removed at once because some tests fill tens of megabytes."""
    monkeypatch.setenv("EDGECNN_DATA", str(tmp_path))
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture(params=LAYOUTS)
def dataset(request, root) -> DataSet:
    LAYOUTS[request.param](root, ROWS)
    return load("cifar10")


def test_both_layouts_give_the_images_and_labels_in_the_order_asked_for(dataset):
    assert (len(dataset.train), len(dataset.test), dataset.image) == (50_000, 10_000, (32, 32, 3))
    assert dataset.classes[3] == "cat"
    asked = [(4, 9_999), (0, 7), (2, 0), (0, 7), (1, 9_999)]
    images, labels = dataset.train.take(np.array([file * 10_000 + row for file, row in asked]))
    np.testing.assert_array_equal(images, [factories.image(*place) for place in asked])
    assert labels.tolist() == [factories.label(*place) for place in asked]
    assert (images.dtype, labels.dtype, images.flags.c_contiguous) == (np.uint8, np.int64, True)
    images, labels = dataset.test.take(np.array([7]))
    np.testing.assert_array_equal(images[0], factories.image(5, 7))


@pytest.mark.parametrize("protocol", [3, 4])
def test_python_layout_written_by_todays_python(root, protocol):
    folder = factories.python_layout(root)
    (folder / "data_batch_1").write_bytes(factories.modern_batch(protocol))
    images, labels = load("cifar10").train.take(np.array([7]))
    np.testing.assert_array_equal(images[0], factories.image(0, 7))
    assert labels.tolist() == [factories.label(0, 7)]


@pytest.mark.parametrize("name", ["cifar10", "auto"])
@pytest.mark.parametrize("size", [0, 100, 30_729_999, 30_730_001])
def test_binary_file_of_the_wrong_size_is_named_with_both_sizes(root, size, name):
    folder = factories.binary_layout(root)
    os.truncate(folder / "data_batch_3.bin", size)
    with pytest.raises(BadFileError, match=f"data_batch_3.bin has {size:,} bytes instead of 30,730,000"):
        load(name)


def test_binary_label_above_nine_is_refused(root):
    folder = factories.binary_layout(root)
    with (folder / "test_batch.bin").open("r+b") as file:
        file.seek(5 * factories.RECORD)
        file.write(b"\x0a")
    with pytest.raises(BadFileError, match=r"test_batch.bin .* image 5 has the label 10"):
        load("cifar10")


@pytest.mark.parametrize(("layout", "file"), [("binary", "data_batch_5.bin"), ("python", "data_batch_5")])
def test_missing_file_is_named(root, layout, file):
    (LAYOUTS[layout](root) / file).unlink()
    with pytest.raises(BadFileError, match=f"{file} is missing"):
        load("cifar10")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_file_that_shrinks_while_in_use_is_an_error_and_not_a_crash(root, layout):
    folder = LAYOUTS[layout](root)
    train = load("cifar10").train
    os.truncate(next(folder.glob("data_batch_1*")), 5000)
    with pytest.raises(BadFileError, match=r"data_batch_1.* changed"):
        train.take(np.array([9_000]))


def test_truncated_python_file_is_named(root):
    folder = factories.python_layout(root)
    os.truncate(folder / "data_batch_2", 20_000_000)
    with pytest.raises(BadFileError, match="data_batch_2 has 20,000,000 bytes instead of"):
        load("cifar10")
    os.truncate(folder / "data_batch_2", 30_740_000)
    with pytest.raises(BadFileError, match="data_batch_2 is damaged"):
        load("cifar10")


def batch(labels: list[int] | None = None, size: int = 30_720_000, **head) -> bytes:
    content = factories.official_head([0] * 10_000 if labels is None else labels, size=size, **head)
    return content + bytes(size) + factories.official_tail()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: batch(shape=(9_999, 3072)), "uint8 array"),
        (lambda: batch(kind=b"i1"), "uint8 array"),
        (lambda: batch(size=30_719_999), "30,719,999 bytes instead of 30,720,000"),
        (lambda: batch([0] * 9_999), "labels are not a list of 10,000"),
        (lambda: batch([10] + [0] * 9_999), "image 0 has the label 10"),
        (lambda: batch().replace(b"_reconstruct", b"_reconstrucT"), "it names 'numpy.core.multiarray _reconstrucT'"),
        (lambda: batch().replace(b"cnumpy.core.multiarray\n_reconstruct", b"cnumpy\nndarray"), "not a numpy array"),
        (lambda: batch().replace(b"U\x06labels", b"U\x06lalels"), "labels"),
        (lambda: batch().replace(b"tb\x89T", b"tb\x88T"), "row-by-row"),
        (lambda: b"\x80\x02]q\x01." + bytes(30_750_000), "one dict"),
        (lambda: b"\x80\x02}}." + bytes(30_750_000), "one dict"),
        (lambda: b"\x80\x02}(K\x01e." + bytes(30_750_000), "AttributeError"),
        (lambda: b"\x80\x02e." + bytes(30_750_000), "IndexError"),
        (lambda: b"\x80\x02" + b"N" * 30_750_000, "tokens"),
        (lambda: bytes(31_000_000), "ValueError"),
        (lambda: factories.modern_batch(2), "not a"),
    ],
)
def test_python_file_that_holds_something_else_is_refused(root, content, reason):
    folder = factories.python_layout(root)
    (folder / "data_batch_1").write_bytes(content())
    with pytest.raises(BadFileError, match=f"data_batch_1 .*{reason}") as caught:
        load("cifar10")
    assert "\n" not in str(caught.value)


def test_nested_lists_that_would_explode_when_shown_or_compared_are_refused(root):
    """Each level holds the one below twice: 2**60 items for whoever walks them."""
    levels = b"".join(b"(h" + bytes([n]) + b"h" + bytes([n]) + b"tq" + bytes([n + 1]) for n in range(1, 60))
    as_key = b"\x80\x02}(]q\x01" + levels + b"K\x01u."
    folder = factories.python_layout(root)
    (folder / "data_batch_1").write_bytes(as_key + bytes(30_750_000))
    with pytest.raises(BadFileError, match="data_batch_1 is damaged"):
        load("cifar10")


class Payload:
    """Unpickling this runs a shell command."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"touch '{self.proof}'",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_code_in_a_python_file_is_never_run(root, protocol):
    proof = root / "it-ran"
    malicious = pickle.dumps({"data": Payload(proof), "labels": Payload(proof), "padding": b"a" * 30_800_000}, protocol)
    folder = factories.python_layout(root)
    (folder / "data_batch_1").write_bytes(malicious)
    with pytest.raises(BadFileError, match="data_batch_1 is damaged or not"):
        load("cifar10")
    assert not proof.exists()
    pickle.loads(malicious)
    assert proof.exists(), "the payload must be live, or this test shows nothing"


@pytest.mark.parametrize("after", [b"0", b""], ids=["dropped", "left"])
def test_code_hidden_in_an_otherwise_good_python_file_is_never_run(root, after):
    """The official tokens, and before them a call of os.system whose result is dropped, or left lying."""
    proof = root / "it-ran"
    command = f"touch '{proof}'".encode()
    call = b"cos\nsystem\nX" + struct.pack("<I", len(command)) + command + b"\x85R" + after
    content = batch()
    folder = factories.python_layout(root)
    (folder / "data_batch_1").write_bytes(content[:2] + call + content[2:])
    with pytest.raises(BadFileError, match=r"data_batch_1 .* it names 'os system'"):
        load("cifar10")
    assert not proof.exists()
    pickle.loads(content[:2] + call + content[2:], encoding="latin1")
    assert proof.exists(), "the payload must be live, or this test shows nothing"


STREAM = """
import sys
from pathlib import Path
from edgecnn.data.dataset import batches
from edgecnn.data.registry import load
import resource
train = load("cifar10").train
total = sum(int(images[0, 0, 0, 0]) + len(images) for images, _ in batches(train, 250, int(sys.argv[1])))
assert total == int(sys.argv[1]), total
status = Path("/proc/self/status")
peak = next((line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")), None)
print(peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_streaming_all_images_takes_no_more_memory_than_a_few(root, layout):
    LAYOUTS[layout](root)

    def peak(images: int) -> int:
        run = subprocess.run(
            [sys.executable, "-c", STREAM, str(images)], check=True, capture_output=True, text=True, cwd=REPOSITORY
        )
        return int(run.stdout)

    few, all_of_them = peak(1_000), peak(50_000)
    assert all_of_them - few < 100 * 1024, f"{few} KiB with 1,000 images, {all_of_them} KiB with 50,000"


@pytest.mark.skipif(not REAL, reason="EDGECNN_DATA has no CIFAR-10")
def test_the_real_thing():
    dataset = cifar10.load()
    train, test = dataset.train, dataset.test
    images, labels = train.take(np.arange(50_000))
    assert np.bincount(labels).tolist() == [5_000] * 10
    np.testing.assert_allclose(images.mean((0, 1, 2)) / 255, [0.4914, 0.4822, 0.4465], atol=1e-4)
    assert np.bincount(test.take(np.arange(10_000))[1]).tolist() == [1_000] * 10
