"""The API keys that are valid now: follows the key file while the service runs.

A key whose hash is not in the file is refused from the next look on, whatever else is wrong with
the file. A file that is gone, or cannot be read as a whole, withdraws all keys after a grace, in
which those stay valid whose hash can still be found in it.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from serving.errors import InvalidInput
from serving.keys import Key, KeyFile, hash_of, read
from serving.settings import KeySettings

log = logging.getLogger(__name__)

ENVIRONMENT = "FACES_KEYS"
# Long enough for a file that is being exchanged.
GRACE_SECONDS = 60.0
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class _Look:
    """One reading of the file.

    Attributes:
        text: None: it is not there, or not readable.
        content: None: it is no key file as a whole.
        problem: a sentence, for the log.
    """

    text: str | None
    content: KeyFile | None
    problem: str | None


class Keys:
    """The keys that are valid now; a changed file is read again.

    Args:
        environment: returns the value of ``FACES_KEYS`` where the settings name no file.
        clock: seconds, monotonic.
        now: the date and time, by which keys expire.

    Raises:
        InvalidInput: there are no keys, or they cannot be read as a whole.
    """

    def __init__(
        self,
        settings: KeySettings,
        environment: Callable[[str], str | None] = os.environ.get,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._file = None if settings.file is None else Path(settings.file)
        self._clock = clock
        self._now = now
        self._looked_at = clock()
        self._looking = asyncio.Lock()
        self._unreadable_since: float | None = None
        if self._file is not None:
            self._look = _read_file(self._file, None)
        else:
            text = environment(ENVIRONMENT)
            if text is None:
                raise InvalidInput(
                    f"Keys are required, but neither keys.file nor {ENVIRONMENT} names any."
                )
            self._look = _read_text(text)
        if self._look.content is None:
            raise InvalidInput(str(self._look.problem))
        self._keys = self._look.content.keys
        if self._look.problem is not None:
            log.error("%s", self._look.problem)

    @property
    def problem(self) -> str | None:
        """What is wrong with the keys, in a sentence that names none of them; None: nothing."""
        look = self._look
        if look.content is None:
            left = f"become invalid {GRACE_SECONDS:g} s after that" if self._keys else "are invalid"
            return f"The key file cannot be read, and its keys {left}. The log says why."
        if look.content.problems:
            return "Something in the keys is wrong and does not count. The log says what."
        return None

    async def find(self, presented: str) -> Key | None:
        """The key, or None when there is no such key, or it has expired. Takes the same time for
        all wrong keys."""
        await self.look()
        presented_hash = hash_of(presented)
        match = None
        for key in self._keys:
            if hmac.compare_digest(key.hash, presented_hash):
                match = key
        if match is not None and match.expires is not None and match.expires <= self._now():
            return None
        return match

    async def look(self) -> None:
        """Read the file again, unless that was done within the last second. Callers at the same
        time wait for one reading."""
        if self._file is None or self._is_fresh():
            return
        async with self._looking:
            if self._is_fresh():
                return
            began = self._clock()
            self._take(await asyncio.to_thread(_read_file, self._file, self._look))
            self._looked_at = began

    def _is_fresh(self) -> bool:
        return self._clock() - self._looked_at < _LOOK_SECONDS

    def _take(self, look: _Look) -> None:
        if look.content is not None:
            self._unreadable_since = None
            self._keys = look.content.keys
        else:
            now = self._clock()
            if self._unreadable_since is None:
                self._unreadable_since = now
            if now - self._unreadable_since >= GRACE_SECONDS:
                self._keys = ()
            elif look.text is not None:
                # What was taken out of the file is withdrawn, however the rest of it looks.
                self._keys = tuple(key for key in self._keys if key.hash in look.text)
        if look is not self._look:
            if look.problem is not None and look.problem != self._look.problem:
                log.error("%s", look.problem)
            elif look.problem is None:
                log.info("the keys were read again: %d", len(self._keys))
        self._look = look


def _read_file(file: Path, last: _Look | None) -> _Look:
    """Read the file; ``last`` again when it has not changed."""
    try:
        # No bytes of another encoding are YAML, but a hash among them is still found.
        text = file.read_bytes().decode(errors="surrogateescape")
    except OSError as error:
        return _Look(None, None, f"The keys in {file} cannot be read: {error.strerror}.")
    return last if last is not None and last.text == text else _read_text(text)


def _read_text(text: str) -> _Look:
    try:
        content = read(text)
    except InvalidInput as error:
        return _Look(text, None, str(error))
    problem = None
    if content.problems:
        problem = f"Some keys do not count: {'; '.join(content.problems)}."
    return _Look(text, content, problem)
