"""Patience with an object store: a job waits for one that throttles, or is away for a while."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from serving.gallery.store import (
    DescribedStore,
    Entry,
    NotFound,
    ObjectInfo,
    PreconditionFailed,
    StoreAway,
    StoreBusy,
    StoredObject,
)

T = TypeVar("T")

_LONGEST_S = 8.0
# Of an object that is not given out while the store lists others: some 20 s with their pauses.
_TRIES = 5


class Patience:
    """What the threads of a run share: they wait together for the store, so that it is asked once
    after each pause and not by each of them, and all of them give up at the same moment.

    A store that has never answered is not waited for, since a wrong address is no store that will
    be back; one that throttles has answered.

    Args:
        most_s: how long the store may be away.
        say: called with a sentence when the waiting begins.
        sleep: may raise, to end the waiting.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        most_s: float,
        say: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_s = most_s
        self._say = say
        self._sleep = sleep
        self._clock = clock
        self._state = threading.Lock()
        self._turn = threading.Lock()
        self._known = False
        self._since: float | None = None  # without any answer
        self._pauses = 0
        self._said: float | None = None

    def ask(self, call: Callable[[], T], answers_others: Callable[[], bool] | None = None) -> T:
        """The answer of a call, which is made again while the store is away.

        Args:
            answers_others: asks the store for something else. Given, the call is given up after a
                few tries if the store does answer that.

        Raises:
            StoreAway: the store is away for too long.
        """
        try:
            return self._answer(call)
        except StoreAway as error:
            if not (self._known or isinstance(error, StoreBusy)):
                raise
            self._failed(error)
            return self._again(call, error, answers_others)

    def _again(
        self, call: Callable[[], T], error: StoreAway, answers_others: Callable[[], bool] | None
    ) -> T:
        begun, tries = self._clock(), 0
        while True:
            with self._turn:
                self._pause(begun, error)
                try:
                    return self._answer(call)
                except StoreAway as again:
                    error = again
                    if answers_others and not isinstance(error, StoreBusy) and answers_others():
                        tries += 1
                        if tries == _TRIES:
                            raise
                    self._failed(error)

    def _answer(self, call: Callable[[], T]) -> T:
        try:
            answer = call()
        except (NotFound, PreconditionFailed):
            self._answered()
            raise
        self._answered()
        return answer

    def _answered(self) -> None:
        with self._state:
            self._known, self._since, self._pauses = True, None, 0

    def _failed(self, error: StoreAway) -> None:
        now = self._clock()
        with self._state:
            if self._since is not None:
                return
            self._since = now
            # Some requests of many may be throttled for hours.
            quiet = self._said is not None and now - self._said < self._most_s
            if not quiet:
                self._said = now
        if not quiet:
            self._say(f"{error} It is waited for, {self._most_s:g} s at most.")

    def _pause(self, begun: float, error: StoreAway) -> None:
        with self._state:
            if self._since is None:
                return  # it has answered another thread meanwhile
            left = self._most_s - (self._clock() - min(begun, self._since))
            if left <= 0:
                raise error
            # Other runs wait for it, too.
            pause = min(left, random.uniform(0.75, 1) * min(_LONGEST_S, 2.0**self._pauses))
            self._pauses += 1
        self._sleep(pause)


class PatientStore:
    """A store whose requests wait; see `serving.gallery.store.DescribedStore` and `Patience`.

    A conditional write is made again like any other request. Its PreconditionFailed may come from
    its own first try, whose reply was lost: only reading shows.

    Args:
        prefix: is listed to find out whether the store answers.
    """

    def __init__(self, store: DescribedStore, prefix: str, patience: Patience) -> None:
        self._store = store
        self._prefix = prefix
        self._patience = patience

    def get(self, key: str) -> StoredObject:
        return self._patience.ask(lambda: self._store.get(key), self._lists)

    def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        return self._patience.ask(lambda: self._store.get_if_changed(key, etag), self._lists)

    def head(self, key: str) -> ObjectInfo:
        return self._patience.ask(lambda: self._store.head(key), self._lists)

    def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        return self._patience.ask(
            lambda: self._store.put(key, data, if_match=if_match, if_absent=if_absent)
        )

    def put_described(
        self,
        key: str,
        data: bytes,
        metadata: Mapping[str, str],
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> str:
        return self._patience.ask(
            lambda: self._store.put_described(
                key, data, metadata, if_match=if_match, if_absent=if_absent
            )
        )

    def put_locked(self, key: str, data: bytes, mode: str, until: datetime) -> str:
        return self._patience.ask(lambda: self._store.put_locked(key, data, mode, until))

    def delete(self, key: str) -> None:
        self._patience.ask(lambda: self._store.delete(key))

    def purge(self, key: str) -> None:
        self._patience.ask(lambda: self._store.purge(key))

    def list(self, prefix: str) -> Iterator[Entry]:
        yield from self._patience.ask(lambda: [*self._store.list(prefix)])

    def page(self, prefix: str, after: str = "") -> Sequence[Entry]:
        return self._patience.ask(lambda: self._store.page(prefix, after))

    def _lists(self) -> bool:
        try:
            self._store.page(self._prefix)
        except StoreAway:
            return False
        return True
