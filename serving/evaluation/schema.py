"""The JSON Schema of a report, for programs that read it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from serving.evaluation.evaluate import SCHEMA, Report


def schema() -> dict[str, Any]:
    """The schema of `Report.to_json`."""
    made = TypeAdapter(Report).json_schema(mode="serialization")
    del made["$defs"]["DataFaults"]["properties"]["details"]  # never written: they name files
    made["properties"]["schema"] = {"const": SCHEMA}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "A report of faces evaluate",
        "description": f"{SCHEMA}. Terms: docs/evaluate.md.",
    }


def text() -> str:
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
