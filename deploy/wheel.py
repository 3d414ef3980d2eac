"""The light wheel: the running edgecnn packed as it is, without a build tool or network, in a checkout or installed.

The trained weights stay behind, since only the extra ``train`` can use them. Equal files give an equal wheel.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import os
import re
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import edgecnn
from edgecnn.errors import UsageError

EXTRAS = ("serve",)  # what a board may have besides the light install
LEFT_OUT = (".safetensors", ".pyc")
WHEEL = "Wheel-Version: 1.0\nGenerator: edgecnn\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
SCRIPTS = "[console_scripts]\nedgecnn = edgecnn.cli.main:entry\n"


def build_wheel(folder: Path) -> Path:
    """Write the wheel into a folder and return its path. Raises UsageError when nothing says what edgecnn requires."""
    version = edgecnn.__version__
    info = f"edgecnn-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {line}\n" for line in requirements())
    for extra in EXTRAS:
        lines = requirements(extra)
        requires += f"Provides-Extra: {extra}\n"
        requires += "".join(f"Requires-Dist: {_with(line, extra)}\n" for line in lines)
    metadata = f"Metadata-Version: 2.1\nName: edgecnn\nVersion: {version}\nRequires-Python: >=3.11\n{requires}"
    contents = dict(_package())
    contents |= {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": WHEEL.encode()}
    contents[f"{info}/entry_points.txt"] = SCRIPTS.encode()
    record = "".join(f"{name},{_digest(content)},{len(content)}\n" for name, content in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / f"edgecnn-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name)  # of 1980, so that the wheel does not change with the time
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return path


def requirements(extra: str | None = None) -> list[str]:
    """What the light install requires, or an ``extra`` besides it, each as in METADATA.

    Raises UsageError when nothing says so.
    """
    project = Path(edgecnn.__file__).parent.parent / "pyproject.toml"
    if project.is_file():  # a checkout; what is installed may be older
        declared = tomllib.loads(project.read_text("utf-8")).get("project", {})
        if declared.get("name") == "edgecnn":
            return list(declared["dependencies"] if extra is None else declared["optional-dependencies"][extra])
    try:
        known = importlib.metadata.requires("edgecnn") or []
    except importlib.metadata.PackageNotFoundError as error:
        raise UsageError(
            "this edgecnn is neither installed nor a checkout, so nothing says what it requires"
        ) from error
    if extra is None:
        return [line for line in known if "extra ==" not in line]
    ending = re.compile(rf"\s*(?:;|\band)\s*extra == ['\"]{extra}['\"]$")
    found = [ending.sub("", line) for line in known if ending.search(line)]
    if not found:
        raise UsageError(f"this edgecnn does not know what its extra '{extra}' requires; install it anew")
    return found


def _with(requirement: str, extra: str) -> str:
    """A requirement that only the extra brings."""
    what, _, condition = (part.strip() for part in requirement.partition(";"))
    condition = f"({condition})" if " or " in condition else condition
    both = [condition, f"extra == '{extra}'"] if condition else [f"extra == '{extra}'"]
    return f"{what}; {' and '.join(both)}"


def _package() -> Iterator[tuple[str, bytes]]:
    home = Path(edgecnn.__file__).parent
    for folder, subfolders, names in os.walk(home, followlinks=True):  # deploy is a link in a checkout
        subfolders[:] = sorted(name for name in subfolders if name != "__pycache__")
        for name in sorted(names):
            path = Path(folder, name)
            if not name.endswith(LEFT_OUT):
                yield f"edgecnn/{path.relative_to(home).as_posix()}", path.read_bytes()


def _digest(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return f"sha256={digest.decode().rstrip('=')}"
