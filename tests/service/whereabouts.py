"""An application of one replica that tells on which node it is."""

from __future__ import annotations

import os

from ray import serve


@serve.deployment(ray_actor_options={"num_cpus": 0, "resources": {"decode": 1}})
class Whereabouts:
    def __call__(self) -> str:
        return os.environ["RAY_CLOUD_INSTANCE_ID"]


application = Whereabouts.bind()
