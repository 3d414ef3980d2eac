"""manifest.json: written, read back, and refused when something in it is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import edgecnn.runtime
from edgecnn.errors import BadFileError, UsageError
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.manifest import Accuracy, Image, Manifest, Qat
from tests import tiny_artifacts

SCHEMA = json.loads(Path(edgecnn.runtime.__file__).with_name("manifest.schema.json").read_text())


QAT = {"epochs": 5, "learning_rate": 0.01, "batch_size": 256, "seed": 0, "float_weights": 64 * "a"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_artifacts.bundle(tmp_path / "b")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Change the manifest's document in place and write it back."""
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return document


def set_field(*where: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: Any) -> None:
        for step in where[:-1]:
            document = document[step]
        document[where[-1]] = value

    return change


def test_what_is_written_is_read_back_and_fits_the_schema(folder: Path) -> None:
    manifest = Manifest.load(folder)
    assert manifest == tiny_artifacts.manifest(folder, 50)
    document = json.loads((folder / "manifest.json").read_text())
    assert next(iter(document)) == "schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(document, SCHEMA)


def test_optional_parts_survive_too(folder: Path) -> None:
    document = rewrite(
        folder,
        lambda document: (
            set_field("calibration", value={"images": 512, "seed": 0, "split": "train"})(document),
            set_field("qat", value=QAT)(document),
            set_field("artifacts", 0, "accuracy", value={"correct": 7, "images": 9})(document),
            set_field("artifacts", 0, "gate", value={"agreement": 0.99, "passed": True, "by": "x"})(document),
            set_field("artifacts", 0, "engine", value="qnnpack")(document),
            set_field("artifacts", 1, "float_layers", value=["conv1", "fc"])(document),
        ),
    )
    jsonschema.validate(document, SCHEMA)
    manifest = Manifest.load(folder)
    assert manifest.calibration is not None
    assert manifest.qat == Qat(5, 0.01, 256, 0, 64 * "a")
    assert manifest.artifacts[0].accuracy == Accuracy(7, 9)
    assert manifest.artifacts[1].float_layers == ("conv1", "fc")
    assert manifest.artifacts[0].gate == {"agreement": 0.99, "passed": True, "by": "x"}
    manifest.save(folder)
    assert Manifest.load(folder) == manifest


def test_a_bundle_may_lack_a_sample(folder: Path) -> None:
    document = rewrite(
        folder,
        lambda document: (
            set_field("sample", value=None)(document),
            set_field("calibration", value={"images": 128, "seed": 0, "split": "synthetic"})(document),
        ),
    )
    jsonschema.validate(document, SCHEMA)
    assert Manifest.load(folder).sample is None
    with pytest.raises(UsageError, match="was made without a data set and holds no test images"):
        open_bundle(folder).sample()


def before_mirrored(document: dict[str, Any]) -> None:
    document["schema"] = 3
    del document["mirrored"]


def before_float_layers(document: dict[str, Any]) -> None:
    before_mirrored(document)
    document["schema"] = 2
    del document["made_for"]
    for artifact in document["artifacts"]:
        del artifact["float_layers"]


def test_a_bundle_from_before_qat_is_read(folder: Path) -> None:
    rewrite(folder, before_float_layers)
    rewrite(folder, lambda document: (document.pop("qat"), document.update(schema=1)))
    assert Manifest.load(folder) == tiny_artifacts.manifest(folder, 50)
    rewrite(folder, lambda document: document.update(qat=QAT))
    with pytest.raises(BadFileError, match="(made_for|mirrored) is missing"):
        Manifest.load(folder)


def test_a_bundle_from_before_float_layers_is_read(folder: Path) -> None:
    rewrite(folder, before_float_layers)
    rewrite(folder, lambda document: document.update(qat=QAT))
    found = Manifest.load(folder)
    assert found.qat == Qat(5, 0.01, 256, 0, 64 * "a")
    assert [artifact.float_layers for artifact in found.artifacts] == [(), ()]
    rewrite(folder, lambda document: document.pop("qat"))
    with pytest.raises(BadFileError, match="qat is missing"):
        Manifest.load(folder)


