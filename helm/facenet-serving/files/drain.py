"""Drains the Ray node of this pod before it stops: the preStop hook of Ray's worker pods.

Argument: the seconds that it may take. Ray marks the node as draining, so Serve starts replacements
before it stops the replicas here. A failure must not delay the pod's end, so it is only logged.
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
    """The number of replicas that run in this pod."""
    count = 0
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # the process has just ended
            count += process.read_bytes().startswith(b"ray::ServeReplica")
    return count


def reach(head: str) -> None:
    """Raises OSError if the head is gone, as when the whole cluster stops: no pod can take over."""
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
