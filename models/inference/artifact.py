"""A model as files: arrays without code, and a manifest kept apart that says which bytes count.

The manifest names the versions, their SHA-256, which one is active and which one only watches
(`shadow`). Rolling back is naming an older version there. Nothing is unpickled: arrays are read
with `allow_pickle=False`, and only after their hash has been found right.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models.features.vector import NAMES
from models.inference.micro_batch import Together
from models.inference.parameters import FORMAT, Learned

SHIPPED = Path(__file__).parents[1] / "shipped"
MANIFEST = "manifest.json"
CARD = "card.json"
MOST_BYTES = 32 * 1024 * 1024


class ModelError(ValueError):
    """Why there is no model; the text names the file and what is wrong, in one line."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    version: str
    file: str
    sha256: str
    format: int
    features: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    active: str
    shadow: str | None
    models: Mapping[str, Entry]


@dataclass(frozen=True, kw_only=True)
class Model:
    """`readings` are those of `learned`, for several threads at once."""

    version: str
    learned: Learned
    readings: Together = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "readings", Together(self.learned))


def features_hash() -> str:
    """Which features, in which order: a model of others would read the wrong columns."""
    return hashlib.sha256("\n".join(NAMES).encode()).hexdigest()[:16]


def manifest(text: bytes) -> Manifest:
    """Raises ModelError."""
    try:
        read = json.loads(text)
        models = {
            str(version): Entry(
                version=str(version),
                file=str(one["file"]),
                sha256=str(one["sha256"]),
                format=int(one["format"]),
                features=str(one["features"]),
            )
            for version, one in read["models"].items()
        }
        shadow = read.get("shadow")
        return Manifest(
            active=str(read["active"]),
            shadow=None if shadow is None else str(shadow),
            models=models,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the manifest is not one: {type(error).__name__}: {error}") from error


def load(known: Manifest, version: str, fetch: Callable[[str], bytes]) -> Model:
    """The model of a version; `fetch` gives a file's bytes by its name. Raises ModelError."""
    entry = known.models.get(version)
    if entry is None:
        raise ModelError(f"the manifest knows no version {version}")
    if Path(entry.file).name != entry.file:
        raise ModelError(f"{entry.file}: not the name of a file")
    if (entry.format, entry.features) != (FORMAT, features_hash()):
        raise ModelError(f"{entry.file}: made for other features or another format")
    try:
        data = fetch(entry.file)
    except OSError as error:
        raise ModelError(f"{entry.file}: {error.strerror or error}") from error
    if len(data) > MOST_BYTES:
        raise ModelError(f"{entry.file}: larger than {MOST_BYTES} bytes")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ModelError(f"{entry.file}: its SHA-256 is not that of the manifest")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            learned = Learned.of({name: arrays[name] for name in arrays.files})
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise ModelError(f"{entry.file}: not a model: {error}") from error
    return Model(version=version, learned=learned)


def packed(learned: Learned) -> bytes:
    """The same bytes for the same model, whenever they are made."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in sorted(learned.arrays().items()):
            one = io.BytesIO()
            np.lib.format.write_array(one, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, one.getvalue())
    return out.getvalue()


def save(folder: Path, version: str, learned: Learned) -> Entry:
    """Writes the model and names it the active one in the folder's manifest; others stay."""
    data = packed(learned)
    entry = Entry(
        version=version,
        file=f"{version}.npz",
        sha256=hashlib.sha256(data).hexdigest(),
        format=FORMAT,
        features=features_hash(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / entry.file).write_bytes(data)
    path = folder / MANIFEST
    read = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"models": {}}
    read["models"][version] = {
        "file": entry.file,
        "sha256": entry.sha256,
        "format": entry.format,
        "features": entry.features,
    }
    read |= {"active": version, "shadow": read.get("shadow")}
    path.write_text(json.dumps(read, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return entry


def of_folder(folder: Path) -> Model:
    """The active model of a folder with its manifest. Raises ModelError."""
    try:
        known = manifest((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise ModelError(f"{folder / MANIFEST}: {error.strerror}") from error
    return load(known, known.active, lambda name: (folder / name).read_bytes())


def card(folder: Path) -> Any:
    """What was written beside the model about how it was made; None where there is nothing."""
    try:
        return json.loads((folder / CARD).read_bytes())
    except (OSError, ValueError):
        return None


def shipped() -> Model:
    """The model that comes with the package. Raises ModelError."""
    return of_folder(SHIPPED)
