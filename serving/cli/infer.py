"""The command `faces infer`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich import box
from rich.table import Table

from serving.cli.terminal import PATH, URL, Command, Failed, Integer, Number, client, plain
from serving.client.draw import draw, either_of, percent
from serving.operations.outcomes import NAMED, outcome_of


@click.command(cls=Command)
@click.argument("photo", type=PATH)
@click.option("--save", type=click.Path(path_type=Path), help="Draw boxes and names into a copy.")
@click.option("--json", "as_json", is_flag=True, help="Print the service's answer as it is.")
@click.option("--top-k", type=Integer(1, 100), help="Candidates for each face.")
@click.option("--threshold", type=Number(-1, 1), help="Cosine from which on a face is named.")
@URL
def infer(
    photo: Path,
    save: Path | None,
    as_json: bool,
    top_k: int | None,
    threshold: float | None,
    url: str,
) -> None:
    """Ask who is in PHOTO."""
    if save is not None and save.exists() and save.samefile(photo):
        raise Failed(f"{save} is the photo itself; --save needs another place for the copy.")
    answer = client(url).infer(photo, top_k=top_k, threshold=threshold)
    faces = answer["faces"]
    if save is not None:
        try:
            draw(photo, faces).save(save)
        except (OSError, ValueError) as error:
            raise Failed(f"{save} cannot be written: {error}.") from None
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    # In a narrow terminal names are broken, not cut off.
    table.add_column("id", no_wrap=True)
    table.add_column("name", min_width=8, overflow="fold")
    for header in ("similarity", "confidence", "box"):
        table.add_column(header, no_wrap=True)
    table.add_column("candidates", min_width=9, overflow="fold")
    for face in faces:
        outcome = outcome_of(face)
        # An older service reports neither the quality nor who else is as likely.
        poor = [r["reason"] for r in face["quality"]["reasons"]] if "quality" in face else []
        likely = face.get("ambiguous", [])
        # Nor an older one whether it is live.
        verdict = face.get("liveness")
        attack = [] if verdict is None or verdict["live"] else [verdict["reason"] or "not live"]
        candidates = [
            f"{c['id']} {c['similarity']:.2f} {percent(c['confidence'])}"
            for c in max(face["candidates"], likely, key=len)
        ]
        table.add_row(
            str(face["id"]) if outcome == NAMED else outcome,
            either_of(likely) if likely else face["name"],
            None if face["similarity"] is None else f"{face['similarity']:.2f}",
            None if face["confidence"] is None else percent(face["confidence"]),
            " ".join(str(v) for v in face["box"]),
            "\n".join(candidates) or "; ".join(attack or poor) or "nobody is enrolled",
        )
    plain().print(table if faces else "No face in this photo.")
    click.echo(f"{answer['model']}, gallery version {answer['gallery_version']}")
