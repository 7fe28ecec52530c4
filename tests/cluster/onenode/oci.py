"""OCI archives of folders and programs, without a builder and without a registry.

`layer` packs a folder as one uncompressed layer. `write` streams an archive of several images, with
each layer once; ``ctr images import -`` reads it.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_MEDIA = "application/vnd.oci.image"
_PLATFORM = {"architecture": "amd64", "os": "linux"}


@dataclass(frozen=True)
class Image:
    """An image by its layers.

    Attributes:
        layers: tar files, the lowest first.
        config: of OCI: Entrypoint, Cmd, Env, User, WorkingDir.
    """

    name: str
    layers: tuple[Path, ...]
    config: dict[str, Any]


def layer(folder: Path, target: Path) -> Path:
    """Pack a folder. The same files make the same layer: times and names of owners are left out."""
    partial = target.with_name(f"{target.name}.partial")
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
        for entry in sorted(folder.iterdir()):
            tar.add(entry, arcname=entry.name, filter=_reproducible)
    return partial.rename(target)


def digest(file: Path) -> str:
    sha256 = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(2**20):
            sha256.update(block)
    return f"sha256:{sha256.hexdigest()}"


def write(stream: IO[bytes], images: Iterable[Image]) -> None:
    """Write an archive to a stream that need not seek."""
    images = list(images)
    layers = {file: digest(file) for image in images for file in image.layers}
    documents: dict[str, bytes] = {}
    manifests = [_manifest(image, layers, documents) for image in images]
    files = {name: file for file, name in layers.items()}
    with tarfile.open(fileobj=stream, mode="w|") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": manifests}))
        for name, data in documents.items():
            _add(tar, _blob(name), data)
        for name, file in files.items():
            tar.add(file, arcname=_blob(name))


def _manifest(image: Image, layers: dict[Path, str], documents: dict[str, bytes]) -> dict[str, Any]:
    """The image's entry in the index; its documents are added to ``documents``."""
    names = [layers[file] for file in image.layers]
    config = {
        **_PLATFORM,
        "config": image.config,
        "rootfs": {"type": "layers", "diff_ids": names},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.manifest.v1+json",
        "config": _document("config.v1+json", config, documents),
        "layers": [
            {"mediaType": f"{_MEDIA}.layer.v1.tar", "digest": name, "size": file.stat().st_size}
            for name, file in zip(names, image.layers, strict=True)
        ],
    }
    return {
        **_document("manifest.v1+json", manifest, documents),
        "annotations": {"io.containerd.image.name": image.name},
        "platform": _PLATFORM,
    }


def _document(kind: str, content: dict[str, Any], documents: dict[str, bytes]) -> dict[str, Any]:
    data = _json(content)
    name = f"sha256:{hashlib.sha256(data).hexdigest()}"
    documents[name] = data
    return {"mediaType": f"{_MEDIA}.{kind}", "digest": name, "size": len(data)}


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def _blob(name: str) -> str:
    return f"blobs/{name.replace(':', '/')}"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _reproducible(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry
