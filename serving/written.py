"""Texts of one form, and fields that have a value, in settings and keys; with a sentence for
others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class Written:
    """Annotates a text that a pattern has to match as a whole.

    Pydantic's own error would show people the regular expression.

    Attributes:
        pattern: a regular expression, which the JSON schema has too.
        sentence: what the text is, for people; it begins with a small letter.
    """

    pattern: str
    sentence: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}

    def _checked(self, text: str) -> str:
        # A $ would also match before a line end.
        if re.fullmatch(self.pattern.removesuffix("$"), text) is None:
            raise ValueError(self.sentence)
        return text


class Given:
    """Annotates an optional field, ``X | None``, that is left out or has a value.

    An empty one (null) is refused: it may be a value that got lost, and would count as no limit.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        written = handler(schema)
        (value,) = (one for one in written["anyOf"] if one != {"type": "null"})
        return dict(value)

    def _checked(self, value: object) -> object:
        if value is None:
            raise ValueError("it is empty: give it a value, or leave the line out")
        return value
