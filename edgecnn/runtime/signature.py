"""Who made a bundle: an Ed25519 signature (RFC 8032) of its manifest, which in turn has the digest of every file.

The signature is the 64 bytes of ``manifest.sig``, over the bytes of ``manifest.json``; keys are PEM files without a
password, as OpenSSL makes them (``openssl genpkey -algorithm ed25519 -out key.pem``, and its public half with
``openssl pkey -in key.pem -pubout -out key.pub``). So ``openssl pkeyutl -verify -rawin`` checks a bundle too. The
mathematics is the package ``cryptography``'s, in the extra ``sign``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgecnn.errors import BadFileError, MissingExtraError
from edgecnn.runtime.files import write_bytes
from edgecnn.runtime.manifest import MANIFEST, read_manifest
from edgecnn.runtime.records import read_content

SIGNATURE = "manifest.sig"
SIGNATURE_BYTES = 64
KEY_LIMIT = 1 << 14  # bytes

Sign = Callable[[Path], None]  # signs the bundle in a folder


def signer(key: Path) -> Sign:
    """What signs bundles with the private key in a PEM file.

    Raises BadFileError when that is none, MissingExtraError without the extra.
    """
    serialization, ed25519 = _library("--sign")
    private = _load(key, "private", lambda content: serialization.load_pem_private_key(content, None))
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise _no_key(key, "private")

    def sign(folder: Path) -> None:
        write_bytes(folder / SIGNATURE, private.sign((folder / MANIFEST).read_bytes()))

    return sign


def require_signature(path: Path, key: Path | None) -> None:
    """Raise BadFileError unless the bundle that ``path`` is, or lies in, is signed by the key of a public PEM file.

    Without a ``key`` nothing is required. Raises MissingExtraError without the extra.
    """
    if key is None:
        return
    folder = path if path.is_dir() else path.parent
    check_signature(folder, read_manifest(folder), key)


def check_signature(folder: Path, manifest: bytes, key: Path) -> None:
    """Raise BadFileError unless ``manifest`` is what the signature in a bundle's folder and a public PEM file are of.

    Who takes what was checked must take these bytes: the file may be another by then. Raises MissingExtraError.
    """
    serialization, ed25519 = _library("--require-signature")
    public = _load(key, "public", serialization.load_pem_public_key)
    if not isinstance(public, ed25519.Ed25519PublicKey):
        raise _no_key(key, "public")
    signature = _read(folder / SIGNATURE, SIGNATURE_BYTES)
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(signature, manifest)
    except InvalidSignature as error:
        raise BadFileError(
            f"{folder} is not signed by {key}: {SIGNATURE} and {MANIFEST} do not fit; get it again from who made it"
        ) from error


def _library(purpose: str) -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingExtraError(purpose, "cryptography", "sign") from error
    return serialization, ed25519


def _load(path: Path, kind: str, parse: Callable[[bytes], Any]) -> Any:
    content = _read(path, KEY_LIMIT)
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return parse(content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(path, kind) from error


def _no_key(path: Path, kind: str) -> BadFileError:
    return BadFileError(
        f"{path} holds no {kind} Ed25519 key in PEM without a password; make one with: openssl genpkey -algorithm "
        "ed25519 -out key.pem && openssl pkey -in key.pem -pubout -out key.pub"
    )


def _read(path: Path, limit: int) -> bytes:
    if not path.is_file():
        raise BadFileError(f"there is no file {path}; give the path of one, and of a bundle that was made with --sign")
    return read_content(path, limit)
