"""Writes a model and the manifest that names it."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.inference.artifact import MANIFEST, Entry, Manifest, features_hash, parse_manifest
from models.inference.parameters import FORMAT, Parameters
from models.inference.tree_ensemble import Forest

# Writes a file in one move: a service may read it at any time.
Write = Callable[[Path, bytes], None]
_PLAIN = ("curves", "centre", "spread", "examples", "used", "feature_edges", "score_edges")
_SMALLEST = {"feature": np.int16, "left": np.int32, "roots": np.int32}


def arrays_of(parameters: Parameters) -> dict[str, NDArray[Any]]:
    """The arrays that `Parameters.from_arrays` reads."""
    arrays = {name: getattr(parameters, name) for name in _PLAIN}
    arrays["limits"] = np.array(astuple(parameters.thresholds))
    arrays["strange"] = np.array(parameters.strange)
    for field in fields(parameters.scorers):
        arrays |= arrays_of_forest(getattr(parameters.scorers, field.name), f"{field.name}_")
    return arrays | arrays_of_forest(parameters.kinds, "kinds_")


def arrays_of_forest(forest: Forest, prefix: str) -> dict[str, NDArray[Any]]:
    """The arrays that `Forest.from_arrays` reads, in the smallest type."""
    return {
        f"{prefix}{field.name}": np.asarray(
            getattr(forest, field.name), dtype=_SMALLEST.get(field.name)
        )
        for field in fields(forest)
    }


def to_bytes(parameters: Parameters) -> bytes:
    """Serialise the parameters; equal parameters give equal bytes at any time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in sorted(arrays_of(parameters).items()):
            file = io.BytesIO()
            np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.getvalue())
    return out.getvalue()


def save(folder: Path, version: str, parameters: Parameters, write: Write) -> Entry:
    """Write the model, and make it the manifest's active version; other versions stay."""
    data = to_bytes(parameters)
    entry = Entry(
        file=f"{version}.npz",
        sha256=hashlib.sha256(data).hexdigest(),
        format=FORMAT,
        features=features_hash(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / entry.file, data)
    path = folder / MANIFEST
    known = parse_manifest(path.read_bytes()) if path.exists() else None
    manifest = Manifest(
        models={**(known.models if known else {}), version: entry},
        active=version,
        shadow=known.shadow if known else None,
    )
    write(path, (json.dumps(manifest.model_dump(), indent=2, sort_keys=True) + "\n").encode())
    return entry
