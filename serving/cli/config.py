"""Configuration files of the commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from serving.errors import InvalidInput
from serving.settings import AppArgs
from serving.stack.credentials import KEYS, credentials
from serving.stack.process import StackError


def read_config(path: Path) -> AppArgs:
    """The arguments of the application in a serveConfigV2 document.

    Where the one-machine stack wrote it, its S3 keys lie beside it; the environment's come first.

    Raises:
        InvalidInput: it is no such document.
    """
    try:
        document = yaml.safe_load(path.read_text())
        args = AppArgs.model_validate(document["applications"][0]["args"])
    except (OSError, yaml.YAMLError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InvalidInput(f"{path} is no serveConfigV2 of this service: {error}") from None
    if (path.parent / KEYS).is_file() and "AWS_ACCESS_KEY_ID" not in os.environ:
        os.environ.update(credentials(path.parent))
    return args


def read_overrides(path: Path) -> dict[str, Any]:
    """Raises StackError when the file is no YAML of the application's settings."""
    try:
        overrides = yaml.safe_load(path.read_text()) or {}
        AppArgs.model_validate(overrides)
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise StackError(f"{path} holds no settings of the application: {error}") from None
    return dict(overrides)
