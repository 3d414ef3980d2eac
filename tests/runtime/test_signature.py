"""Signed bundles: what was signed passes, and nothing else does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from PIL import Image

from edgecnn.cli.main import main
from edgecnn.errors import BadFileError, MissingExtraError
from edgecnn.runtime import bundle
from edgecnn.runtime.signature import check_signature, require_signature, signer
from tests import tiny_artifacts
from tests.tiny_artifacts import INT8_FILE

PEM = serialization.Encoding.PEM


def write_keys(folder: Path, name: str, private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / f"{name}.pem").write_bytes(private.private_bytes(PEM, kind, plain))
    public = private.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pub").write_bytes(public)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with the keys of ann and bob, and of carl, which are of another kind."""
    for name in ("ann", "bob"):
        write_keys(tmp_path, name, ed25519.Ed25519PrivateKey.generate())
    write_keys(tmp_path, "carl", ec.generate_private_key(ec.SECP256R1()))
    return tmp_path


@pytest.fixture
def signed(keys: Path) -> Path:
    """A bundle signed by ann."""
    folder = tiny_artifacts.bundle(keys / "b")
    signer(keys / "ann.pem")(folder)
    return folder


def test_a_signed_bundle_passes_as_a_folder_and_as_a_file_in_it(signed: Path, keys: Path) -> None:
    assert (signed / "manifest.sig").stat().st_size == 64
    for path in (signed, signed / INT8_FILE):
        require_signature(path, keys / "ann.pub")
    require_signature(signed, None)


def test_another_key_or_another_manifest_is_refused(signed: Path, keys: Path) -> None:
    with pytest.raises(BadFileError, match=r"b is not signed by .*bob\.pub"):
        require_signature(signed, keys / "bob.pub")
    manifest = signed / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(BadFileError, match=r"b is not signed by .*ann\.pub"):
        require_signature(signed, keys / "ann.pub")


def test_the_manifest_that_was_checked_is_the_one_that_is_used(signed: Path, keys: Path, monkeypatch) -> None:
    manifest = signed / "manifest.json"
    checked = []

    def check_and_swap(folder: Path, content: bytes, key: Path) -> None:
        check_signature(folder, content, key)
        checked.append(manifest.read_text())
        manifest.write_text(checked[0].replace('"tiny"', '"evil"'))

    monkeypatch.setattr(bundle, "check_signature", check_and_swap)
    assert bundle.open_bundle(signed, keys / "ann.pub").manifest.model.name == "tiny"
    assert bundle.open_bundle(signed).manifest.model.name == "evil"
    with pytest.raises(BadFileError, match="is not signed by"):
        bundle.open_bundle(signed, keys / "ann.pub")


def test_a_bundle_without_a_signature_is_refused(keys: Path) -> None:
    folder = tiny_artifacts.bundle(keys / "b")
    with pytest.raises(BadFileError, match=r"there is no file .*manifest\.sig; .* made with --sign"):
        require_signature(folder, keys / "ann.pub")


@pytest.mark.parametrize("name", ["carl.pub", "ann.pem", "b/labels.txt"])
def test_what_is_no_public_key_is_refused(signed: Path, keys: Path, name: str) -> None:
    with pytest.raises(BadFileError, match=r"holds no public Ed25519 key in PEM .*openssl genpkey"):
        require_signature(signed, keys / name)


@pytest.mark.parametrize("name", ["carl.pem", "ann.pub", "secret.pem"])
def test_what_is_no_private_key_is_refused(keys: Path, name: str) -> None:
    locked = serialization.BestAvailableEncryption(b"word")
    content = ed25519.Ed25519PrivateKey.generate().private_bytes(PEM, serialization.PrivateFormat.PKCS8, locked)
    (keys / "secret.pem").write_bytes(content)
    with pytest.raises(BadFileError, match="holds no private Ed25519 key in PEM without a password"):
        signer(keys / name)


def test_without_the_extra_the_command_that_mends_it_is_named(signed: Path, keys: Path, monkeypatch) -> None:
    for module in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"--require-signature needs .*pip install 'edgecnn\[sign\]'"):
        require_signature(signed, keys / "ann.pub")


@pytest.mark.parametrize("verb", ["classify", "bench", "compare", "profile", "debug", "watch", "serve"])
def test_a_verb_refuses_before_it_reads_anything_else(signed: Path, keys: Path, verb: str, capfd) -> None:
    (signed / "manifest.json").write_text("{")
    words = {
        "classify": ["x.png"], "compare": [str(signed)], "watch": ["--folder", str(keys)], "serve": ["--port", "0"]
    }.get(verb, [])  # fmt: skip
    assert main([verb, str(signed), *words, "--require-signature", str(keys / "ann.pub")]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        f"edgecnn: error: {signed} is not signed by {keys / 'ann.pub'}: manifest.sig and manifest.json do not fit; "
        "get it again from who made it\n"
    )


def test_a_signed_bundle_classifies(signed: Path, keys: Path, capfd) -> None:
    Image.new("RGB", (9, 9)).save(keys / "x.png")
    assert main(["classify", str(signed), str(keys / "x.png"), "--require-signature", str(keys / "ann.pub")]) == 0
    assert capfd.readouterr().out.startswith(f"{keys / 'x.png'}  ")


@pytest.mark.parametrize("verb", ["quantize", "export"])
def test_a_bad_key_ends_the_making_of_a_bundle_at_once(keys: Path, verb: str, capfd) -> None:
    assert main([verb, "--model", "lenet", "--data", "digits", "--sign", str(keys / "none")]) == 2
    assert capfd.readouterr().err.startswith(f"edgecnn: error: there is no file {keys / 'none'}")
