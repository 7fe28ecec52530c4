"""The keys of the one-machine stack's S3 server."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from serving.stack.process import write_private

KEYS = "s3-keys.json"


def credentials(folder: Path) -> dict[str, str]:
    """The server's keys as environment variables; made once, readable by the user alone."""
    path = folder / KEYS
    if not path.exists():
        keys = {
            "AWS_ACCESS_KEY_ID": f"faces{secrets.token_hex(8)}",
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(24),
        }
        write_private(path, json.dumps(keys))
    loaded: dict[str, str] = json.loads(path.read_text())
    return loaded