def test_a_bundle_from_before_mirrored_is_not_mirrored(folder: Path) -> None:
    rewrite(folder, lambda document: document.update(mirrored=True))
    assert Manifest.load(folder).mirrored
    rewrite(folder, before_mirrored)
    assert Manifest.load(folder) == tiny_artifacts.manifest(folder, 50)
    rewrite(folder, lambda document: document.update(mirrored=True))
    with pytest.raises(BadFileError, match="schema is 3, but this edgecnn knows schema 4"):
        Manifest.load(folder)


def test_an_earlier_schema_with_a_later_field_is_refused(folder: Path) -> None:
    rewrite(folder, lambda document: document.update(schema=2))
    with pytest.raises(BadFileError, match="schema is 2, but this edgecnn knows schema 4"):
        Manifest.load(folder)


def test_input_spec_joins_image_and_tensor(folder: Path) -> None:
    manifest = Manifest.load(folder)
    spec = manifest.input_spec(manifest.artifacts[1])
    assert (spec.image, spec.dtype, spec.scale, spec.offset) == ((4, 4, 3), "int8", 1 / 64, 128)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("artifacts[0].file", set_field("artifacts", 0, "file", value=7)),
        ("artifacts[0]: file is '../x.tflite'", set_field("artifacts", 0, "file", value="../x.tflite")),
        ("artifacts[0]: file is '/etc/passwd'", set_field("artifacts", 0, "file", value="/etc/passwd")),
        ("artifacts[0]: file is 'a\\\\b'", set_field("artifacts", 0, "file", value="a\\b")),
        ("artifacts[0]: file is '..'", set_field("artifacts", 0, "file", value="..")),
        ("artifacts[0]: file is 'manifest.json'", set_field("artifacts", 0, "file", value="manifest.json")),
        ("artifacts[0]: bytes", set_field("artifacts", 0, "bytes", value=10**15)),
        ("artifacts[0]: sha256", set_field("artifacts", 0, "sha256", value="00")),
        ("artifacts[0]: format", set_field("artifacts", 0, "format", value="pickle")),
        ("artifacts[1].input: scale", set_field("artifacts", 1, "input", "scale", value=-1)),
        ("artifacts[1].input: layout", set_field("artifacts", 1, "input", "layout", value="CHW")),
        ("artifacts[1].output: dtype", set_field("artifacts", 1, "output", "dtype", value="object")),
        ("artifacts[0].gate.agreement", set_field("artifacts", 0, "gate", value={"agreement": []})),
        ("artifacts[0].bytes", set_field("artifacts", 0, "bytes", value=True)),
        ("files[0]: file", set_field("files", 0, "file", value="sub/labels.txt")),
        ("input: height", set_field("input", "height", value=10**9)),
        ("input: channels", set_field("input", "channels", value=1)),
        ("input: offset", set_field("input", "divisor", value=0)),
        ("dataset: classes", set_field("dataset", "classes", value=0)),
        ("model.parameters", set_field("model", "parameters", value=1.5)),
        ("sample: images", set_field("sample", "images", value=0)),
        ("labels", set_field("labels", value="other.txt")),
        ("recipe", set_field("recipe", value="dynamic_w8")),
        ("created", set_field("created", value="yesterday")),
        ("created", set_field("created", value="2026-01-31T12:00:00+05:00")),
        ("tools.numpy", set_field("tools", "numpy", value=2)),
        ("passes[0]", set_field("passes", value=[None])),
        ("passes must be a list", set_field("passes", value="flatten_fold")),
        ("artifacts[0] must be an object", set_field("artifacts", 0, value="x.tflite")),
        ("calibration: split is 'noise'", set_field("calibration", value={"images": 1, "seed": 0, "split": "noise"})),
        ("calibration: images is 0", set_field("calibration", value={"images": 0, "seed": 0, "split": "train"})),
        ("calibration.seed is missing", set_field("calibration", value={"images": 1, "split": "train"})),
        ("surprise is not a known field", set_field("surprise", value=1)),
        ("mirrored must be true or false", set_field("mirrored", value=1)),
        ("schema is 5", set_field("schema", value=5)),
        ("artifacts[0].float_layers must be a list", set_field("artifacts", 0, "float_layers", value="conv1")),
        ("artifacts[0].float_layers[0]", set_field("artifacts", 0, "float_layers", value=[7])),
        ("artifacts[0]: float_layers has an empty", set_field("artifacts", 0, "float_layers", value=[""])),
        ("qat: epochs is 0", set_field("qat", value=QAT | {"epochs": 0})),
        ("qat: learning_rate is 0", set_field("qat", value=QAT | {"learning_rate": 0})),
        ("qat: float_weights must be 64", set_field("qat", value=QAT | {"float_weights": "abc"})),
        ("qat.seed must be a whole number", set_field("qat", value=QAT | {"seed": "0"})),
        ("qat.batch_size is missing", set_field("qat", value={k: v for k, v in QAT.items() if k != "batch_size"})),
        ("schema is 0", set_field("schema", value=0)),
    ],
)
def test_a_bad_field_is_named(folder: Path, field: str, change: Callable[[Any], None]) -> None:
    rewrite(folder, change)
    with pytest.raises(BadFileError) as caught:
        Manifest.load(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'manifest.json'}: ")
    assert field in message
    assert "\n" not in message
    assert len(message) < 400 + len(str(folder))


