"""An operator's work on the bucket itself, beside the service: what ``faces gallery`` does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from serving.errors import BadRequest, Unavailable
from serving.gallery import Gallery, Store
from serving.gallery.compaction import Maintenance
from serving.gallery.interchange import ExportFile
from serving.gallery.location import Location, locate, open_store
from serving.gallery.s3 import connect
from serving.gallery.transfer import Source, import_people
from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.settings import AppArgs, GallerySettings, TritonSettings
from serving.stack import s3

_TENSORS = ".pt"


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


@dataclass(frozen=True)
class Bucket:
    """The galleries in the bucket of the settings."""

    store: Store
    settings: GallerySettings
    served: str  # the model of the configuration, without the hash of its id

    @classmethod
    def of(cls, args: AppArgs, collection: str | None) -> Bucket:
        settings = args.gallery
        if collection is not None:
            settings = settings.model_copy(update={"collection": collection})
        return cls(connect(settings), settings, args.triton.model)

    def galleries(
        self,
        collection: str | None,
        model: str | None,
        failed: Callable[[str, Unavailable], None] | None = None,
    ) -> list[Location]:
        """Those of one collection and model, or of all that there are; see `locate`."""
        return list(locate(self.store, self.settings.prefix, collection, model, failed))

    def one(self, model: str | None) -> Location:
        """The gallery of the collection: of this model, or of the one that is configured.

        Raises:
            BadRequest: there is none, or it is not clear which.
        """
        found = self.galleries(self.settings.collection, model)
        if not found:
            raise BadRequest(self.none(self.settings.collection, model))
        if model is None and len(found) > 1:
            found = [p for p in found if p.model.startswith(f"{self.served}@")] or found
        if len(found) > 1:
            raise BadRequest(
                f"The collection {self.settings.collection!r} has several galleries; choose one "
                f"with --model: {', '.join(p.model for p in found)}."
            )
        return found[0]

    def other_than(self, model: str, wanted: str | None) -> Location:
        """The gallery of the collection that is not of ``model``; of several, see `one`.

        Raises:
            BadRequest: there is none, or it is not clear which.
        """
        if wanted is not None:
            found = self.galleries(self.settings.collection, wanted)
        else:
            found = self.galleries(self.settings.collection, None)
            found = [place for place in found if place.model != model]
        if len(found) > 1:
            found = [p for p in found if p.model.startswith(f"{self.served}@")] or found
        if not found:
            raise BadRequest(
                f"The collection {self.settings.collection!r} of the bucket "
                f"{self.settings.bucket!r} holds no gallery of {wanted or 'another model'}."
            )
        if len(found) > 1 or found[0].model == model:
            raise BadRequest(
                f"It is not clear from which gallery of {self.settings.collection!r}; choose one "
                f"with --from: {', '.join(p.model for p in found if p.model != model)}."
            )
        return found[0]

    def none(self, collection: str | None, model: str | None) -> str:
        """The sentence that there is no such gallery."""
        asked = f" of {collection or 'any collection'} and {model or 'any model'}"
        return f"The bucket {self.settings.bucket!r} holds no gallery{asked}."

    def gallery(self, place: Location) -> Gallery:
        return Gallery(
            self.store, self.settings.prefix, place.collection, place.model, place.dimension
        )

    def maintenance(self, place: Location) -> Maintenance:
        return Maintenance(
            self.store, self.settings.prefix, place.collection, place.model, place.dimension
        )


def import_path(
    path: Path,
    args: AppArgs,
    *,
    made_by: str | None = None,
    append: bool = False,
    found: Callable[[int], None] = lambda people: None,
    imported: Callable[[int], None] = lambda people: None,
) -> int:
    """Import a file or the files of a folder into the gallery of the served model.

    Args:
        made_by: id of the model that made the embeddings, for files that do not say it.
        found, imported: are told of how many people there are, and of how many more are done.

    Returns:
        The gallery's version that contains everybody.

    Raises:
        ServingError: Triton or the store is away, or a file does not fit the served model.
    """
    card = asyncio.run(_served_card(args.triton))
    sources = _sources(path, made_by, card)
    found(sum(len(s.ids) for s in sources))
    where, store = args.gallery, open_store(args.gallery)
    gallery = Gallery(store, where.prefix, where.collection, card.id, card.dimension)
    return import_people(gallery, card.id, sources, append=append, imported=imported)


def _sources(path: Path, made_by: str | None, card: ModelCard) -> Sequence[Source]:
    exports = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    sources: list[Source] = [ExportFile.open(f) for f in exports if f.suffix != _TENSORS]
    if path.suffix == _TENSORS or any(
        any(path.glob(p)) for p in (f"*{_TENSORS}", f"*/*{_TENSORS}")
    ):
        if not made_by:
            raise BadRequest(
                "A .pt file does not say which model made it; give the model's id with --made-by "
                f"(served is {card.id})."
            )
        # Here, because torch takes seconds to import.
        from serving.operations import tensor_files

        sources.append(tensor_files.find(path, made_by))
    if not sources:
        raise BadRequest(f"There are no .safetensors or .pt files in {path}.")
    return sources


def naming_card(args: AppArgs, model: str) -> ModelCard:
    """The card of a gallery's model, which says from which cosine on somebody is named.

    Raises:
        BadRequest: another model is served.
        Unavailable: Triton is away.
    """
    card = asyncio.run(_served_card(args.triton))
    if card.id != model:
        raise BadRequest(f"Served is {card.id}, and not {model}: give a --threshold.")
    return card


async def _served_card(settings: TritonSettings) -> ModelCard:
    embedder = Embedder(settings)
    try:
        return (await embedder.served()).card
    finally:
        await embedder.close()
