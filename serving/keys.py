"""API keys: what each caller may do. Only their hashes are kept, in a file or in the environment;
`serving.valid_keys` follows it.

    keys:
      - name: kiosk               # for the audit log, which never has the key itself
        hash: sha256:2bb80d53…    # of the key
        scopes: [identify]        # identify, enrol, audit, admin; admin includes the others
        collections: [default]    # left out: all; []: none
        rate: 20                  # units of work a second on one ingress replica, an ordinary
                                  # request is one; left out: no limit
        expires: 2027-01-31T00:00:00Z   # with a time zone; left out: never

An entry that is wrong is dropped, and the others count: a slip in one entry must neither keep a
key valid that was taken out, nor lock out the callers of the others. A field without a value is
wrong: what was to limit the key would else limit nothing.

A key is 32 random bytes (`faces key new`), so one round of SHA-256 is enough: unlike a password, it
cannot be guessed.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from serving.errors import InvalidInput
from serving.reading.names import name_problem
from serving.reading.spelling import problem_of, shown
from serving.reading.strict import Broken, Twice, load_entries
from serving.settings import CollectionName
from serving.written import Given, Written

# An optional field of the file. It is read and not written yet, so that the release before this one
# reads every file of `faces key new`.
FORMAT = "faces-keys/1"
_PREFIX = "faces_"


def _a_date_and_time(value: object, read: ValidatorFunctionWrapHandler) -> object:
    # Pydantic would take a number for seconds since 1970.
    if not isinstance(value, datetime) and not (isinstance(value, str) and _TIME.match(value)):
        raise ValueError(_NO_TIME)
    try:
        return read(value)
    except ValidationError:
        raise ValueError(_NO_TIME) from None


def _a_name(name: str) -> str:
    if (problem := name_problem(name)) is not None:
        raise ValueError(problem)
    return name


_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]")
_NO_TIME = "should be a date and a time that exist, with a time zone, as 2027-01-31T00:00:00Z"
Expiry = Annotated[AwareDatetime, WrapValidator(_a_date_and_time)]
_Rate = Annotated[float, Field(strict=True, ge=0.001, le=1e6)]


class Scope(str, Enum):
    IDENTIFY = "identify"
    ENROL = "enrol"
    AUDIT = "audit"
    ADMIN = "admin"


class Key(BaseModel):
    """One caller's key: its hash, and what the caller may do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(_a_name)] = Field(min_length=1, max_length=100)
    hash: Annotated[
        str,
        Written(
            r"^sha256:[0-9a-f]{64}$",
            "should be sha256: and 64 hexadecimal digits in small letters, as `faces key new` "
            "writes it; never the key itself",
        ),
    ]
    scopes: frozenset[Scope] = Field(min_length=1)
    collections: Annotated[frozenset[CollectionName] | None, Given()] = None
    rate: Annotated[_Rate | None, Given()] = Field(None, description="units of work a second")
    expires: Annotated[Expiry | None, Given()] = None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def may_use(self, collection: str) -> bool:
        return self.collections is None or collection in self.collections


@dataclass(frozen=True)
class KeyFile:
    """The content of a key file.

    Attributes:
        keys: the entries that are right.
        problems: what is wrong with the others, a sentence each, without their content.
    """

    keys: tuple[Key, ...]
    problems: tuple[str, ...]


def new_key() -> str:
    """A new random key, which cannot be guessed."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> str:
    """The hash of a key, as in the key file."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def read(text: str) -> KeyFile:
    """Read the text of a key file, YAML or JSON, as far as it is right.

    Raises:
        InvalidInput: as a whole it is no key file; the message does not repeat its content.
    """
    document = _document(text)
    entries, problems = document.pop("keys"), []
    if document.pop("format", FORMAT) != FORMAT:
        raise InvalidInput(
            f"The keys were written by a newer version: the format is not {FORMAT}. Upgrade."
        )
    if document:
        problems.append(f"the file: it has fields that are not known: {_names(document)}")
    # Those of wrong entries count, too: which of two was meant nobody knows.
    names, hashes = (
        Counter(text for entry in entries for text in _texts_of(entry, field))
        for field in ("name", "hash")
    )
    keys = []
    for number, entry in enumerate(entries, 1):
        key = _key_of(entry)
        if not isinstance(key, Key):
            problem = key
        elif names[key.name] > 1:
            problem = "another entry has the same name, so the audit log could not tell them"
        elif hashes[key.hash] > 1:
            problem = "another entry has the same hash, so it is not clear what the key may do"
        else:
            keys.append(key)
            continue
        named = "".join(f" ({name[:40]!r})" for name in sorted(_texts_of(entry, "name")))
        problems.append(f"entry {number}{named}: {problem}")
    return KeyFile(tuple(keys), tuple(problems))


def _key_of(entry: object) -> Key | str:
    """The key of an entry, or what is wrong with the entry by itself."""
    if isinstance(entry, Broken):
        return entry.problem
    try:
        return Key.model_validate(entry)
    except ValidationError as error:
        return problem_of(error, Key, "a key").removesuffix(".")


def parse(text: str) -> tuple[Key, ...]:
    """The keys of a key file in which nothing is wrong.

    Raises:
        InvalidInput: something is; the message does not repeat the content.
    """
    content = read(text)
    if content.problems:
        raise InvalidInput(f"The keys cannot be read: {'; '.join(content.problems[:3])}.")
    return content.keys


def _document(text: str) -> dict[Any, Any]:
    try:
        document = load_entries(text, "keys")
    except Twice as error:
        raise InvalidInput(f"The keys cannot be read: {shown(str(error))}.") from None
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        where = "" if at is None else f" (line {at.line + 1})"
        raise InvalidInput(f"The keys are no YAML{where}.") from None
    except Exception:  # besides YAMLError whatever comes out of a malformed date, number or tag
        raise InvalidInput("The keys are no YAML.") from None
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise InvalidInput("The keys cannot be read: there is no list `keys`.")
    return document


def _texts_of(entry: object, field: str) -> set[str]:
    """What an entry has for a field: one text, but for a `Broken` one that has it twice."""
    if isinstance(entry, Broken):
        return {text for name, text in entry.texts if name == field}
    value = entry.get(field) if isinstance(entry, dict) else None
    return {value} if isinstance(value, str) else set()


def _names(fields: dict[Any, Any]) -> str:
    return ", ".join(str(name)[:40] for name in list(fields)[:3])
