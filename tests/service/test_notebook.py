"""The notebook runs from top to bottom, and tells the story that it says it tells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from nbclient import NotebookClient

from serving.stack.config import StackSettings

NOTEBOOK = Path(__file__).resolve().parents[2] / "client.ipynb"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def printed(notebook: Any, tag: str) -> str:
    """What the cell with this tag printed."""
    (cell,) = (c for c in notebook.cells if tag in c.metadata.get("tags", ()))
    return "".join(o.text for o in cell.outputs if o.output_type == "stream")


def tells_the_story(notebook: Any) -> None:
    assert printed(notebook, "stranger") == "unknown\n"
    assert re.fullmatch(r"25 photos in version \d+ of the gallery\n", printed(notebook, "enrolled"))
    assert re.fullmatch(r"Jacinda Ardern >?9\d%\n", printed(notebook, "recognised"))
    (line,) = printed(notebook, "group").splitlines()
    assert {re.sub(r" >?\d+%$", "", label) for label in line.split(", ")} == {
        "Jacinda Ardern",
        "Emmanuel Macron",
        "Barack Obama",
        "Eileen Collins",
    }
    assert printed(notebook, "two") == "the same person\n"
    assert printed(notebook, "erased") == "25 embeddings were removed\nunknown\n"


def test_it_runs(stack: StackSettings, api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACES_URL", stack.url)
    monkeypatch.delenv("FACES_KEY", raising=False)
    notebook = read()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    runner = NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    runner.execute()
    tells_the_story(notebook)
    (shown,) = (c for c in notebook.cells if "recognised" in c.metadata.get("tags", ()))
    (face,) = (o.data["text/plain"] for o in shown.outputs if o.output_type == "execute_result")
    assert "'id': 2576" in face
    assert api.get("/identities").json()["total"] == 0  # nobody is left behind


def test_what_is_committed_is_what_a_run_gave() -> None:
    notebook = read()
    tells_the_story(notebook)
    pictures = [
        o for c in notebook.cells for o in c.get("outputs", ()) if "image/jpeg" in o.get("data", {})
    ]
    assert len(pictures) == 4


def test_it_is_small_and_tells_nothing_of_where_it_ran() -> None:
    text = NOTEBOOK.read_text()
    assert len(text) < 300_000
    assert not re.search(r'"(/home|/root|/tmp|/work|/Users)|Traceback|Warning', text)
    assert read().metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
