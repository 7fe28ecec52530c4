"""Configuration files of the commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from serving.errors import InvalidInput
from serving.operations.config import Config
from serving.reading.spelling import problem_of
from serving.reading.strict import load_yaml
from serving.settings import AppArgs
from serving.stack.credentials import KEYS, credentials
from serving.stack.process import StackError


def read_config(path: Path) -> Config:
    """The arguments of the application in a serveConfigV2 document, and the keys of its bucket.

    The one-machine stack writes its S3 keys beside its document. Keys in the environment come
    first: credentials are None then, as they are without such a file.

    Raises:
        InvalidInput: it is no such document.
    """
    try:
        args = AppArgs.model_validate(_args_of(load_yaml(path.read_text(encoding="utf-8"))))
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise InvalidInput(f"{path} is no serveConfigV2 of this service: {_why(error)}") from None
    if "AWS_ACCESS_KEY_ID" in os.environ or not (path.parent / KEYS).is_file():
        return Config(args)
    return Config(args, credentials(path.parent))


def _args_of(document: Any) -> Any:
    """The arguments of the application. Raises ValueError: there are none."""
    if not isinstance(document, dict) or not isinstance(document.get("applications"), list):
        spec = document.get("spec") if isinstance(document, dict) else None
        if isinstance(spec, dict) and "serveConfigV2" in spec:
            raise ValueError("it is a RayService; give what stands in its spec.serveConfigV2")
        raise ValueError("it has no list `applications`")
    application = next(iter(document["applications"]), None)
    if not isinstance(application, dict) or "args" not in application:
        raise ValueError("its first application has no `args`")
    return application["args"]


def read_overrides(path: Path) -> dict[str, Any]:
    """Raises StackError when the file is no YAML of the application's settings."""
    try:
        overrides = load_yaml(path.read_text(encoding="utf-8")) or {}
        AppArgs.model_validate(overrides)
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise StackError(f"{path} holds no settings of the application: {_why(error)}") from None
    return dict(overrides)


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return problem_of(error, AppArgs, "the settings")
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8."
    if isinstance(error, yaml.MarkedYAMLError):
        return _misspelt(error)
    return str(error)


def _misspelt(error: yaml.MarkedYAMLError) -> str:
    """Where and why a text is no YAML, in one sentence: the parser's own has four lines, and names
    no file."""
    problem = " ".join(str(part) for part in (error.context, error.problem) if part)
    if r"'\t'" in problem:
        problem = "there is a tab where YAML takes blanks only"
    mark = error.problem_mark or error.context_mark
    return f"{problem}." if mark is None else f"line {mark.line + 1}: {problem}."