@pytest.mark.parametrize("field", sorted(SCHEMA["required"]))
def test_every_field_is_required(folder: Path, field: str) -> None:
    document = rewrite(folder, lambda document: document.pop(field))
    with pytest.raises(BadFileError, match=f"{field} is missing"):
        Manifest.load(folder)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        set_field("artifacts", 0, "file", value="../x.tflite"),
        set_field("artifacts", 0, "file", value="manifest.json"),
        set_field("artifacts", 1, "input", "dtype", value="int4"),
        set_field("artifacts", 0, "sha256", value="00"),
        set_field("input", "height", value=0),
        set_field("calibration", value={"images": 1}),
        set_field("calibration", value={"images": 1, "seed": 0, "split": "noise"}),
        set_field("sample", value={"file": "sample.npz"}),
        set_field("qat", value=QAT | {"learning_rate": 0}),
        set_field("qat", value={"epochs": 1}),
        set_field("created", value="yesterday"),
        set_field("surprise", value=1),
    ],
)
def test_schema_refuses_what_the_loader_refuses(folder: Path, change: Callable[[Any], None]) -> None:
    document = rewrite(folder, change)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)
    with pytest.raises(BadFileError):
        Manifest.load(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not valid JSON"),
        (b'{"schema": 1', "not valid JSON"),
        (b"\xff\xfe\xfa", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b"[]", "must be an object"),
        (b'{"schema": NaN}', "is missing"),
        (b" " * (1 << 20) + b"{}", "larger than"),
    ],
    ids=["empty", "cut", "not text", "deep", "list", "nan", "huge"],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(BadFileError, match=reason):
        Manifest.load(tmp_path)


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=r"has no manifest\.json; give the folder of a bundle"):
        Manifest.load(tmp_path)
    with pytest.raises(BadFileError, match="nothing is not there; give the folder of a bundle"):
        Manifest.load(tmp_path / "nothing")
    (tmp_path / "file").touch()
    with pytest.raises(BadFileError, match="file is no folder; give the folder of a bundle"):
        Manifest.load(tmp_path / "file")


def test_numbers_that_are_not_finite_are_refused(folder: Path) -> None:
    rewrite(folder, set_field("artifacts", 1, "input", "scale", value=float("nan")))
    with pytest.raises(BadFileError, match=r"artifacts\[1\]\.input\.scale must be a finite number"):
        Manifest.load(folder)
    rewrite(folder, set_field("artifacts", 1, "input", "scale", value=10**400))
    with pytest.raises(BadFileError, match=r"artifacts\[1\]\.input\.scale must be a finite number"):
        Manifest.load(folder)


def test_built_in_python_the_same_rules_hold() -> None:
    with pytest.raises(UsageError, match="correct is 5 of 4"):
        Accuracy(5, 4)
    with pytest.raises(UsageError, match="color"):
        Image(32, 32, 3, "BGR")
