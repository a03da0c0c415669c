"""Signed heads of the audit chain, kept apart from the database.

Each says: so many records there were, and the last one had this hash. As every hash covers all that
came before, one head speaks for the whole chain up to it; whoever cuts off its end, or makes it
anew, would have to sign, too.
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
from actions.audit.chain import Checkpoint, canonical

_FOLDER = "heads/"
_PURPOSE = "smartcloudops audit head 1\n"
# The newest speaks for all before it; some older ones narrow down where a chain was made anew.
_READ_MOST = 100


class UnsignedError(ArchiveError):
    """What stands for a head was signed by none of the keys."""


class KeyFileError(Exception):
    """The file of a key cannot be used; the text names it and quotes nothing of it."""


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """An Ed25519 private key in PEM, without a password. Raises KeyFileError."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path}: it is no private key in PEM without a password") from None
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
        raise KeyFileError(f"{path}: it is no public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{path}: the key is not Ed25519")
    return key


def sign(archive: Archive, key: Ed25519PrivateKey, link: Checkpoint, now: float) -> None:
    """Sign and keep this head. Raises ArchiveError."""
    said = {"seq": link.seq, "hash": link.hash, "at": now}
    signature = base64.b64encode(key.sign(_signed(said))).decode()
    data = canonical({**said, "signature": signature}) + "\n"
    archive.put(f"{_FOLDER}{link.seq:012}.json", data.encode(), now)


def list_numbers(archive: Archive) -> list[int]:
    """The records that there are heads of, oldest first. Raises ArchiveError."""
    names = archive.list_names(_FOLDER)
    return [int(name.removeprefix(_FOLDER).partition(".")[0]) for name in names if _fits(name)]


def read_heads(archive: Archive, keys: Collection[Ed25519PublicKey]) -> Mapping[int, str]:
    """The newest heads: hash by number.

    Raises ArchiveError, also where a head was signed by none of the keys.
    """
    found = {}
    for number in list_numbers(archive)[-_READ_MOST:]:
        found[number] = read_head(archive, keys, number).hash
    return found


def read_newest_head(archive: Archive, keys: Collection[Ed25519PublicKey]) -> Checkpoint | None:
    """The last head that one of the keys signed, of late. Raises ArchiveError."""
    for number in reversed(list_numbers(archive)[-_READ_MOST:]):
        with suppress(UnsignedError):
            return read_head(archive, keys, number)
    return None


def read_head(archive: Archive, keys: Collection[Ed25519PublicKey], number: int) -> Checkpoint:
    """The head of this record. Raises ArchiveError."""
    name = f"{_FOLDER}{number:012}.json"
    try:
        said: dict[str, Any] = json.loads(archive.get(name))
        signature = base64.b64decode(said.pop("signature"), validate=True)
        link = Checkpoint(said["seq"], said["hash"])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise UnsignedError(f"{name}: it is no signed head") from None
    if link.seq != number or not any(_signed_by(key, signature, said) for key in keys):
        raise UnsignedError(f"{name}: the signature does not hold")
    return link


def _signed_by(key: Ed25519PublicKey, signature: bytes, said: Mapping[str, Any]) -> bool:
    try:
        key.verify(signature, _signed(said))
    except InvalidSignature:
        return False
    return True


def _signed(said: Mapping[str, Any]) -> bytes:
    return (_PURPOSE + canonical(said)).encode()


def _fits(name: str) -> bool:
    stem = name.removeprefix(_FOLDER).partition(".")[0]
    return stem.isascii() and stem.isdigit()
