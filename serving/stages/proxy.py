"""Waiting for the HTTP proxy of a replica's own pod, before a new cluster takes over.

KubeRay sends all requests to a new cluster as soon as its application runs. A pod answers none
before its proxy does, which needs a moment more: on a busy node there was nobody to answer for
seconds. A stage's replica that is ready only after its pod's proxy keeps the application from
running until then. The proxy waits for the ingress alone, and that for no stage.
"""

from __future__ import annotations

import http.client
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from ray import serve

log = logging.getLogger(__name__)

# HOST:PORT of the proxy; not set: nobody waits.
VARIABLE = "FACES_AWAIT_PROXY"
_LONGEST_S = 60.0
_EACH_S = 0.5
# A kubelet that asks every second has seen it, and the endpoints know.
_SEEN_S = 2.0


def is_deploying() -> bool:
    """Whether this replica's application does not run yet, or not in its new version."""
    name = serve.get_replica_context().app_name
    # Not in this thread, which may have an event loop: Ray would complain that it is blocked.
    with ThreadPoolExecutor(1) as thread:
        application = thread.submit(serve.status).result().applications.get(name)
    return application is None or application.status == "DEPLOYING"


def wait(
    deploying: Callable[[], bool] = is_deploying, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Return as soon as the proxy answers, or after a minute; for a stage's constructor.

    Does nothing without the variable, and for another replica of an application that runs.
    """
    address = os.environ.get(VARIABLE)
    if address is None or _answers(address) or not deploying():
        return
    end = time.monotonic() + _LONGEST_S
    while not _answers(address):
        if time.monotonic() > end:
            log.warning("The proxy of this pod does not answer; the replica is ready without it.")
            return
        sleep(_EACH_S)
    sleep(_SEEN_S)


def _answers(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/-/healthz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
