"""Publishing a traced model to a bucket, as the Triton model repository that KServe loads.

``s3://<bucket>/<prefix>/<model>`` holds exactly these objects, written in this order:

    <model>/1/model.pt      TorchScript; its metadata hold the model's id, the size and the sha256
    <model>/config.pbtxt    Triton's configuration, with the card
    <model>/model.json      the card

or, for OpenVINO, ``model.bin`` and ``model.xml`` in place of ``model.pt``.

So no card is there before its weights, and the weights' metadata say which model an interrupted
upload was of. Each object is written on the condition that it has not changed since it was looked
at. A publisher that loses such a race looks again, and is done once it sees the whole model there.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from serving.errors import CommitConflict, StoreUnfit, Unavailable
from serving.gallery.store import (
    DescribedStore,
    NotFound,
    ObjectInfo,
    PreconditionFailed,
    StoredObject,
)
from serving.model.repository import CARD, ModelError, TracedModel, id_of

_TRIES = 5
_MAX_TEXT_BYTES = 2**23
_URI = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]+[a-z0-9])/(?P<path>[A-Za-z0-9_./=+@-]+)")


@dataclass(frozen=True)
class Target:
    """A model repository with one model in a bucket; its root ``path`` ends in the model's name."""

    bucket: str
    path: str

    @classmethod
    def parse(cls, uri: str, model: str) -> Target:
        """Raises ValueError when it is not ``s3://BUCKET/PREFIX/<model>``."""
        found = _URI.fullmatch(uri.rstrip("/"))
        segments = found["path"].split("/") if found else []
        if found is None or not {"", ".", ".."}.isdisjoint(segments):
            raise ValueError(f"{uri!r} is not of the form s3://BUCKET/PREFIX/{model}")
        if segments[-1] != model:
            raise ValueError(f"{uri!r} must end in the model's name: {uri.rstrip('/')}/{model}")
        return cls(found["bucket"], found["path"])

    @property
    def storage_uri(self) -> str:
        """The ``storageUri`` of an InferenceService."""
        # With the slash: KServe loads every key with this prefix, those of <model>-2 too.
        return f"s3://{self.bucket}/{self.path}/"

    def key(self, name: str) -> str:
        return f"{self.path}/{self.path.rpartition('/')[2]}/{name}"


@dataclass(frozen=True)
class _Found:
    """The objects at a target: the file with the weights, and the others by name."""

    weights: ObjectInfo | None
    texts: dict[str, StoredObject]

    def ids(self) -> set[str]:
        """The ids of the models that the objects name."""
        of_model = self.weights.metadata.get("model-id") if self.weights else None
        of_card = id_of(self.texts[CARD].data) if CARD in self.texts else None
        return {model_id for model_id in (of_model, of_card) if model_id}


@dataclass(frozen=True)
class _Step:
    """One write; ``etag`` is that of the object that it replaces."""

    name: str
    delete: bool
    etag: str | None


def publish(
    store: DescribedStore,
    target: Target,
    local: TracedModel,
    *,
    replace: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None] = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Sequence[str]:
    """Bring the model to the target, unless it is there.

    It is there when the card and the configuration are the same, and the model's file is of this
    model's id and whole by its size and sum: the same weights may have been traced elsewhere.

    Args:
        replace: replace a model of another id too. Meanwhile the target has no configuration, so
            that a server that starts from it fails and tries again, and never serves one model
            under the other's name.
        say: called with a line for each write before it is made, or would be.

    Returns:
        The keys that were written or deleted, or would be.

    Raises:
        ModelError: the target holds something else, at first or after another publisher.
        CommitConflict: other publishers came between too often.
        StoreUnfit: there is no such bucket, or the keys do not suffice.
        Unavailable: the store is away.
    """
    done: list[str] = []
    reason: Unavailable | None = None
    for attempt in range(_TRIES):
        if attempt:
            sleep(random.uniform(0.5, 1) * 2 ** (attempt - 1))
        steps = _steps(_look(store, target, local), target, local, replace)
        try:
            for step in steps:
                key = target.key(step.name)
                say(f"{'Delete' if step.delete else 'Upload'} {key}")
                if not dry_run:
                    _write(store, key, step, local)
                done.append(key)
            if (
                dry_run
                or not steps
                or not _steps(_look(store, target, local), target, local, replace)
            ):
                return done
            reason = None
        except StoreUnfit:
            raise
        except (PreconditionFailed, NotFound):
            reason = None
        except Unavailable as error:
            reason = error
    if reason is not None:
        raise Unavailable(f"{reason} What is uploaded stays; publish again to go on from there.")
    raise CommitConflict(
        f"{target.storage_uri} changes as fast as it is written: other publishers are at work, or "
        "the store does not keep what it is given."
    )


