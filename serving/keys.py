"""API keys: who may do what. Only their hashes are kept, in a file or in the environment.

    keys:
      - name: kiosk               # told in the audit log, never the key itself
        hash: sha256:2bb80d53…    # of the key
        scopes: [identify]        # identify, enrol, admin; admin may do all
        collections: [default]    # left out: all
        rate: 20                  # requests a second on one ingress replica; left out: no limit

A key is 32 random bytes (`faces key new`), so one round of SHA-256 is enough: there is nothing to
guess as there is with a password.
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
_LOOK_SECONDS = 1.0


class Scope(str, Enum):
    IDENTIFY = "identify"
    ENROL = "enrol"
    ADMIN = "admin"


class Key(BaseModel):
    """One caller and what he may do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    hash: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    scopes: frozenset[Scope] = Field(min_length=1)
    collections: frozenset[CollectionName] | None = None
    rate: float | None = Field(None, ge=0.001, le=1e6, description="requests a second")

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def may_use(self, collection: str) -> bool:
        return self.collections is None or collection in self.collections


class _KeyFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...]


def new_key() -> str:
    """A key that nobody can guess."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> str:
    """As the key file has it."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def parse(text: str) -> tuple[Key, ...]:
    """The keys of a file, YAML or JSON.

    Raises:
        InvalidInput: it is no such file; the sentence does not repeat what is in it.
    """
    try:
        keys = _KeyFile.model_validate(yaml.safe_load(text)).keys
    except yaml.YAMLError:
        raise InvalidInput("The keys are no YAML.") from None
    except ValidationError as error:
        places = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors()[:3]
        )
        raise InvalidInput(f"The keys cannot be read: {places}.") from None
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
    """The keys that are valid now; a file is read again when it has changed.

    Args:
        environment: is asked for ``FACES_KEYS`` where the settings name no file.
        clock: seconds, monotonic.

    Raises:
        InvalidInput: there are none, or they cannot be read.
    """

    def __init__(
        self,
        settings: KeySettings,
        environment: Callable[[str], str | None] = os.environ.get,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = None if settings.file is None else Path(settings.file)
        self._clock = clock
        self._looked = clock()
        self._looking = asyncio.Lock()
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
        """The key, or None when there is no such key. Takes as long for any that is wrong."""
        await self._look_again()
        wanted = hash_of(presented)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.hash, wanted):
                found = key
        return found

    async def _look_again(self) -> None:
        if self._file is None or self._clock() - self._looked < _LOOK_SECONDS:
            return
        async with self._looking:
            if self._clock() - self._looked < _LOOK_SECONDS:
                return
            self._looked = self._clock()
            try:
                text = await asyncio.to_thread(self._read)
                if text != self._text:
                    self._keys, self._text = parse(text), text
                    log.info("the keys were read again: %d", len(self._keys))
            except InvalidInput as error:
                # A mistake in the file must neither lock everybody out nor let anybody in.
                log.error("the former keys stay valid: %s", error)

    def _read(self) -> str:
        assert self._file is not None
        try:
            return self._file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"The keys in {self._file} cannot be read: {error}.") from None
