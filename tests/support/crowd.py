"""Clients that identify one photo after the other, as many of them as are wanted at the time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.support.load import Answer, ask

# Longer than any limit of the service.
_PATIENCE_S = 90.0


class Crowd:
    """Each client waits for his answer before he asks again, and after a 503 as long as he is told.

    Attributes:
        answers: of all of them, in the order in which they came.
    """

    def __init__(self, client: httpx.Client, photo: bytes) -> None:
        self.answers: list[Answer] = []
        self._client = client
        self._photo = photo
        self._leave: list[threading.Event] = []
        self._threads: list[threading.Thread] = []

    def resize(self, clients: int) -> None:
        """Those who are too many leave when they have their answers."""
        while len(self._leave) > clients:
            self._leave.pop().set()
        while len(self._leave) < clients:
            leave = threading.Event()
            thread = threading.Thread(target=self._ask, args=(leave,))
            self._leave.append(leave)
            self._threads.append(thread)
            thread.start()

    def empty(self) -> None:
        """Nobody is there any more; returns when the last answer has come."""
        self.resize(0)
        for thread in self._threads:
            thread.join()

    def _ask(self, leave: threading.Event) -> None:
        wait = 0.0
        while not leave.wait(wait):
            answer = ask(self._client, "identify", self._photo)
            self.answers.append(answer)
            wait = answer.retry_after or 0.0


@contextmanager
def crowd(url: str, photo: bytes) -> Iterator[Crowd]:
    """Nobody at first."""
    # No client waits for another one's connection.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    with httpx.Client(base_url=url, timeout=_PATIENCE_S, limits=limits) as client:
        found = Crowd(client, photo)
        try:
            yield found
        finally:
            found.empty()
