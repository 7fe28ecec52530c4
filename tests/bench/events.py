"""What events cost a look-up at the ingress: none, written after the answer, written before it.

As `tests.bench.audit`: the whole HTTP application over a pipeline that answers at once, and a real
S3 server. Requests of all kinds take turns.

    python -m tests.bench.events [--requests 400]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from serving.events.outbox import Outbox
from serving.events.queue import Queue
from serving.gallery.s3 import connect
from serving.settings import EventSettings
from tests.bench.audit import PHOTOS, measure, photo_of
from tests.support import seaweed
from tests.support.api import Api
from tests.support.stages import faces
from tests.support.webhooks import Watched

KINDS = {"none": None, "after the answer": False, "before the answer": True}


def api_of(outbox: Outbox | None) -> Api:
    # Everybody who is found has a name: as many events as faces.
    api = Api(threshold=-1.0, outbox=outbox)
    for count, size in PHOTOS.values():
        api.pipeline.found[photo_of(count, size)] = faces(*[(0, 0, 9, 9)] * count)
    return api


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=400, help="of each kind")
    requests = parser.parse_args().requests
    with (
        tempfile.TemporaryDirectory() as folder,
        seaweed.running(Path(folder), 17203) as server,
        ExitStack() as stack,
    ):
        os.environ.update(server.keys)
        watched = Watched()
        apis = {}
        for kind, before_answer in KINDS.items():
            outbox = None
            if before_answer is not None:
                settings = EventSettings(
                    url="https://hooks.example.com",
                    key_file="none",
                    kinds=("identified", "unknown"),
                    before_answer=before_answer,
                )
                outbox = Outbox(
                    settings, lambda: Queue(connect(server.settings), "events"), watched
                )
                stack.callback(outbox.close, 60)
            apis[kind] = api_of(outbox)
        print("| photo | events are written | median, ms | more than none, ms | CPU more, ms |")
        print("|---|---|---|---|---|")
        for name, (count, size) in PHOTOS.items():
            times = asyncio.run(measure(apis, photo_of(count, size), requests))
            none = np.median(times["none"], axis=0)
            for kind, of_kind in times.items():
                median = np.median(of_kind, axis=0)
                wall, cpu = median - none
                print(f"| {name} | {kind} | {median[0]:.2f} | {wall:.2f} | {cpu:.2f} |")
        stack.close()
        print(f"{watched.counts['queued']} events written, {watched.counts['lost']} lost")


if __name__ == "__main__":
    main()
