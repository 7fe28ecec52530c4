"""An operator's work on the bucket itself, beside the service: what ``faces gallery`` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serving.errors import InvalidInput, Unavailable
from serving.gallery import Gallery, Store
from serving.gallery.location import Location, locate, names
from serving.gallery.s3 import Connect, connect
from serving.gallery.stored import StoredGallery
from serving.model.repository import base_of
from serving.operations.config import Config
from serving.settings import GallerySettings


@dataclass(frozen=True)
class Bucket:
    """The galleries in the bucket of the settings."""

    store: Store
    settings: GallerySettings
    served: str  # Triton's name of the configured model

    @classmethod
    def of(
        cls, config: Config, collection: str | None = None, *, connect: Connect = connect
    ) -> Bucket:
        """The bucket of a configuration; ``collection`` is used instead of the configured one."""
        config = config.of_collection(collection)
        settings = config.args.gallery
        store = connect(settings, credentials=config.credentials)
        return cls(store, settings, config.args.triton.model)

    def galleries(
        self,
        collection: str | None,
        model: str | None,
        failed: Callable[[str, Unavailable], None] | None = None,
    ) -> list[Location]:
        """The galleries of one collection and model, or all of them; see `locate`."""
        return list(locate(self.store, self.settings.prefix, collection, model, failed))

    def one(self, model: str | None) -> Location:
        """The gallery of the collection, of the given model or else of the configured one.

        Raises:
            InvalidInput: there is none, or it is not clear which.
        """
        found = self._models(model)
        if not found:
            raise InvalidInput(self.none(self.settings.collection, model))
        if model is None and len(found) > 1:
            found = self._served(found) or found
        if len(found) > 1:
            raise InvalidInput(
                f"The collection {self.settings.collection!r} has several galleries; choose one "
                f"with --model: {', '.join(found)}."
            )
        return self._located(found[0])

    def _models(self, model: str | None) -> list[str]:
        """The models of which the collection has a gallery, also a damaged one."""
        listed = names(self.store, self.settings.prefix, self.settings.collection, model)
        return [its_model for _, its_model in listed]

    def _served(self, models: list[str]) -> list[str]:
        name = base_of(self.served)
        return [m for m in models if m.startswith(f"{name}@")]

    def _located(self, model: str) -> Location:
        found = self.galleries(self.settings.collection, model)
        if not found:  # removed meanwhile
            raise InvalidInput(self.none(self.settings.collection, model))
        return found[0]

    def other_than(self, model: str, wanted: str | None) -> Location:
        """The gallery of the collection that is of another model than ``model``.

        Of several, ``wanted`` is the model; without it the configured one, as for `one`.

        Raises:
            InvalidInput: there is none, or it is not clear which.
        """
        found = self._models(wanted)
        if wanted is None:
            found = [m for m in found if m != model]
        if len(found) > 1:
            found = self._served(found) or found
        if not found:
            raise InvalidInput(
                f"The collection {self.settings.collection!r} of the bucket "
                f"{self.settings.bucket!r} holds no gallery of {wanted or 'another model'}."
            )
        if len(found) > 1 or found[0] == model:
            raise InvalidInput(
                f"It is not clear from which gallery of {self.settings.collection!r}; choose one "
                f"with --from: {', '.join(m for m in found if m != model)}."
            )
        return self._located(found[0])

    def none(self, collection: str | None, model: str | None) -> str:
        """The sentence of an error: there is no such gallery."""
        described = f"{collection or 'any collection'} and {model or 'any model'}"
        return f"The bucket {self.settings.bucket!r} holds no gallery of {described}."

    def gallery(self, location: Location) -> Gallery:
        return Gallery(self.store, self.settings.prefix, location)

    def stored(self, location: Location) -> StoredGallery:
        return StoredGallery(self.store, self.settings.prefix, location)
