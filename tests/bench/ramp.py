"""Records how replicas scale up and down under a ramp of clients; `make bench-ramp` runs this.

    python -m tests.bench.ramp --out docs/scaling.md

It runs the whole one-machine stack, with replicas that scale as in a cluster, only sooner.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from serving.settings import AppArgs, Scale, ScaleSettings
from serving.stack.config import StackSettings, serve_config
from serving.stack.run import running
from tests.bench.machine import CORES, machine
from tests.bench.scenes import room
from tests.bench.stages import Stages
from tests.support.crowd import crowd
from tests.support.load import Answer
from tests.support.replicas import Count, watched

PORT = 15650
WIDTH, HEIGHT, FACES = 1280, 720, 1
SMALLEST = 12  # pixels of a face; with it detection takes twice as long as with the default
IN_FLIGHT = 16
ALONE = 12  # requests of one client, to measure the time of each stage
# Number of clients, and seconds.
STEPS = ((1, 15), (2, 15), (4, 25), (8, 25), (16, 25), (32, 25), (8, 20), (1, 50), (0, 15))
SHORT = "detect"
STAGES = tuple(ScaleSettings.model_fields)
_SCALE = {"max_replicas": 3, "upscale_delay_s": 3, "downscale_delay_s": 15}
OVERRIDES: dict[str, Any] = {
    "detect": {"threads": 1, "min_face_size": SMALLEST},
    "limits": {"max_in_flight": IN_FLIGHT, "max_wait": 0},
    "scale": {stage: dict(_SCALE) for stage in STAGES},
}
WINDOW_S = 5  # of the plot's rates and quantiles
_PATIENCE_S = 60  # until a watcher has started


@dataclass(frozen=True)
class Step:
    """A phase with a number of clients; times are those of time.monotonic()."""

    clients: int
    start: float
    end: float

    def holds(self, at: float) -> bool:
        return self.start <= at < self.end


@dataclass(frozen=True)
class Ramp:
    """All measurements of a ramp."""

    steps: Sequence[Step]
    answers: Sequence[Answer]
    counts: Sequence[Count]
    alone: Stages  # one client before the ramp

    @property
    def target(self) -> float:
        """The target of ongoing requests per replica of the bottleneck stage."""
        return scale_of_short().target_ongoing_requests

    def came(self, step: Step, status: int | None = None) -> list[Answer]:
        return [a for a in self.answers if step.holds(a.came) and status in (None, a.status)]

    def at_end(self, step: Step) -> Count:
        return [count for count in self.counts if count.at < step.end][-1]

    def most(self, stage: str) -> int:
        return max(count.running(stage) for count in self.counts)

    def up_after(self) -> float:
        """Seconds from more load than one replica's target until a second replica was up."""
        rose = next(step.start for step in self.steps if step.clients > self.target)
        return self._first(rose, lambda count: count.running(SHORT) > 1)

    def down_after(self) -> float:
        """Seconds from when one replica sufficed again until only one was left."""
        last = max(n for n, step in enumerate(self.steps) if step.clients > self.target)
        return self._first(self.steps[last].end, lambda count: count.all(SHORT) == 1)

    def _first(self, since: float, true: Callable[[Count], bool]) -> float:
        found = [count.at - since for count in self.counts if count.at >= since and true(count)]
        assert found, f"the replicas of {SHORT} did not come and go"
        return found[0]


def settings() -> AppArgs:
    """Arguments of the application under measurement."""
    (application,) = serve_config(StackSettings(overrides=OVERRIDES))["applications"]
    return AppArgs.model_validate(application["args"])


def scale_of_short() -> Scale:
    scale: Scale = getattr(settings().scale, SHORT)
    return scale


def photo() -> bytes:
    """One face in front of many face-like shapes: detection takes longer than all other stages."""
    out = BytesIO()
    Image.fromarray(room(WIDTH, HEIGHT, FACES)).save(out, "JPEG", quality=90)
    return out.getvalue()


