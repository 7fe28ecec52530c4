"""API keys: what each caller may do. Only their hashes are kept, in a file or in the environment.

    keys:
      - name: kiosk               # for the audit log, which never has the key itself
        hash: sha256:2bb80d53…    # of the key
        scopes: [identify]        # identify, enrol, admin; admin includes the others
        collections: [default]    # left out: all
        rate: 20                  # units of work a second on one ingress replica, an ordinary
                                  # request is one; left out: no limit

A key is 32 random bytes (`faces key new`), so one round of SHA-256 is enough: unlike a password, it
cannot be guessed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import secrets
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.errors import InvalidInput
from serving.settings import CollectionName, KeySettings

log = logging.getLogger(__name__)

ENVIRONMENT = "FACES_KEYS"
_PREFIX = "faces_"
_RELOAD_SECONDS = 1.0


class Scope(str, Enum):
    IDENTIFY = "identify"
    ENROL = "enrol"
    ADMIN = "admin"


class Key(BaseModel):
    """One caller's key: its hash, and what the caller may do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    hash: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    scopes: frozenset[Scope] = Field(min_length=1)
    collections: frozenset[CollectionName] | None = None
    rate: float | None = Field(None, ge=0.001, le=1e6, description="units of work a second")

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def may_use(self, collection: str) -> bool:
        return self.collections is None or collection in self.collections


class _KeyFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...]


def new_key() -> str:
    """A new random key, which cannot be guessed."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> str:
    """The hash of a key, as in the key file."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def parse(text: str) -> tuple[Key, ...]:
    """Parse the text of a key file, YAML or JSON.

    Raises:
        InvalidInput: it is no valid key file; the message does not repeat its content.
    """
    try:
        keys = _KeyFile.model_validate(yaml.safe_load(text)).keys
    except yaml.YAMLError:
        raise InvalidInput("The keys are no YAML.") from None
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors()[:3]
        )
        raise InvalidInput(f"The keys cannot be read: {problems}.") from None
    names = [key.name for key in keys]
    if len(set(names)) < len(names):
        raise InvalidInput(
            "Two keys have the same name, so the audit log could not tell who it was."
        )
    if len({key.hash for key in keys}) < len(keys):
        raise InvalidInput(
            "Two entries have the same hash, so it is not clear what the key may do."
        )
    return keys


class Keys:
    """The keys that are valid now; a changed file is read again.

    Args:
        environment: returns the value of ``FACES_KEYS`` where the settings name no file.
        clock: seconds, monotonic.

    Raises:
        InvalidInput: there are no keys, or they cannot be read.
    """

    def __init__(
        self,
        settings: KeySettings,
        environment: Callable[[str], str | None] = os.environ.get,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = None if settings.file is None else Path(settings.file)
        self._clock = clock
        self._read_at = clock()
        self._reloading = asyncio.Lock()
        if self._file is not None:
            self._text = self._read()
        else:
            text = environment(ENVIRONMENT)
            if text is None:
                raise InvalidInput(
                    f"Keys are required, but neither keys.file nor {ENVIRONMENT} names any."
                )
            self._text = text
        self._keys = parse(self._text)

    async def find(self, presented: str) -> Key | None:
        """The key, or None when there is no such key. Takes the same time for all wrong keys."""
        await self._reload()
        presented_hash = hash_of(presented)
        match = None
        for key in self._keys:
            if hmac.compare_digest(key.hash, presented_hash):
                match = key
        return match

    async def _reload(self) -> None:
        if self._file is None or self._clock() - self._read_at < _RELOAD_SECONDS:
            return
        async with self._reloading:
            if self._clock() - self._read_at < _RELOAD_SECONDS:
                return
            self._read_at = self._clock()
            try:
                text = await asyncio.to_thread(self._read)
                if text != self._text:
                    self._keys, self._text = parse(text), text
                    log.info("the keys were read again: %d", len(self._keys))
            except InvalidInput as error:
                # A mistake in the file must neither lock all callers out nor let any caller in.
                log.error("the former keys stay valid: %s", error)

    def _read(self) -> str:
        assert self._file is not None
        try:
            return self._file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"The keys in {self._file} cannot be read: {error}.") from None
