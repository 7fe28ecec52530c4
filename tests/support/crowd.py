"""A crowd of clients that identify photos in a loop; their number can change at any time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.support.load import Answer, ask

# Longer than any limit of the service.
_PATIENCE_S = 90.0


class Crowd:
    """Each client waits for its answer before the next request, and after a 503 for Retry-After.

    Attributes:
        answers: of all clients, in the order of arrival.
    """

    def __init__(self, client: httpx.Client, photo: bytes) -> None:
        self.answers: list[Answer] = []
        self._client = client
        self._photo = photo
        self._leave: list[threading.Event] = []
        self._threads: list[threading.Thread] = []

    def resize(self, clients: int) -> None:
        """Change the number of clients; surplus ones leave after their current answer."""
        while len(self._leave) > clients:
            self._leave.pop().set()
        while len(self._leave) < clients:
            leave = threading.Event()
            thread = threading.Thread(target=self._ask, args=(leave,))
            self._leave.append(leave)
            self._threads.append(thread)
            thread.start()

    def empty(self) -> None:
        """Remove all clients; returns after the last answer."""
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
    """A crowd without clients at first."""
    # No client waits for the connection of another.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    with httpx.Client(base_url=url, timeout=_PATIENCE_S, limits=limits) as client:
        clients = Crowd(client, photo)
        try:
            yield clients
        finally:
            clients.empty()
