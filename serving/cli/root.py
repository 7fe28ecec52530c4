"""The command `faces`. Exit codes: 0 done, 1 failed (a sentence says why), 2 wrong usage."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from serving import __version__
from serving.cli import model as model_cli
from serving.cli.calibrate import calibrate_command
from serving.cli.config import read_overrides
from serving.cli.enroll import batches, conflict_lines
from serving.cli.evaluate import evaluate_command
from serving.cli.gallery import upkeep
from serving.cli.gallery.group import gallery
from serving.cli.gallery.migrate import migrate_command
from serving.cli.key import key
from serving.cli.terminal import PATH, Failed, plain, progress_bar
from serving.client import Client, ClientError
from serving.client.draw import draw, percent
from serving.errors import NoUsableFace, ServingError
from serving.model.repository import ModelError
from serving.operations.folders import NotPeople, PersonFolder, people_in
from serving.stack.config import StackSettings
from serving.stack.process import StackError
from serving.stack.run import running

_URL = click.option(
    "--url",
    default="http://127.0.0.1:8000",
    show_default=True,
    envvar="FACES_URL",
    help="Address of the service.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Identify faces: run the service, enrol people, ask who is in a photo."""


def main() -> None:
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s: %(message)s")
    try:
        cli()
    except (ClientError, ServingError, StackError, NotPeople, ModelError) as error:
        Failed(str(error)).show()
        raise SystemExit(1) from None


@cli.command()
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(1024, 65_000),
    help="Of HTTP; others follow it.",
)
@click.option("--model", default="facenet-casia-webface", show_default=True)
@click.option(
    "--folder",
    default=Path(".run"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Data, keys and logs; what was enrolled stays there.",
)
@click.option(
    "--args",
    type=PATH,
    help="A YAML file with settings of the application to lay over the defaults.",
)
def up(port: int, model: str, folder: Path, args: Path | None) -> None:
    """Run the whole service on this machine until Ctrl-C."""
    console = Console(highlight=False)
    stopping = threading.Event()

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if not stopping.is_set():  # once: a second one must not break off the stopping
            stopping.set()
            console.print("Stopping …")
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    overrides = read_overrides(args) if args else {}
    settings = StackSettings(folder=folder, port=port, model=model, overrides=overrides)
    start = time.monotonic()
    console.print("Starting the S3 server, Triton and Ray Serve …")

    def say(line: str) -> None:
        console.print(f"  {time.monotonic() - start:4.0f} s  {line}")

    try:
        with running(settings, say) as processes:
            console.print(
                f"\nThe service is up: open [bold]{settings.url}[/bold] in a browser. Its API is "
                f"described at {settings.url}/docs.\n"
                f"Try: curl -F image=@data/id_is_2576.jpg {settings.url}/infer\n"
                "Ctrl-C stops it; what was enrolled stays.",
                soft_wrap=True,
            )
            while True:
                for process in processes:
                    process.check()
                time.sleep(1)
    except KeyboardInterrupt:
        console.print("Stopped.")
    finally:
        stopping.set()


@cli.command()
@click.argument("folder", type=PATH)
@click.option("--names", type=PATH, help="A JSON object from id to name.")
@click.option("--append", is_flag=True, help="Add to the photos that are enrolled already.")
@click.option("--force", is_flag=True, help="Also photos that are poor, or of somebody else.")
@_URL
def enroll(folder: Path, names: Path | None, append: bool, force: bool, url: str) -> None:
    """Enrol the people of FOLDER: a folder of photos named by the id, or a folder of such."""
    people = people_in(folder, names)
    client = Client(url)
    failed: list[str] = []
    with progress_bar() as progress:
        task = progress.add_task("Enrolling", total=sum(len(p.photos) for p in people))
        for person in people:
            progress.update(task, description=f"Enrolling {person.id}")
            try:
                _enroll(client, person, append, force, progress, task)
            except ClientError as error:
                failed.append(f"{person.id}: {error}")
    for line in failed:
        click.echo(line, err=True)
    click.echo(f"{len(people) - len(failed)} of {len(people)} people are enrolled.")
    if failed:
        raise Failed(f"{len(failed)} could not be enrolled.")


def _enroll(
    client: Client,
    person: PersonFolder,
    append: bool,
    force: bool,
    progress: Progress,
    task: Any,
) -> None:
    # Without a single usable photo in the first batch the next one has to begin the person.
    begun, refused = False, None
    for photos in batches(person.photos):
        try:
            answer = client.generate(
                person.id, photos, name=person.name, append=append or begun, force=force
            )
        except ClientError as error:
            for line in conflict_lines(photos, error.conflicts):
                progress.console.print(line)
            if error.status != NoUsableFace.status:
                raise
            refused = error
        else:
            begun = True
            for photo, report in zip(photos, answer["images"], strict=True):
                if not report["used"]:
                    progress.console.print(f"{photo}: not used. {report['reason']}")
            for line in conflict_lines(photos, answer.get("conflicts") or ()):
                progress.console.print(line)
        progress.advance(task, len(photos))
    if refused is not None:
        if not begun:
            raise refused
        progress.console.print(f"{person.id}: {refused}")


for command in (upkeep.compact, upkeep.sweep, upkeep.check, migrate_command):
    gallery.add_command(command)
cli.add_command(gallery)
cli.add_command(key)
cli.add_command(gallery.commands["import"])
cli.add_command(model_cli.model)
cli.add_command(evaluate_command)
cli.add_command(calibrate_command)


@cli.command()
@click.argument("photo", type=PATH)
@click.option("--save", type=click.Path(path_type=Path), help="Draw boxes and names into a copy.")
@click.option("--json", "as_json", is_flag=True, help="Print the service's answer as it is.")
@click.option("--top-k", type=int, help="Candidates for each face.")
@click.option("--threshold", type=float, help="Cosine from which on a face is named.")
@_URL
def infer(
    photo: Path,
    save: Path | None,
    as_json: bool,
    top_k: int | None,
    threshold: float | None,
    url: str,
) -> None:
    """Ask who is in PHOTO."""
    answer = Client(url).infer(photo, top_k=top_k, threshold=threshold)
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
        known = face["id"] is not None
        candidates = [
            f"{c['id']} {c['similarity']:.2f} {percent(c['confidence'])}"
            for c in face["candidates"]
        ]
        table.add_row(
            str(face["id"]) if known else "unknown",
            face["name"],
            None if face["similarity"] is None else f"{face['similarity']:.2f}",
            None if face["confidence"] is None else percent(face["confidence"]),
            " ".join(str(v) for v in face["box"]),
            "\n".join(candidates) or "nobody is enrolled",
        )
    plain().print(table if faces else "No face in this photo.")
    click.echo(f"{answer['model']}, gallery version {answer['gallery_version']}")


@cli.command()
@_URL
def status(url: str) -> None:
    """Say whether the service can do its work, and what it holds."""
    body = Client(url).ready()
    for name, check in body["checks"].items():
        if isinstance(check, dict):
            problem = f" {check['problem']}" if check["problem"] else ""
            check = (
                f"version {check['version']}, {check['people']} people, {check['photos']} photos"
                if check["loaded"]
                else "not loaded"
            ) + problem
        click.echo(f"{name}: {check}")
    click.echo("ready" if body["ready"] else "not ready")
    if not body["ready"]:
        raise SystemExit(1)
