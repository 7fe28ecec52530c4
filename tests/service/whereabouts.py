"""An application of one replica that tells on which node it is."""

from __future__ import annotations

import os

from ray import serve


class Whereabouts:
    def __call__(self) -> str:
        return os.environ["RAY_CLOUD_INSTANCE_ID"]


_PLACE = {"num_cpus": 0, "resources": {"decode": 1}}
application = serve.deployment(ray_actor_options=_PLACE)(Whereabouts).bind()
