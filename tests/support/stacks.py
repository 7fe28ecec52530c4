"""The stacks that several test files share: each is started once, and stopped after its last test.

Only two have a stack of their own: the tests that kill its parts (test_faults), and those of its
start, its stop and another model (test_story).
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from serving.events.event import KINDS
from serving.keys import hash_of, new_key
from serving.settings import ScaleSettings
from serving.stack import triton
from serving.stack.config import SERVE_LOGS, StackSettings, serve_config
from serving.stack.process import LOOPBACK, Process
from serving.stack.run import running
from tests.support.chart.helm import Helm, Object
from tests.support.chart.objects import serve_config as rendered_config
from tests.support.chart.values import VARIANTS
from tests.support.webhooks import SECRET

# Apart from those of `make run`, and from each other: all of them may run side by side.
OPEN_PORT, KEYED_PORT, TUNED_PORT = 15000, 15500, 15700
COLLECTOR_PORT = OPEN_PORT + 50
# Most of the time no receiver listens there, and that must not affect any request.
WEBHOOK_PORT = TUNED_PORT + 50

# What the keyed stack takes at most for a request, and how many at once. Longer than it waits for
# Triton (10 s), or /readyz could not say that Triton does not answer.
KEYED_TIMEOUT_S = 15.0
KEYED_IN_FLIGHT = 16
# Of the 16 a key may have 4. Bodies that drip are ended long before the time of a request.
KEYED_GRACE_S = 3.0
ENTRIES: dict[str, dict[str, object]] = {
    "kiosk": {"scopes": ["identify"]},
    "desk": {"scopes": ["enrol"]},
    "counter": {"scopes": ["identify", "enrol"]},
    "boss": {"scopes": ["admin"]},
    "auditor": {"scopes": ["audit"]},
    "shop": {"scopes": ["identify", "enrol", "admin"], "collections": ["shop"]},
    "slow": {"scopes": ["identify"], "rate": 0.01},
    "gone": {"scopes": ["identify"]},
}
KEYS = {name: new_key() for name in ENTRIES}

TARGETS = {stage: scale.target_ongoing_requests for stage, scale in ScaleSettings()}


@dataclass(frozen=True)
class Stack:
    """A stack that runs.

    Attributes:
        processes: the S3 server, tritonserver, Ray Serve.
    """

    settings: StackSettings
    processes: list[Process]


@contextmanager
def open_to_all(folder: Path) -> Iterator[Stack]:
    """Without keys, as `faces up` starts it, but with two matchers, which must see each other's
    writes. Only requests that ask for it are traced; most of the time no collector listens, and
    that must not affect any request."""
    overrides = {
        "scale": {"match": {"min_replicas": 2, "max_replicas": 2}},
        "audit": {"identifications": True, "objects": {"enabled": True, "flush_s": 0.5}},
        "tracing": {"endpoint": f"http://{LOOPBACK}:{COLLECTOR_PORT}", "sample_ratio": 0},
        "compreface": True,
    }
    settings = StackSettings(folder=folder, port=OPEN_PORT, overrides=overrides)
    # Milliseconds; by default spans go after 5 s.
    with _running(settings, {"OTEL_BSP_SCHEDULE_DELAY": 500}) as processes:
        yield Stack(settings, processes)


@contextmanager
def _running(settings: StackSettings, environment: Mapping[str, object]) -> Iterator[list[Process]]:
    """Run the stack with these environment variables."""
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, str(value))
            processes = stack.enter_context(running(settings))
        yield processes


@functools.cache
def rendered() -> tuple[Object, ...]:
    """The chart whose document the keyed stack runs."""
    helm = Helm(4) if Helm(4).binary.is_file() else Helm(3)
    limits = {
        "timeout_s": KEYED_TIMEOUT_S,
        "max_in_flight": KEYED_IN_FLIGHT,
        "upload_grace_s": KEYED_GRACE_S,
    }
    audit = {"identifications": True, "objects": {"enabled": True, "flush_s": 0.5}}
    values = {
        "minio": {"enabled": True},
        "test": {"timeoutSeconds": 60},
        # With the audit's objects, which the console shows.
        "settings": {"limits": limits, "audit": audit},
    }
    return helm.template(values, files=[VARIANTS["defaults"]])


def keys_beside(folder: Path) -> Path:
    """The key file of the keyed stack in this folder."""
    return folder.with_name(f"{folder.name}-keys.yaml")


def write_keys(file: Path, *names: str) -> None:
    entries = [{"name": n, "hash": hash_of(KEYS[n]), **ENTRIES[n]} for n in names]
    file.write_text(yaml.safe_dump({"keys": entries}))


@contextmanager
def keyed(folder: Path) -> Iterator[Stack]:
    """With the chart's serveConfigV2, of which only the addresses are this machine's: it wants
    keys. They lie in `keys_beside` its folder, which is the stack's alone."""
    here = StackSettings(folder=folder, port=KEYED_PORT)
    document = copy.deepcopy(rendered_config(rendered()))
    document["http_options"] = {"host": LOOPBACK, "port": here.port}
    # A place where tests can read the logs; in a cluster Ray chooses it.
    document["logging_config"]["logs_dir"] = str(folder.resolve() / SERVE_LOGS)
    (application,) = document["applications"]
    args = application["args"]
    args["triton"]["url"] = triton.url_of(folder)
    args["gallery"]["endpoint"] = f"http://{LOOPBACK}:{here.s3_port}"
    args["keys"]["file"] = str(keys_beside(folder))
    write_keys(keys_beside(folder), *KEYS)
    settings = StackSettings(folder=folder, port=KEYED_PORT, document=document)
    with running(settings) as processes:
        yield Stack(settings, processes)