def measure(jpeg: bytes) -> Ramp:
    steps: list[Step] = []
    with tempfile.TemporaryDirectory(prefix="faces-bench-") as name:
        folder = Path(name)
        stack = StackSettings(folder=folder, port=PORT, overrides=OVERRIDES)
        with running(stack, print) as (_, _, application), watched(application, folder) as replicas:
            alone = where_the_time_goes(stack.url, jpeg)
            deadline = time.monotonic() + _PATIENCE_S
            while replicas.now() is None:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            with crowd(stack.url, jpeg) as clients:
                for count, seconds in STEPS:
                    start = time.monotonic()
                    clients.resize(count)
                    time.sleep(seconds)
                    steps.append(Step(count, start, time.monotonic()))
                    print(f"{count} clients: {len(clients.answers)} answers so far", flush=True)
            return Ramp(steps, clients.answers, replicas.counts(), alone)


def where_the_time_goes(url: str, jpeg: bytes) -> Stages:
    stages = Stages()
    with httpx.Client(base_url=url, timeout=60) as api:
        for _ in range(2):
            Stages().infer(api, jpeg)
        for _ in range(ALONE):
            stages.infer(api, jpeg)
    return stages


# --- the report ----------------------------------------------------------------------------------


def report(ramp: Ramp, plot: Path) -> str:
    scale = scale_of_short()
    alone = "\n".join(ramp.alone.table())
    others = ", ".join(f"{stage} {ramp.most(stage)}" for stage in STAGES if stage != SHORT)
    kinds = Counter(a.kind + (" with `Retry-After`" if a.retry_after else "") for a in ramp.answers)
    summary = ", ".join(f"{n:,} x {kind}" for kind, n in sorted(kinds.items()))
    at_door = within(0.95, [a for a in ramp.answers if a.status == 503])
    return f"""\
# Autoscaling under a ramp of clients

Measured by `make bench-ramp`: the whole service on one machine (HTTP, Ray Serve, Triton, S3) under
a ramp of clients. Each client sends a photo to `POST /infer`, waits for the answer and sends it
again; after a 503 it waits for the time in `Retry-After`. Replicas are counted every second, from
`serve.status()`. {machine("ray", "torch", "nvidia-pytriton")}

![Clients, replicas, answers and latency over time]({plot.name})

{table(ramp)}

- The first new replica of `{SHORT}` was up {ramp.up_after():.0f} s after the number of clients
  passed {ramp.target:g}, and the last one had stopped {ramp.down_after():.0f} s after only one
  client was left. Serve decides by the mean of the last 30 s, which it receives every 10 s; the
  delays below and the start of the replica, which competes for the same cores, are added to that.
- Highest number of replicas of the other stages: {others}.
- All answers, including those while replicas stopped: {summary}.
- Requests above `limits.max_in_flight` ({IN_FLIGHT} here, and `limits.max_wait` 0) are refused
  before their photo is read: 95% of the 503 came within {at_door:.0f} ms. So neither the queue
  nor the time that the other requests wait in it grows with the number of clients.
- This machine has {CORES} cores, shared by all replicas, Triton and the clients. So this shows that
  replicas start and stop, not that more of them do more work: for that they need their own cores,
  as pods have.

Settings of `{SHORT}`: {scale.min_replicas} to {scale.max_replicas} replicas of
{settings().detect.threads} thread, `target_ongoing_requests` {scale.target_ongoing_requests:g},
`upscale_delay_s` {scale.upscale_delay_s:g} and `downscale_delay_s` {scale.downscale_delay_s:g}.
The delays are shorter than in the [chart](../k8s/SCALING.md), so that a run takes minutes. The
other stages have the same settings, with their own targets, and may have as many replicas.

The photo has {WIDTH} x {HEIGHT} pixels and {FACES} face before a busy background. Faces are
detected from {SMALLEST} pixels on, which makes `{SHORT}` the bottleneck. Median times of a single
client, from the answers' Server-Timing; HTTP is the rest of the client's wait:

{alone}
"""


