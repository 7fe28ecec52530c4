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

from serving.errors import NoRoom
from serving.stack.serve import MEMORY_ALONE
from serving.stages import calls, refs

_MIB = 2**20
_STORE = 150


@calls.stage
class Maker:
    def __init__(self) -> None:
        self.made: list[int] = []
        self.given_up = 0
        self.kept: list[Any] = []

    async def make(self, mib: int) -> refs.Ref[NDArray[np.uint8]]:
        self.made.append(mib)
        return refs.made(np.zeros(mib * _MIB, np.uint8), mib * _MIB)

    async def read(self, made: refs.Ref[NDArray[np.uint8]]) -> int:
        return (await made.get()).nbytes // _MIB

    async def hide(self) -> list[Any]:
        return [await refs.put(np.zeros(3 * _MIB, np.uint8), 3 * _MIB)]

    async def hang(self, made: refs.Ref[NDArray[np.uint8]]) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.given_up += 1
            raise

    async def keep(self, mib: int) -> None:
        self.kept.append(await refs.put(np.zeros(mib * _MIB, np.uint8), mib * _MIB))

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
        seen["answers"] = [
            len(await (await calls.call(maker.make, mib)).get()) // _MIB for mib in (1, 3)
        ]
        seen["made"], _ = await calls.call(maker.told)
        left = await calls.make(maker.make, 3)
        seen["read"] = await calls.call(maker.read, left)
        seen["lost"] = [
            each for each in await asyncio.gather(*map(self._hand_on, [25] * 4)) if each
        ]
        seen["hidden"] = await failure(calls.call(maker.hide))
        seen["late"] = await failure(asyncio.wait_for(calls.call(maker.hang, left), 0.5))
        for _ in range(100):
            _, seen["given up"] = await calls.call(maker.told)
            if seen["given up"]:
                break
            await asyncio.sleep(0.1)

        for _ in range(_STORE // 15):
            if await failure(calls.call(maker.keep, 15)) == NoRoom.__name__:
                seen["full"] = {
                    "argument": await failure(refs.put(np.zeros(40 * _MIB, np.uint8), 40 * _MIB)),
                    "fetched": await failure(calls.fetch(maker.make, 40)),
                    "left": await failure(calls.make(maker.make, 40)),
                }
        await calls.call(maker.let_go)
        seen["afterwards"] = await calls.call(maker.read, await calls.make(maker.make, 40))
        return seen

    async def _hand_on(self, times: int) -> int:
        """How many of so many were gone when the next one looked."""
        lost = 0
        for _ in range(times):
            made = await calls.make(self._maker.make, 2)
            lost += (
                await failure(asyncio.wait_for(calls.call(self._maker.read, made), 10)) != "none"
            )
        return lost


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
