"""The client for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
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


class AsyncClient:
    """`Client` for asyncio: the same methods with the same arguments, to be awaited.

    Photos are read and encoded in threads, so the event loop stays free.
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
        http: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(http, httpx.AsyncClient | None):
            raise TypeError(f"http is a httpx.AsyncClient, not {type(http).__name__}.")
        if not isinstance(retry, Retry | None):
            raise TypeError(f"retry is a Retry, not {type(retry).__name__}.")
        self._own = http is None
        self._exchange = Exchange(
            url, collection, key, timeout_s, plain_http=plain_http, proxied=self._own
        )
        self._retry = retry or Retry()
        with address.proxies():
            self._http = http or httpx.AsyncClient()
        self._sleep = sleep
        self._clock = clock

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._own:
            await self._http.aclose()

    async def infer(
        self,
        photo: Photo,
        *,
        top_k: int | None = None,
        threshold: float | None = None,
        max_faces: int | None = None,
        timeout_s: float | None = None,
    ) -> answers.InferAnswer:
        """See `Client.infer`."""
        return await self._ask(lambda: calls.infer(photo, top_k, threshold, max_faces, timeout_s))

    async def infer_stream(
        self,
        photos: Iterable[Photo],
        *,
        top_k: int | None = None,
        threshold: float | None = None,
        max_faces: int | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[answers.InferAnswer | ClientError]:
        """See `Client.infer_stream`."""
        options = (top_k, threshold, max_faces, timeout_s)
        few = batches(photos)
        while (batch := await asyncio.to_thread(next, few, None)) is not None:
            files = [file for file in batch if isinstance(file, File)]
            build = partial(calls.infer_stream, files, *options)
            found = await self._ask(build) if files else []
            answered = iter(found)
            for file in batch:
                yield file if isinstance(file, ClientError) else next(answered)

    async def detect(
        self, photo: Photo, *, max_faces: int | None = None, timeout_s: float | None = None
    ) -> answers.DetectAnswer:
        """See `Client.detect`."""
        return await self._ask(lambda: calls.detect(photo, max_faces, timeout_s))

    async def verify(
        self,
        photo_a: Photo,
        photo_b: Photo,
        *,
        threshold: float | None = None,
        timeout_s: float | None = None,
    ) -> answers.VerifyAnswer:
        """See `Client.verify`."""
        return await self._ask(lambda: calls.verify(photo_a, photo_b, threshold, timeout_s))

    async def generate(
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
        """See `Client.generate`."""
        retention = expires_at, legal_basis
        return await self._ask(
            lambda: calls.generate(person, photos, name, append, force, *retention, timeout_s)
        )

    enrol = generate

    async def identities(
        self,
        *,
        page_size: int = 1000,
        expires_before: Time | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[answers.Identity]:
        """See `Client.identities`."""
        cursor: int | None = None
        while True:
            page = await self._ask(
                partial(calls.page, page_size, cursor, expires_before, timeout_s)
            )
            for identity in page["identities"]:
                yield identity
            cursor = page["next"]
            if cursor is None:
                return

    async def duplicates(
        self,
        *,
        threshold: float | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[answers.DuplicateBody]:
        """See `Client.duplicates`."""
        cursor: int | None = None
        while True:
            page = await self._ask(partial(calls.duplicates, cursor, threshold, timeout_s))
            for pair in page["duplicates"]:
                yield pair
            cursor = page["next"]
            if cursor is None:
                return

    async def audit(
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
    ) -> AsyncIterator[dict[str, Any]]:
        """See `Client.audit`."""
        of = (since, until, key, person, action, request_id)
        cursor: str | None = None
        while True:
            page = await self._ask(partial(calls.audit, page_size, cursor, *of, timeout_s))
            for one in page["records"]:
                yield one
            cursor = page["next"]
            if cursor is None:
                return

    async def audit_chains(
        self, *, days: int = 7, timeout_s: float | None = None
    ) -> AsyncIterator[answers.ChainBody]:
        """See `Client.audit_chains`."""
        cursor: str | None = None
        while True:
            page = await self._ask(partial(calls.audit_chains, days, cursor, timeout_s))
            for one in page["chains"]:
                yield one
            cursor = page["next"]
            if cursor is None:
                return

    async def identity(
        self, person: SupportsIndex, *, timeout_s: float | None = None
    ) -> answers.IdentityAnswer:
        """See `Client.identity`."""
        return await self._ask(lambda: calls.identity(person, timeout_s))

    async def describe(
        self,
        person: SupportsIndex,
        *,
        name: str | Unset | None = UNSET,
        metadata: Mapping[str, Any] | Unset | None = UNSET,
        expires_at: Time | Unset | None = UNSET,
        legal_basis: Mapping[str, Any] | Unset | None = UNSET,
        timeout_s: float | None = None,
    ) -> answers.IdentityAnswer:
        """See `Client.describe`."""
        retention = expires_at, legal_basis
        return await self._ask(
            lambda: calls.describe(person, name, metadata, *retention, timeout_s)
        )

    async def delete(
        self, person: SupportsIndex, *, timeout_s: float | None = None
    ) -> answers.WriteAnswer:
        """See `Client.delete`."""
        return await self._ask(lambda: calls.delete(person, timeout_s))

    async def delete_all(self, *, timeout_s: float | None = None) -> answers.WriteAnswer:
        """See `Client.delete_all`."""
        return await self._ask(lambda: calls.delete_all(timeout_s))

    async def erase(
        self, person: SupportsIndex, *, timeout_s: float | None = None
    ) -> answers.ErasureReceipt:
        """See `Client.erase`."""
        return await self._ask(lambda: calls.erase(person, timeout_s))

    async def withdraw(
        self, person: SupportsIndex, *, timeout_s: float | None = None
    ) -> answers.ErasureReceipt:
        """See `Client.withdraw`."""
        return await self._ask(lambda: calls.withdraw(person, timeout_s))

    async def merge(
        self,
        person: SupportsIndex,
        sources: Iterable[SupportsIndex],
        *,
        timeout_s: float | None = None,
    ) -> answers.IdentityAnswer:
        """See `Client.merge`."""
        merged = list(sources)
        try:
            return await self._ask(lambda: calls.merge(person, merged, timeout_s))
        except ClientError as error:
            if not error.not_confirmed:
                raise
            lost = error
        try:
            answer = await self.identity(person, timeout_s=timeout_s)
            if not any([await self._is_enrolled(source, timeout_s) for source in merged]):
                return answer
        except ClientError:
            pass
        raise lost

    async def _is_enrolled(self, person: SupportsIndex, timeout_s: float | None) -> bool:
        try:
            await self.identity(person, timeout_s=timeout_s)
        except ClientError as error:
            if error.type == UnknownIdentity.type:
                return False
            raise
        return True

    async def photos(
        self, person: SupportsIndex, *, timeout_s: float | None = None
    ) -> answers.PhotosAnswer:
        """See `Client.photos`."""
        return await self._ask(lambda: calls.photos(person, timeout_s))

    async def move(
        self,
        person: SupportsIndex,
        photos: Iterable[str],
        to: SupportsIndex,
        *,
        timeout_s: float | None = None,
    ) -> answers.IdentityAnswer:
        """See `Client.move`."""
        moved = list(photos)
        return await self._ask(lambda: calls.move(person, moved, to, timeout_s))

    async def distinct(
        self,
        person: SupportsIndex,
        others: Iterable[SupportsIndex],
        *,
        threshold: float | None = None,
        timeout_s: float | None = None,
    ) -> answers.IdentityAnswer:
        """See `Client.distinct`."""
        known = list(others)
        return await self._ask(lambda: calls.distinct(person, known, threshold, timeout_s))

    async def same(
        self, person: SupportsIndex, other: SupportsIndex, *, timeout_s: float | None = None
    ) -> answers.IdentityAnswer:
        """See `Client.same`."""
        return await self._ask(lambda: calls.same(person, other, timeout_s))

    async def unmerge(
        self,
        person: SupportsIndex,
        sources: Iterable[SupportsIndex] = (),
        *,
        timeout_s: float | None = None,
    ) -> answers.UndoneAnswer:
        """See `Client.unmerge`."""
        merged = list(sources)
        return await self._ask(lambda: calls.unmerge(person, merged, timeout_s))

    async def undo(
        self,
        person: SupportsIndex,
        *,
        version: SupportsIndex | None = None,
        timeout_s: float | None = None,
    ) -> answers.UndoneAnswer:
        """See `Client.undo`."""
        return await self._ask(lambda: calls.undo(person, version, timeout_s))

    async def add_embeddings(
        self,
        person: SupportsIndex,
        embeddings: Rows | Sequence[Sequence[float]],
        *,
        model: str,
        replace: bool = False,
        timeout_s: float | None = None,
    ) -> answers.IdentityAnswer:
        """See `Client.add_embeddings`."""
        return await self._ask(
            lambda: calls.add_embeddings(person, embeddings, model, replace, timeout_s)
        )

    async def ready(self, *, timeout_s: float | None = None) -> answers.Ready:
        """See `Client.ready`."""
        return await self._ask(lambda: calls.ready(timeout_s))

    async def health(self, *, timeout_s: float | None = None) -> answers.Health:
        """See `Client.health`."""
        return await self._ask(lambda: calls.health(timeout_s))

    async def _ask(self, build: Callable[[], Call[A]]) -> A:
        call = await asyncio.to_thread(build)
        attempts = Attempts(self._retry, self._clock)
        while True:
            try:
                return cast(A, self._exchange.read(call, await self._send(call)))
            except Failed as failed:
                pause = attempts.pause(failed)
            await self._sleep(pause)

    async def _send(self, call: Call[Any]) -> httpx.Response:
        try:
            return await self._http.request(**self._exchange.request(call))
        except httpx.RequestError as error:
            raise self._exchange.broken(call, error) from None
