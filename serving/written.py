"""Texts of one form in settings and keys, with a sentence for those that have another."""

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