def _look(store: DescribedStore, target: Target, local: TracedModel) -> _Found:
    # Listed first, to find a missing bucket: some stores make one when an object is written.
    sizes = {
        entry.key: entry.size
        for entry in store.list(f"{target.path}/")
        if entry.size or not entry.key.endswith("/")  # some tools write such a key for a folder
    }
    foreign = sorted(sizes.keys() - {target.key(name) for name in local.files})
    if foreign:
        raise ModelError(
            f"{target.storage_uri} also holds {foreign[0]}, which Triton would load too; remove it "
            "or publish under another prefix."
        )
    texts = {}
    for name in local.texts:
        key = target.key(name)
        if sizes.get(key, 0) > _MAX_TEXT_BYTES:
            raise ModelError(f"{key} has {sizes[key]} bytes, and is none of this project's.")
        with suppress(NotFound):
            if key in sizes:
                texts[name] = store.get(key)
    weights = None
    with suppress(NotFound):
        if (key := target.key(local.weights)) in sizes:
            weights = store.head(key)
    return _Found(weights, texts)


def _steps(found: _Found, target: Target, local: TracedModel, replace: bool) -> list[_Step]:
    """The writes that bring ``local`` there. Raises ModelError when another model is there."""
    model_id = local.card.id
    etag = found.weights.etag if found.weights else None
    if found != _Found(None, {}) and found.ids() != {model_id}:
        if not replace:
            others = sorted(found.ids() - {model_id})
            raise ModelError(
                f"{target.storage_uri} holds {' and '.join(others) or 'an unknown model'}, and not "
                f"{model_id}; publish under another prefix, or give --replace."
            )
        # First the card and the configuration go: beside the new file they would be wrong.
        return [
            *(_Step(name, True, None) for name in reversed(local.texts) if name in found.texts),
            _Step(local.weights, False, etag),
            *(_Step(name, False, None) for name in local.texts),
        ]
    wanting = [
        _Step(name, False, found.texts[name].etag if name in found.texts else None)
        for name in local.texts
        if name not in found.texts or found.texts[name].data != local.files[name]
    ]
    # A configuration that is replaced leaves it open whether the weights fit the new one.
    changed = any(step.etag and step.name != CARD for step in wanting)
    metadata = found.weights.metadata if found.weights else {}
    if not _whole(found.weights, local) or (changed and metadata.get("sha256") != local.sha256):
        wanting.insert(0, _Step(local.weights, False, etag))
    return wanting


def _whole(model: ObjectInfo | None, local: TracedModel) -> bool:
    """Whether it is a file of this model, of the size and sum with which it was uploaded."""
    if model is None:
        return False
    metadata = model.metadata
    return (
        metadata.get("model-id") == local.card.id
        and metadata.get("size") == str(model.size)
        and metadata.get("sha256") is not None
        and model.sha256 in (None, metadata["sha256"])
    )


def _write(store: DescribedStore, key: str, step: _Step, local: TracedModel) -> None:
    if step.delete:
        store.delete(key)
        return
    data = local.files[step.name]
    metadata = (
        {"model-id": local.card.id, "size": str(len(data)), "sha256": local.sha256}
        if step.name == local.weights
        else {}
    )
    store.put_described(key, data, metadata, if_match=step.etag, if_absent=step.etag is None)
