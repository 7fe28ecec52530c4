"""Prints the bytes of anonymous memory of all processes of a container; runs in it."""

from __future__ import annotations

from pathlib import Path

_KIB = 1024

total = 0
for status in Path("/proc").glob("[0-9]*/status"):
    try:
        lines = status.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        continue
    total += sum(int(line.split()[1]) * _KIB for line in lines if line.startswith("RssAnon:"))
print(total)
