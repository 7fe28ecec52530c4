"""How the commands reach the bucket and the local model; tests pass their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from serving.gallery.s3 import Connect, connect
from serving.settings import AppArgs

if TYPE_CHECKING:
    from serving.model.card import ModelCard
    from serving.operations.offline import Cropper, EmbeddingModel


class MakeCropper(Protocol):
    def __call__(self, settings: AppArgs, card: ModelCard, *, largest: bool) -> Cropper: ...


# Both import inside, since it takes seconds, and most commands have no use for it.
def _local_model(repository: Path, name: str) -> EmbeddingModel:
    from serving.operations.offline import LocalModel

    return LocalModel(repository, name)


def _cropper(settings: AppArgs, card: ModelCard, *, largest: bool) -> Cropper:
    from serving.operations.offline import Cropper

    return Cropper(settings, card, largest=largest)


@dataclass(frozen=True)
class Services:
    """Factories of what a command works with; the defaults are the real ones.

    Attributes:
        connect: opens a bucket; see `serving.gallery.s3.connect`.
        local_model: loads a traced model by its repository and name.
        cropper: makes what cuts faces out of photos, for the model with this card.
    """

    connect: Connect = connect
    local_model: Callable[[Path, str], EmbeddingModel] = _local_model
    cropper: MakeCropper = _cropper


# Gives a command the `obj` with which click was started, as its first argument.
pass_services = click.make_pass_decorator(Services, ensure=True)
