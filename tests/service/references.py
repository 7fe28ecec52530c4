"""Calls between two real deployments, and what came of them, as one line of JSON.

python -m tests.service.references
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray import serve

from serving import handles, refs
from serving.errors import NoRoom
from serving.local.serve import MEMORY_ALONE

_MIB = 2**20
_STORE = 150


@handles.stage
class Maker:
    def __init__(self) -> None:
        self.made: list[int] = []
        self.given_up = 0
        self.kept: list[Any] = []

    async def make(self, mib: int) -> refs.Ref[NDArray[np.uint8]]:
        self.made.append(mib)
        return await refs.put(np.zeros(mib * _MIB, np.uint8), mib * _MIB)

    async def read(self, made: refs.Ref[NDArray[np.uint8]]) -> int:
        return (await made.get()).nbytes // _MIB

    async def hide(self) -> list[Any]:
        return [await refs.put(np.zeros(3 * _MIB, np.uint8))]

    async def hang(self, made: refs.Ref[NDArray[np.uint8]]) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.given_up += 1
            raise

    async def plain(self, mib: int) -> NDArray[np.uint8]:
        return np.zeros(mib * _MIB, np.uint8)

    async def keep(self, mib: int) -> None:
        self.kept.append(await self.make(mib))

    async def let_go(self) -> None:
        self.kept.clear()

    async def told(self) -> tuple[list[int], int]:
        return self.made, self.given_up


class Caller:
    def __init__(self, maker: Any) -> None:
        self._maker = maker

    async def run(self) -> dict[str, Any]:
        maker = self._maker
        seen: dict[str, Any] = {}
        large = await handles.call(maker.make, 3)
        small = await handles.call(maker.make, 1)
        seen["read"] = [await handles.call(maker.read, made) for made in (small, large)]
        seen["made"], _ = await handles.call(maker.told)
        seen["hidden"] = await failure(handles.call(maker.hide))
        seen["late"] = await failure(asyncio.wait_for(handles.call(maker.hang, large), 0.5))
        for _ in range(100):
            _, seen["given up"] = await handles.call(maker.told)
            if seen["given up"]:
                break
            await asyncio.sleep(0.1)

        for _ in range(_STORE // 15):
            if await failure(handles.call(maker.keep, 15)) == NoRoom.__name__:
                seen["full"] = {
                    "argument": await failure(refs.put(np.zeros(40 * _MIB, np.uint8))),
                    "answer": await failure(handles.make(maker.plain, 40)),
                    "stage": await failure(handles.make(maker.make, 40)),
                }
        await handles.call(maker.let_go)
        seen["afterwards"] = await handles.call(maker.read, await handles.make(maker.make, 40))
        return seen


async def failure(call: Any) -> str:
    try:
        await call
    except Exception as error:
        # What comes from a stage is of a class that Ray has made up.
        return next(c.__name__ for c in type(error).__mro__ if "RayTaskError" not in c.__name__)
    return "none"


def main() -> None:
    ray.init(
        address="local",
        include_dashboard=False,
        object_store_memory=_STORE * _MIB,
        num_cpus=4,
        log_to_driver=False,
        _system_config=MEMORY_ALONE,
    )
    options = {"max_ongoing_requests": 8, "ray_actor_options": {"num_cpus": 0.1}}
    maker = serve.deployment(Maker).options(**options).bind()
    handle = serve.run(serve.deployment(Caller).options(**options).bind(maker))

    async def ask() -> Any:
        return await handle.run.remote()

    print(json.dumps(asyncio.run(ask())))
    ray.shutdown()


if __name__ == "__main__":
    main()
