"""Signed heads of the audit chain, kept apart from the database.

A head is the number and the hash of the last record at its time. As each hash covers all records
before it, one head covers the whole chain up to it: without the key nobody can cut off the chain's
end, or forge another chain.
"""

import base64
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from actions.audit.archive import Archive, ArchiveError
from actions.audit.chain import Checkpoint
from actions.canonical_json import canonical

_FOLDER = "heads/"
_PURPOSE = "smartcloudops audit head 1\n"
# The newest head covers all records; older heads show where a forged chain begins.
_READ_MOST = 100


class UnsignedError(ArchiveError):
    """A signed head has no signature by any of the keys."""


class KeyFileError(Exception):
    """A key file cannot be used; the text has its path and none of its content."""


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """An Ed25519 private key in PEM, without a password. Raises KeyFileError."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path}: this is not a private key in PEM without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: the key is not Ed25519")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """An Ed25519 public key in PEM. Raises KeyFileError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path}: this is not a public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{path}: the key is not Ed25519")
    return key


def sign(archive: Archive, key: Ed25519PrivateKey, head: Checkpoint, now: float) -> None:
    """Sign the head and put it into the archive. Raises ArchiveError."""
    fields = {"seq": head.seq, "hash": head.hash, "at": now}
    signature = base64.b64encode(key.sign(_signed(fields))).decode()
    data = canonical({**fields, "signature": signature}) + "\n"
    archive.put(f"{_FOLDER}{head.seq:012}.json", data.encode(), now)


def list_numbers(archive: Archive) -> list[int]:
    """Numbers of the records that have a head, oldest first. Raises ArchiveError."""
    names = archive.list_names(_FOLDER)
    return [
        int(name.removeprefix(_FOLDER).partition(".")[0]) for name in names if _is_numbered(name)
    ]


def read_heads(archive: Archive, keys: Collection[Ed25519PublicKey]) -> Mapping[int, str]:
    """The hashes of the newest heads by number.

    Raises ArchiveError, also where none of the keys signed a head.
    """
    numbers = list_numbers(archive)[-_READ_MOST:]
    return {number: read_head(archive, keys, number).hash for number in numbers}


def read_newest_head(archive: Archive, keys: Collection[Ed25519PublicKey]) -> Checkpoint | None:
    """The newest head that one of the keys signed.

    None if the keys signed none of the newest heads. Raises ArchiveError.
    """
    for number in reversed(list_numbers(archive)[-_READ_MOST:]):
        with suppress(UnsignedError):
            return read_head(archive, keys, number)
    return None


def read_head(archive: Archive, keys: Collection[Ed25519PublicKey], number: int) -> Checkpoint:
    """The head of this record. Raises ArchiveError."""
    name = f"{_FOLDER}{number:012}.json"
    try:
        fields: dict[str, Any] = json.loads(archive.get(name))
        signature = base64.b64decode(fields.pop("signature"), validate=True)
        head = Checkpoint(fields["seq"], fields["hash"])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise UnsignedError(f"{name}: this is not a signed head") from None
    if head.seq != number or not any(_signed_by(key, signature, fields) for key in keys):
        raise UnsignedError(f"{name}: no given key signed this head")
    return head


def _signed_by(key: Ed25519PublicKey, signature: bytes, fields: Mapping[str, Any]) -> bool:
    try:
        key.verify(signature, _signed(fields))
    except InvalidSignature:
        return False
    return True


def _signed(fields: Mapping[str, Any]) -> bytes:
    return (_PURPOSE + canonical(fields)).encode()


def _is_numbered(name: str) -> bool:
    stem = name.removeprefix(_FOLDER).partition(".")[0]
    return stem.isascii() and stem.isdigit()
