"""Writes a model and the manifest that names it."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.inference.artifact import MANIFEST, Entry, features_hash
from models.inference.parameters import FORMAT, Parameters

# Writes a file in one move: a service may read it at any time.
Write = Callable[[Path, bytes], None]


def to_bytes(parameters: Parameters) -> bytes:
    """Serialise the parameters; equal parameters give equal bytes at any time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in sorted(parameters.arrays().items()):
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
        version=version,
        file=f"{version}.npz",
        sha256=hashlib.sha256(data).hexdigest(),
        format=FORMAT,
        features=features_hash(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / entry.file, data)
    path = folder / MANIFEST
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"models": {}}
    content["models"][version] = {
        "file": entry.file,
        "sha256": entry.sha256,
        "format": entry.format,
        "features": entry.features,
    }
    content |= {"active": version, "shadow": content.get("shadow")}
    write(path, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())
    return entry
