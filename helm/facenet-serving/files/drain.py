"""Hands the replicas of this pod over before it goes: the stop hook of Ray's worker pods.

Argument: how many seconds it may take. Ray is told that the node goes, so that Serve starts other
replicas before it stops these. Nothing that fails here may hold the pod back for longer.
"""

import contextlib
import os
import socket
import sys
import time
from pathlib import Path

from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.core.generated import autoscaler_pb2

_SECONDS = 5  # for the head to answer


def replicas() -> int:
    """The replicas that run in this pod."""
    found = 0
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            found += process.read_bytes().startswith(b"ray::ServeReplica")
    return found


def reach(head: str) -> None:
    """Raises OSError without a head, as when the whole cluster goes: nobody could take over."""
    host, _, port = head.rpartition(":")
    socket.create_connection((host, int(port)), _SECONDS).close()


def drain(seconds: int) -> None:
    deadline = time.time() + seconds
    head, pod = os.environ["RAY_ADDRESS"], os.environ["RAY_CLOUD_INSTANCE_ID"]
    reach(head)
    gcs = GcsClient(address=head)
    nodes = gcs.get_all_node_info(timeout=_SECONDS)
    here = [node_id.hex() for node_id, node in nodes.items() if node.instance_id == pod]
    for node in here:
        gcs.drain_node(
            node,
            autoscaler_pb2.DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION,
            "the pod is being stopped",
            int(deadline * 1000),
        )
    while here and replicas() and time.time() < deadline:
        time.sleep(1)
        reach(head)


try:
    drain(int(sys.argv[1]))
except Exception as error:
    print(f"not drained: {error}", file=sys.stderr)
