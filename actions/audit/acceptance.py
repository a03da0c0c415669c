"""The parts of an archive: an admin who accepts a broken chain begins a new part.

The numbers of an accepted chain repeat those of the records that it lacks, so its heads and exports
are stored apart from theirs, which stay.
"""

from collections.abc import Collection

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from actions.audit import signed_heads
from actions.audit.archive import Archive, ArchivePart
from actions.audit.chain import Checkpoint

_ACCEPTED = "accepted/"


def current_part(archive: Archive, keys: Collection[Ed25519PublicKey] = ()) -> Archive:
    """The part since the last acceptance; the whole archive before the first one.

    Raises ArchiveError, also where there are keys, and none of them signed the acceptance.
    """
    accepted = ArchivePart(archive, _ACCEPTED)
    numbers = signed_heads.list_numbers(accepted)
    if not numbers:
        return archive
    if keys:
        signed_heads.read_head(accepted, keys, numbers[-1])
    return ArchivePart(archive, f"after-{numbers[-1]:06}/")


def begin_part(
    archive: Archive, key: Ed25519PrivateKey | None, end: Checkpoint, now: float
) -> None:
    """Accept the chain that ends at `end`. Raises ArchiveError."""
    accepted = ArchivePart(archive, _ACCEPTED)
    number = len(signed_heads.list_numbers(accepted)) + 1
    if key is not None:
        signed_heads.sign(accepted, key, Checkpoint(number, end.hash), now)
    else:
        accepted.put(f"heads/{number:012}.json", b"{}\n", now)