def vectors_beside(folder: Path) -> Path:
    """Where the matchers of the tuned stack have their vectors."""
    return folder.with_name(f"{folder.name}-vectors")


@contextmanager
def tuned(folder: Path) -> Iterator[Stack]:
    """With the settings of single files, which do not get in each other's way: it scales, and it
    refuses enrolments with conflicts; it has events, and vectors on disk."""
    key = folder.with_name(f"{folder.name}-webhook-key")
    key.write_text(SECRET)
    overrides = {
        "events": {
            "url": f"http://{LOOPBACK}:{WEBHOOK_PORT}/hook",
            "key_file": str(key),
            "kinds": list(KINDS),
            "poll_s": 0.5,
            "max_pause_s": 0.5,
        },
        # Small faces take long to find, so detection is the bottleneck.
        "detect": {"threads": 1, "min_face_size": 12},
        "decode": {"threads": 1},
        "enrolment": {"conflicts": "refuse"},
        "match": {"vectors": "disk", "vectors_folder": str(vectors_beside(folder.resolve()))},
    }
    document = serve_config(StackSettings(folder=folder, port=TUNED_PORT, overrides=overrides))
    # As the chart writes it, beside the arguments. Serve is told of the load every second and
    # decides by a shorter mean than the 10 and 30 s of its own, or this would take minutes.
    scaling = {
        "min_replicas": 1,
        "max_replicas": 2,
        "upscale_delay_s": 0,
        "downscale_delay_s": 1,
        "look_back_period_s": 11,
    }
    (faces,) = document["applications"]
    faces["deployments"] = [
        {"name": stage, "autoscaling_config": {**scaling, "target_ongoing_requests": target}}
        for stage, target in TARGETS.items()
    ]
    settings = StackSettings(folder=folder, port=TUNED_PORT, document=document)
    sooner = {
        f"RAY_SERVE_{told_by}_AUTOSCALING_METRIC_PUSH_INTERVAL_S": 1
        for told_by in ("HANDLE", "REPLICA")
    }
    with _running(settings, sooner) as processes:
        yield Stack(settings, processes)


# By the name of its fixture.
SHARED: dict[str, Callable[[Path], contextlib.AbstractContextManager[Stack]]] = {
    "open_stack": open_to_all,
    "keyed_stack": keyed,
    "tuned_stack": tuned,
}

# The files whose tests use each of them; tests/conftest.py checks that none is missing here.
FILES = {
    "open_stack": [
        f"tests/service/test_{name}.py"
        for name in [
            "audit",
            "bad_input",
            "client",
            "compreface",
            "conflicts",
            "damage",
            "identify",
            "identities",
            "inputs",
            "jobs",
            "metrics",
            "notebook",
            "object_store",
            "openapi",
            "photos",
            "ports",
            "protocol",
            "stack",
            "store",
            "streams",
            "tls",
            "tracing",
            "triton",
        ]
    ],
    "keyed_stack": [
        "tests/console/test_audit.py",
        "tests/console/test_console.py",
        "tests/console/test_corrections.py",
        "tests/console/test_photos.py",
        "tests/service/test_chart.py",
        "tests/service/test_keys.py",
    ],
    "tuned_stack": [
        "tests/console/test_refusing.py",
        "tests/service/test_events.py",
        "tests/service/test_scaling.py",
        "tests/service/test_vectors.py",
    ],
}
_STACK_OF = {file: stack for stack, files in FILES.items() for file in files}


def group_of(file: str) -> str:
    """The group of a test file, by its path from the repository's root: the stack that it shares,
    or the file alone."""
    return _STACK_OF.get(file, file)
