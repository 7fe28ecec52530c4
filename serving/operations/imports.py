"""Importing files of embeddings into the gallery of the served model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from serving.errors import InvalidInput
from serving.gallery import Gallery
from serving.gallery.interchange import ExportFile
from serving.gallery.location import Location, open_store
from serving.gallery.s3 import Connect, connect
from serving.gallery.transfer import Source, import_people
from serving.model.card import ModelCard
from serving.operations import audit
from serving.operations.config import Config
from serving.operations.served import served_card

_TENSORS = ".pt"


def import_path(
    path: Path,
    config: Config,
    *,
    made_by: str | None = None,
    append: bool = False,
    connect: Connect = connect,
    found: Callable[[int], None] = lambda people: None,
    imported: Callable[[int], None] = lambda people: None,
) -> int:
    """Import a file or the files of a folder into the gallery of the served model.

    Args:
        made_by: id of the model that made the embeddings, for files that do not say it.
        connect: opens the bucket.
        found: called once with the number of people in the files.
        imported: called with the number of people that each step adds.

    Returns:
        The gallery's version that holds all of them.

    Raises:
        ServingError: Triton or the store is away, or a file does not fit the served model, or holds
            more people than a collection may. Those who are enrolled already are not counted.
    """
    card = served_card(config.args.triton)
    sources = _sources(path, made_by, card)
    people, most = sum(len(s.ids) for s in sources), config.args.match.max_people
    found(people)
    if people > most:
        raise InvalidInput(
            f"These are {people:,} people, and match.max_people allows {most:,} in a collection; "
            "raise it, and the memory of the matchers."
        )
    settings = config.args.gallery
    store = open_store(settings, credentials=config.credentials, connect=connect)
    location = Location(settings.collection, card.id, card.dimension)
    gallery = Gallery(store, settings.prefix, location)
    version = import_people(gallery, card.id, sources, append=append, imported=imported)
    audit.changed("import", location, (), version)
    return version


def _sources(path: Path, made_by: str | None, card: ModelCard) -> Sequence[Source]:
    if path.is_dir():
        exports = sorted(path.glob("*.safetensors"))
        tensors = any(any(path.glob(p)) for p in (f"*{_TENSORS}", f"*/*{_TENSORS}"))
    else:
        tensors = path.suffix == _TENSORS
        exports = [] if tensors else [path]
    sources: list[Source] = [ExportFile.open(f) for f in exports]
    if tensors:
        if not made_by:
            raise InvalidInput(
                "A .pt file does not say which model made it; give the model's id with --made-by "
                f"(served is {card.id})."
            )
        # Here, because torch takes seconds to import.
        try:
            from serving.operations import tensor_files
        except ModuleNotFoundError:
            raise InvalidInput(
                "PyTorch reads .pt files, and it is not installed: pip install "
                "'facenet-serving[torch]', or import .safetensors files."
            ) from None

        sources.append(tensor_files.find(path, made_by))
    if not sources:
        raise InvalidInput(f"There are no .safetensors or .pt files in {path}.")
    return sources
