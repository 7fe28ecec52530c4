"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, SupportsIndex, TypeVar, cast

import httpx

from serving.client import address, answers, calls
from serving.client.calls import UNSET, Call, Rows, Time, Unset
from serving.client.errors import ClientError
from serving.client.exchange import Exchange, Failed
from serving.client.photos import File, Photo, batches
from serving.client.retry import Attempts, Retry
from serving.errors import UnknownIdentity

A = TypeVar("A")


class Client:
    """A blocking client of one service. Threads may share it; close it, or use ``with``.

    A photo is a path, the bytes of an image file, an open file, a numpy array, uint8 RGB
    (H, W, 3), or a Pillow image. Answers are the JSON bodies of the API; boxes are
    ``[x1, y1, x2, y2]`` in pixels of the upright photo.

    Safe calls are retried when the service is overloaded, restarted or out of reach: every call
    that only reads, and a write that was refused before anything was written. A write with an
    unknown outcome is never sent twice; see `ClientError.not_confirmed`. `ready` and `health` are
    sent once.

    Every method raises `ClientError`; and ValueError or TypeError for arguments that cannot be
    sent.

    Args:
        url: address of the service; None: the environment's FACES_URL, or http://127.0.0.1:8000.
        timeout_s: for connecting, and between two packets of an answer; ``timeout_s`` of a method
            replaces it.
        key: an API key; None: the environment's FACES_KEY, if there is one.
        collection: the collection to use; None: the service's own.
        plain_http: send the key over http:// to another machine without a warning.
        retry: the limits of retries.
        http: a client with your own settings, such as proxies or certificates; it stays open.
        sleep, clock: waits for seconds; returns monotonic seconds.
    """

    def __init__(
        self,
        url: str | None = None,
        timeout_s: float = 120.0,
        key: str | None = None,
        *,
        collection: str | None = None,
        plain_http: bool = False,
        retry: Retry | None = None,
        http: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(http, httpx.Client | None):
            raise TypeError(f"http is a httpx.Client, not {type(http).__name__}.")
        if not isinstance(retry, Retry | None):
            raise TypeError(f"retry is a Retry, not {type(retry).__name__}.")
        self._own = http is None
        self._exchange = Exchange(
            url, collection, key, timeout_s, plain_http=plain_http, proxied=self._own
        )
        self._retry = retry or Retry()
        with address.proxies():
            self._http = http or httpx.Client()
        self._sleep = sleep
        self._clock = clock

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._http.close()

    def infer(
        self,
        photo: Photo,
        *,
        top_k: int | None = None,
        threshold: float | None = None,
        max_faces: int | None = None,
        timeout_s: float | None = None,
    ) -> answers.InferAnswer:
        """Identify the faces in a photo, the largest first.

        Args:
            top_k: candidates to return for each face.
            threshold: cosine from which on a face is named; -1 always names the nearest.
            max_faces: return at most this many faces, the largest.
        """
        return self._ask(lambda: calls.infer(photo, top_k, threshold, max_faces, timeout_s))

    def infer_stream(
        self,
        photos: Iterable[Photo],
        *,
        top_k: int | None = None,
        threshold: float | None = None,
        max_faces: int | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[answers.InferAnswer | ClientError]:
        """Identify the faces in each of many photos; the answers are in the order of the photos.

        Photos are taken from the iterable as they are needed, and several go in one request. In the
        place of an answer, a photo that cannot be read or is refused has its `ClientError`, which
        is not raised. What befalls all photos is raised: no service, a key that is refused.

        Args:
            top_k, threshold, max_faces: as for `infer`, for all photos.
        """
        options = (top_k, threshold, max_faces, timeout_s)
        for batch in batches(photos):
            files = [file for file in batch if isinstance(file, File)]
            build = partial(calls.infer_stream, files, *options)
            found = self._ask(build) if files else []
            answered = iter(found)
            for file in batch:
                yield file if isinstance(file, ClientError) else next(answered)

    def detect(
        self, photo: Photo, *, max_faces: int | None = None, timeout_s: float | None = None
    ) -> answers.DetectAnswer:
        """Find the faces in a photo, the largest first."""
        return self._ask(lambda: calls.detect(photo, max_faces, timeout_s))

    def verify(
        self,
        photo_a: Photo,
        photo_b: Photo,
        *,
        threshold: float | None = None,
        timeout_s: float | None = None,
    ) -> answers.VerifyAnswer:
        """Whether two photos show the same person; the largest face of each counts.

        Args:
            threshold: cosine from which the photos count as of the same person.
        """
        return self._ask(lambda: calls.verify(photo_a, photo_b, threshold, timeout_s))

    def generate(
        self,
        person: SupportsIndex,
        photos: Photo | Iterable[Photo],
        *,
        name: str | None = None,
        append: bool = False,
        force: bool = False,
        expires_at: Time | None = None,
        legal_basis: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> answers.GenerateAnswer:
        """Enrol a person from photos; the largest face of each counts.

        If no photo has a usable face, that is an error (422), and nothing is written.

        Args:
            person: the id, 0 or more.
            append: add to the enrolled photos instead of replacing them.
            force: enrol despite poor photos and despite conflicts.
            expires_at: from then on nobody is named as this person, and the record is erased.
            legal_basis: ``kind`` and optionally ``reference``, ``date`` and ``text_version``.
        """
        retention = expires_at, legal_basis
        return self._ask(
            lambda: calls.generate(person, photos, name, append, force, *retention, timeout_s)
        )

    enrol = generate

    def identities(
        self,
        *,
        page_size: int = 1000,
        expires_before: Time | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[answers.Identity]:
        """Iterate over the enrolled people in the order of their ids; pages are fetched as needed.

        Args:
            page_size: people in one page, at most 1000.
            expires_before: only those whose retention ends before then, or has ended.
        """
        cursor: int | None = None
        while True:
            page = self._ask(partial(calls.page, page_size, cursor, expires_before, timeout_s))
            yield from page["identities"]
            cursor = page["next"]
            if cursor is None:
                return

    def duplicates(
        self,
        *,
        threshold: float | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[answers.DuplicateBody]:
        """Iterate over pairs of people who may be one person, to be merged.

        Pages are fetched as needed, each of the pairs of some 30,000 people, the most similar
        first. Of more than 1,000 pairs in a page these are the most similar; a higher threshold
        leaves fewer.

        Args:
            threshold: lowest cosine of a pair; by default that at which `infer` names a person.
        """
        cursor: int | None = None
        while True:
            page = self._ask(partial(calls.duplicates, cursor, threshold, timeout_s))
            yield from page["duplicates"]
            cursor = page["next"]
            if cursor is None:
                return

    def audit(
        self,
        *,
        since: Time | None = None,
        until: Time | None = None,
        key: str | None = None,
        person: SupportsIndex | None = None,
        action: str | None = None,
        request_id: str | None = None,
        page_size: int = 1000,
        timeout_s: float | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Iterate over the records of the audit, newest first; pages are fetched as needed.

        It needs a key with the scope audit. A service whose audit writes no objects answers with
        a problem of the type ``audit-off``.

        Args:
            since: ended then or later; by default 7 days before ``until`` or now.
            until: ended before then.
            key: the name of the caller's key.
            person: an id, as answer or as candidate.
            action: such as identify, enrol or erase.
        """
        of = (since, until, key, person, action, request_id)
        cursor: str | None = None
        while True:
            page = self._ask(partial(calls.audit, page_size, cursor, *of, timeout_s))
            yield from page["records"]
            cursor = page["next"]
            if cursor is None:
                return

    def audit_chains(
        self, *, days: int = 7, timeout_s: float | None = None
    ) -> Iterator[answers.ChainBody]:
        """Iterate over the chains of the audit's objects of the last ``days``, each with what is
        missing or was changed in ``problems``."""
        cursor: str | None = None
        while True:
            page = self._ask(partial(calls.audit_chains, days, cursor, timeout_s))
            yield from page["chains"]
            cursor = page["next"]
            if cursor is None:
                return

    def identity(
        self, person: SupportsIndex, *, timeout_s: float | None = None
    ) -> answers.IdentityAnswer:
        """One person; an id that is not enrolled is an error (404)."""
        return self._ask(lambda: calls.identity(person, timeout_s))

    def describe(
        self,
        person: SupportsIndex,
        *,
        name: str | Unset | None = UNSET,
        metadata: Mapping[str, Any] | Unset | None = UNSET,
        expires_at: Time | Unset | None = UNSET,
        legal_basis: Mapping[str, Any] | Unset | None = UNSET,
        timeout_s: float | None = None,
    ) -> answers.IdentityAnswer:
        """Change the name, the metadata or the retention, or remove it by None; an argument not
        given stays.

        Args:
            metadata: replaces all metadata; at most 4096 bytes of JSON.
            expires_at, legal_basis: see `generate`; the latter replaces all of it.
        """
        retention = expires_at, legal_basis
        return self._ask(lambda: calls.describe(person, name, metadata, *retention, timeout_s))

    def delete(
        self, person: SupportsIndex, *, timeout_s: float | None = None
    ) -> answers.WriteAnswer:
        """Forget a person; see `erase` for what stays in the bucket."""
        return self._ask(lambda: calls.delete(person, timeout_s))

    def delete_all(self, *, timeout_s: float | None = None) -> answers.WriteAnswer:
        """Forget all people in the collection."""
        return self._ask(lambda: calls.delete_all(timeout_s))

    def erase(
        self, person: SupportsIndex, *, timeout_s: float | None = None
    ) -> answers.ErasureReceipt:
        """Forget a person for good: afterwards no object in the bucket holds the embeddings, of
        any model. It also works for a person who was deleted before."""
        return self._ask(lambda: calls.erase(person, timeout_s))

    def withdraw(
        self, person: SupportsIndex, *, timeout_s: float | None = None
    ) -> answers.ErasureReceipt:
        """The person has withdrawn the consent: `erase`. Should that fail, nobody is named as this
        person any more, and the maintenance erases the rest."""
        return self._ask(lambda: calls.withdraw(person, timeout_s))

    def merge(
        self,
        person: SupportsIndex,
        sources: Iterable[SupportsIndex],
        *,
        timeout_s: float | None = None,
    ) -> answers.IdentityAnswer:
        """Make several records one: ``sources`` become part of ``person``, and are gone.

        If the answer is lost, but the person is enrolled and all sources are gone, it counts as
        done.
        """
        merged = list(sources)
        try:
            return self._ask(lambda: calls.merge(person, merged, timeout_s))
        except ClientError as error:
            if not error.not_confirmed:
                raise
            lost = error
        try:
            answer = self.identity(person, timeout_s=timeout_s)
            if not any(self._is_enrolled(source, timeout_s) for source in merged):
                return answer
        except ClientError:
            pass
        raise lost

    def _is_enrolled(self, person: SupportsIndex, timeout_s: float | None) -> bool:
        try:
            self.identity(person, timeout_s=timeout_s)
        except ClientError as error:
            if error.type == UnknownIdentity.type:
                return False
            raise
        return True

    def photos(
        self, person: SupportsIndex, *, timeout_s: float | None = None
    ) -> answers.PhotosAnswer:
        """The enrolled photos of a person, and how alike each is to the others."""
        return self._ask(lambda: calls.photos(person, timeout_s))

    def move(
        self,
        person: SupportsIndex,
        photos: Iterable[str],
        to: SupportsIndex,
        *,
        timeout_s: float | None = None,
    ) -> answers.IdentityAnswer:
        """Move photos of a person to another one, who is the answer and may be new.

        Args:
            photos: ids, from `photos`; a person without photos is gone.
        """
        moved = list(photos)
        return self._ask(lambda: calls.move(person, moved, to, timeout_s))

    def distinct(
        self,
        person: SupportsIndex,
        others: Iterable[SupportsIndex],
        *,
        threshold: float | None = None,
        timeout_s: float | None = None,
    ) -> answers.IdentityAnswer:
        """None of ``others`` is this person: below a higher threshold such a pair is not proposed
        as duplicates again, and a face that is like both is not named.

        Args:
            threshold: that cosine; by default halfway between their similarity and 1.
        """
        known = list(others)
        return self._ask(lambda: calls.distinct(person, known, threshold, timeout_s))

    def same(
        self, person: SupportsIndex, other: SupportsIndex, *, timeout_s: float | None = None
    ) -> answers.IdentityAnswer:
        """Take `distinct` back: the two may be one person."""
        return self._ask(lambda: calls.same(person, other, timeout_s))

    def unmerge(
        self,
        person: SupportsIndex,
        sources: Iterable[SupportsIndex] = (),
        *,
        timeout_s: float | None = None,
    ) -> answers.UndoneAnswer:
        """Take people out again who were merged into ``person``, with the photos that they had.

        Args:
            sources: only these of a merge; by default all of the last one.
        """
        merged = list(sources)
        return self._ask(lambda: calls.unmerge(person, merged, timeout_s))

    def undo(
        self,
        person: SupportsIndex,
        *,
        version: SupportsIndex | None = None,
        timeout_s: float | None = None,
    ) -> answers.UndoneAnswer:
        """Undo a move or a merge of a person's photos, or an undo.

        Args:
            version: the gallery's, from the answer of what is to be undone; by default the last
                change of this person.
        """
        return self._ask(lambda: calls.undo(person, version, timeout_s))

    def add_embeddings(
        self,
        person: SupportsIndex,
        embeddings: Rows | Sequence[Sequence[float]],
        *,
        model: str,
        replace: bool = False,
        timeout_s: float | None = None,
    ) -> answers.IdentityAnswer:
        """Add embeddings (P, D) that were made elsewhere; enrols the person if need be.

        Args:
            model: id of the model that made them, which has to be the one that is served.
            replace: instead of those that are enrolled.
        """
        return self._ask(
            lambda: calls.add_embeddings(person, embeddings, model, replace, timeout_s)
        )

    def ready(self, *, timeout_s: float | None = None) -> answers.Ready:
        """What /readyz says, ready or not."""
        return self._ask(lambda: calls.ready(timeout_s))

    def health(self, *, timeout_s: float | None = None) -> answers.Health:
        """What /healthz says: that the service answers."""
        return self._ask(lambda: calls.health(timeout_s))

    def _ask(self, build: Callable[[], Call[A]]) -> A:
        call = build()
        attempts = Attempts(self._retry, self._clock)
        while True:
            try:
                return cast(A, self._exchange.read(call, self._send(call)))
            except Failed as failed:
                pause = attempts.pause(failed)
            self._sleep(pause)

    def _send(self, call: Call[Any]) -> httpx.Response:
        try:
            return self._http.request(**self._exchange.request(call))
        except httpx.RequestError as error:
            raise self._exchange.broken(call, error) from None
