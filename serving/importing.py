"""Importing embeddings from files straight into the bucket, as an operator does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from serving.embed import Embedder
from serving.errors import BadRequest
from serving.gallery.interchange import import_people, read_export
from serving.local import s3
from serving.match import open_gallery
from serving.model import ModelCard
from serving.settings import AppArgs, TritonSettings


def read_config(path: Path) -> AppArgs:
    """The arguments of the application in a serveConfigV2 document.

    Where the one-machine stack wrote it, its S3 keys lie beside it; the environment's come first.

    Raises:
        BadRequest: it is no such document.
    """
    try:
        document = yaml.safe_load(path.read_text())
        args = AppArgs.model_validate(document["applications"][0]["args"])
    except (OSError, yaml.YAMLError, KeyError, IndexError, TypeError, ValueError) as error:
        raise BadRequest(f"{path} is no serveConfigV2 of this service: {error}") from None
    if (path.parent / s3.KEYS).is_file() and "AWS_ACCESS_KEY_ID" not in os.environ:
        os.environ.update(s3.credentials(path.parent))
    return args


def import_path(path: Path, config: Path) -> Iterator[tuple[int, int, int]]:
    """Import a file, or every safetensors file of a folder.

    Yields:
        (people so far, people in all, the gallery's version), after each commit.

    Raises:
        ServingError: Triton or the store is away, or a file does not fit the served model.
    """
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files:
        raise BadRequest(f"There are no safetensors files in {path}.")
    args = read_config(config)
    exports = [read_export(file) for file in files]
    card = asyncio.run(_served_card(args.triton))
    gallery = open_gallery(args.gallery, card.id, card.dimension)
    total, before = sum(len(e.ids) for e in exports), 0
    for export in exports:
        done = 0
        for done, version in import_people(gallery, card.id, export):
            yield before + done, total, version
        before += done


async def _served_card(settings: TritonSettings) -> ModelCard:
    embedder = Embedder(settings)
    try:
        return (await embedder.served()).card
    finally:
        await embedder.close()
