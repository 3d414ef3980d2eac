"""The walls of the house: device-safe rooms need nothing heavy, and a room imports only what stands above it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import edgecnn
from tests import tiny_artifacts

PACKAGE = Path(edgecnn.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted([*PACKAGE.rglob("*.py"), *(PACKAGE / "deploy").rglob("*.py")])  # deploy is a link

# Who may import whom. A room is the longest dotted name listed here that a module lies in.
DEVICE = {"errors", "runtime", "measure"}
HOUSE = {
    "errors": set(),
    "runtime": {"errors"},
    "measure": {"errors", "runtime"},
    "deploy": DEVICE,
    "watch": {"errors", "runtime"},
    "data": DEVICE,
    "models": DEVICE,
    "quantize.recipe": DEVICE,
    "checkpoint": DEVICE | {"data", "models", "quantize.recipe"},
    "evaluate": DEVICE | {"data", "models", "quantize.recipe", "checkpoint"},
    "train": DEVICE | {"data", "models", "quantize.recipe", "checkpoint", "evaluate"},
}
HOUSE["quantize"] = HOUSE["train"] | {"train"}
HOUSE["prune"] = HOUSE["train"] | {"train"}
HOUSE["export"] = HOUSE["quantize"] | {"quantize"}
HOUSE["search"] = HOUSE["export"] | {"export", "prune"}
HOUSE["report"] = {"errors", "measure"}
HOUSE["serve"] = {"errors", "runtime"}
HOUSE["cli"] = HOUSE["export"] | {"deploy", "export", "prune", "report", "search", "serve", "watch"}
HOUSE["__main__"] = {"cli"}
HOUSE["__init__"] = set()

# What a board has: the standard library and the light install. Everything that follows is absent there.
BLOCKED = """
import sys
blocked = {
    "torch", "torchvision", "torchao", "torch_pruning", "tensorflow", "keras", "jax", "jaxlib", "litert_torch",
    "ai_edge_quantizer", "litert_converter", "onnx", "onnxscript", "onnxruntime", "onnx_ir", "openvino", "executorch",
    "safetensors", "sklearn", "scipy", "matplotlib", "timm", "transformers", "pytest", "jsonschema", "cv2",
    "optuna", "sqlalchemy", "picamera2", "uvicorn", "h11", "python_multipart",
}
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Wall())
"""
WALK = """
import importlib, pkgutil
import edgecnn.errors, edgecnn.runtime, edgecnn.measure, edgecnn.deploy, edgecnn.watch
for room in (edgecnn.runtime, edgecnn.measure, edgecnn.deploy, edgecnn.watch):
    for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        importlib.import_module(module.name)
        print(module.name)
"""


SERVE = """
blocked -= {"uvicorn", "h11", "python_multipart"}
import importlib, pkgutil
import edgecnn.serve
for module in pkgutil.walk_packages(edgecnn.serve.__path__, "edgecnn.serve."):
    importlib.import_module(module.name)
    print(module.name)
"""


def dotted(file: Path) -> str:
    """``edgecnn/runtime/files.py`` -> ``runtime.files``; a package's ``__init__`` has the package's name."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room(module: str) -> str:
    """The room that a dotted name below ``edgecnn`` lies in; '' for one that is not in the house."""
    inside = [name for name in HOUSE if module == name or module.startswith(name + ".")]
    return max(inside, key=len, default="")


def imported(file: Path) -> set[str]:
    """Dotted names below ``edgecnn`` that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("edgecnn.") for name in names if name.startswith("edgecnn.")} - {"__version__"}


def test_device_safe_rooms_import_where_nothing_heavy_is_installed():
    run = subprocess.run([sys.executable, "-c", BLOCKED + WALK], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    rooms = ("runtime.", "measure.", "deploy.", "watch.")
    expected = {"edgecnn." + dotted(file) for file in FILES if dotted(file).startswith(rooms)}
    assert set(run.stdout.split()) == expected


def test_the_command_line_starts_where_nothing_heavy_is_installed():
    start = "from edgecnn.cli.main import main\nsys.exit(main(['--help']))"
    run = subprocess.run([sys.executable, "-c", BLOCKED + start], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_bundle_is_benched_where_nothing_heavy_is_installed(tmp_path):
    folder = tiny_artifacts.bundle(tmp_path / "b")
    child = [sys.executable, "-c", BLOCKED + "from edgecnn.measure.child import main\nmain()"]
    start = f"""
from edgecnn.measure import worker
worker.command = lambda: {child!r}
from edgecnn.cli.main import main
sys.exit(main(["bench", {str(folder)!r}, "--runs", "1", "--min-seconds", "0.01"]))
"""
    run = subprocess.run([sys.executable, "-c", BLOCKED + start], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "static_w8a8" in run.stdout


def test_a_bundle_is_debugged_where_nothing_heavy_is_installed(tmp_path):
    folder = tiny_artifacts.bundle(tmp_path / "b")
    start = f"from edgecnn.cli.main import main\nsys.exit(main(['debug', {str(folder)!r}]))"
    run = subprocess.run([sys.executable, "-c", BLOCKED + start], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "fully_connected at 1" in run.stdout


def test_images_are_classified_where_nothing_heavy_is_installed(tmp_path):
    folder = tiny_artifacts.bundle(tmp_path / "b")
    Image.new("RGB", (9, 9)).save(tmp_path / "x.jpg")
    start = f"""
before = set(sys.modules)  # some are put there at Python's start
from edgecnn.cli.main import main
assert main(['classify', {str(folder)!r}, {str(tmp_path)!r}]) == 0
files = {{name.partition(".")[0]: getattr(module, "__file__", None) for name, module in sys.modules.items()}}
print(*sorted(name for name, file in files.items() if "-packages" in str(file) and name not in before))
"""
    run = subprocess.run([sys.executable, "-c", BLOCKED + start], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    answer, installed = run.stdout.splitlines()
    assert answer.startswith(f"{tmp_path / 'x.jpg'}  ")
    assert set(installed.split()) <= {"PIL", "ai_edge_litert", "click", "edgecnn", "numpy", "tflite_runtime"}


def test_the_server_needs_its_extra_and_nothing_heavy():
    run = subprocess.run([sys.executable, "-c", BLOCKED + SERVE], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert set(run.stdout.split()) == {"edgecnn." + dotted(file) for file in FILES if dotted(file).startswith("serve.")}


@pytest.mark.parametrize(
    ("half", "other"), [("server", {"numpy", "PIL", "ai_edge_litert"}), ("child", {"uvicorn", "h11", "asyncio", "ssl"})]
)
def test_each_half_of_the_server_imports_only_what_it_needs(half, other):
    start = f"import sys, edgecnn.serve.{half}\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", start], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert not other & set(run.stdout.split())


@pytest.mark.parametrize("file", FILES, ids=dotted)
def test_a_room_imports_only_what_stands_above_it(file):
    home = room(dotted(file))
    assert home, f"{file} is in no room of the house: add it to the table"
    wrong = {name for name in imported(file) if room(name) not in HOUSE[home] | {home}}
    assert not wrong, f"{home} may import only {sorted(HOUSE[home])}"


@pytest.mark.parametrize("file", FILES, ids=dotted)
def test_public_names_have_docstrings(file):
    tree = ast.parse(file.read_text("utf-8"))
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [node for node in tree.body if isinstance(node, definitions) and not node.name.startswith("_")]
    bare = [node.name for node in public if not ast.get_docstring(node)]
    assert not bare
    assert ast.get_docstring(tree) or not tree.body, "the module says nothing about itself"
