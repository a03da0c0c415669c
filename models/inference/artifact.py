"""A model as files: arrays without code, and a separate manifest with their hashes.

The manifest names the versions, their SHA-256, the active version and the `shadow` version, whose
verdicts are only recorded. To roll back a model, name an older version as active. Nothing is
unpickled: arrays are read with `allow_pickle=False`, and only after their hash was checked.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from models.features.vector import NAMES
from models.inference.parameters import FORMAT, Parameters

SHIPPED = Path(__file__).parents[1] / "shipped"
MANIFEST = "manifest.json"
CARD = "card.json"
MOST_BYTES = 32 * 1024 * 1024


class ModelError(ValueError):
    """A model cannot be loaded; the text is one line with the file and the fault."""


class Entry(BaseModel, frozen=True):
    """The file of a version."""

    file: str
    sha256: str
    format: int
    features: str


class Manifest(BaseModel, frozen=True):
    """The versions by name."""

    models: dict[str, Entry]
    active: str
    shadow: str | None = None


@dataclass(frozen=True, kw_only=True)
class Model:
    """One version of the model."""

    version: str
    parameters: Parameters


def features_hash() -> str:
    """A hash of the features in order; a model with another hash would read wrong columns."""
    return hashlib.sha256("\n".join(NAMES).encode()).hexdigest()[:16]


def parse_manifest(text: bytes) -> Manifest:
    """Raises ModelError."""
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(str(key) for key in wrong["loc"])
        raise ModelError(f"the manifest is invalid: {where}: {wrong['msg']}") from error


def load_version(manifest: Manifest, version: str, fetch: Callable[[str], bytes]) -> Model:
    """The model of a version; `fetch` gives a file's bytes by its name. Raises ModelError."""
    entry = manifest.models.get(version)
    if entry is None:
        raise ModelError(f"version {version} is not in the manifest")
    if Path(entry.file).name != entry.file:
        raise ModelError(f"the manifest's file {entry.file!r} must be a file name without a folder")
    if (entry.format, entry.features) != (FORMAT, features_hash()):
        raise ModelError(
            f"{entry.file}: made for other features or another format; train the model again"
        )
    try:
        data = fetch(entry.file)
    except OSError as error:
        raise ModelError(f"{entry.file}: {error.strerror or error}") from error
    if len(data) > MOST_BYTES:
        raise ModelError(f"{entry.file}: larger than {MOST_BYTES} bytes")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ModelError(f"{entry.file}: its SHA-256 differs from the manifest's")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            parameters = Parameters.from_arrays({name: arrays[name] for name in arrays.files})
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise ModelError(f"{entry.file}: not a model: {error}") from error
    return Model(version=version, parameters=parameters)


def load_folder(folder: Path) -> Model:
    """Load the active model of a folder, and its manifest. Raises ModelError."""
    try:
        manifest = parse_manifest((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise ModelError(f"{folder / MANIFEST}: {error.strerror}") from error
    return load_version(manifest, manifest.active, lambda name: (folder / name).read_bytes())


def read_card(folder: Path) -> Any:
    """The model's card, or None if the folder has none."""
    try:
        return json.loads((folder / CARD).read_bytes())
    except (OSError, ValueError):
        return None


def load_shipped() -> Model:
    """Load the model that the package ships. Raises ModelError."""
    return load_folder(SHIPPED)