def table(ramp: Ramp) -> str:
    lines = [
        f"| clients | for | replicas of {SHORT} at the end | photos/s | median | 95% | 503 |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for step in ramp.steps:
        accepted = ramp.came(step, 200)
        seconds = step.end - step.start
        cells = [
            step.clients,
            f"{seconds:.0f} s",
            ramp.at_end(step).running(SHORT),
            f"{len(accepted) / seconds:.1f}" if step.clients else "-",
            f"{within(0.5, accepted):.0f} ms" if step.clients else "-",
            f"{within(0.95, accepted):.0f} ms" if step.clients else "-",
            len(ramp.came(step, 503)),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def within(share: float, answers: Sequence[Answer]) -> float:
    """The milliseconds within which this share of answers came; NaN without answers."""
    times = [answer.seconds * 1000 for answer in answers]
    return float(np.quantile(times, share)) if times else math.nan


def draw(ramp: Ramp, path: Path) -> None:
    """Draw four panels over one time axis."""
    zero, end = ramp.steps[0].start, ramp.steps[-1].end
    figure, panels = plt.subplots(
        4, sharex=True, figsize=(9, 9), layout="constrained", height_ratios=(2, 3, 3, 3)
    )
    clients, replicas, rate, latency = panels

    edges = [step.start - zero for step in ramp.steps] + [end - zero]
    clients.stairs([step.clients for step in ramp.steps], edges, color="black", linewidth=1.8)
    clients.set_yscale("symlog", base=2, linthresh=1)
    clients.set_yticks([0, 1, 2, 4, 8, 16, 32], ["0", "1", "2", "4", "8", "16", "32"])
    clients.set_ylabel("clients")

    times = [count.at - zero for count in ramp.counts]
    for n, stage in enumerate(sorted(STAGES, key=lambda stage: stage == SHORT)):
        # Slightly apart, so lines do not hide each other.
        values = [count.running(stage) - 0.05 * (len(STAGES) - 1 - n) for count in ramp.counts]
        wide, colour = (2.5, "tab:red") if stage == SHORT else (1.3, f"C{n}")
        replicas.step(times, values, where="post", label=stage, linewidth=wide, color=colour)
    wanted = [count.wanted(SHORT) for count in ramp.counts]
    label = f"{SHORT}, with those that start"
    replicas.step(times, wanted, ":", where="post", label=label, color="tab:red", linewidth=1.5)
    most = max(ramp.most(stage) for stage in STAGES)
    replicas.set_yticks(range(most + 1))
    replicas.set_ylim(0, most + 1)  # with room for the legend
    replicas.set_ylabel("replicas running")
    replicas.legend(loc="upper center", ncols=len(STAGES) + 1, fontsize=9)

    seconds = np.arange(0, int(end - zero) + WINDOW_S, WINDOW_S)
    for status, label, colour in (
        (503, "refused, 503", "tab:red"),
        (200, "photos answered", "tab:green"),
    ):
        came = [a.came - zero for a in ramp.answers if a.status == status]
        each = np.histogram(came, bins=seconds)[0] / WINDOW_S
        rate.stairs(each, seconds, label=label, color=colour, linewidth=1.5)
    rate.set_ylabel("answers a second")
    rate.legend(loc="upper right", fontsize=9)

    answered = [a for a in ramp.answers if a.status == 200]
    latency.plot(
        [a.came - zero for a in answered],
        [a.seconds for a in answered],
        ".",
        markersize=2.5,
        alpha=0.4,
        color="tab:green",
        label="one photo",
    )
    for share, style in ((0.5, "-"), (0.95, "--")):
        windows = [
            (t, [a.seconds for a in answered if t - WINDOW_S <= a.came - zero < t])
            for t in range(int(end - zero))
        ]
        known = [(t, np.quantile(found, share)) for t, found in windows if found]
        latency.plot(
            *zip(*known, strict=True),
            style,
            color="black",
            label=f"{share:.0%} within, of {WINDOW_S} s",
        )
    latency.set_ylabel("seconds until answered")
    latency.set_ylim(bottom=0)
    latency.set_xlabel("seconds")
    latency.legend(loc="upper right", fontsize=9)
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.set_xlim(0, end - zero)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/scaling.md"))
    args = parser.parse_args()
    ramp = measure(photo())
    draw(ramp, args.out.with_suffix(".png"))
    args.out.write_text(report(ramp, args.out.with_suffix(".png")))
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
