"""Stand-ins for stages: made-up faces and people, and handles that need no Ray."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.exceptions import RayTaskError

from serving.gallery import Operation
from serving.gallery.erasure import Erasure
from serving.gallery.location import Location
from serving.matching.corrections import Move, PhotosOf, Tell, Undo, Undone
from serving.matching.faces import Alike, FacesPage, Removal
from serving.matching.records import (
    DuplicatesPage,
    Enrolled,
    Enrolment,
    GalleryStatus,
    Matches,
    PeoplePage,
    Refused,
)
from serving.matching.subjects import Renamed
from serving.model.card import Calibration, ModelCard
from serving.stages.refs import Ref
from serving.vision.records import CROP_SIZE, Faces, Quality
from tests.support.people import DIMENSION, MODEL, unit_rows

CARD = ModelCard(
    name="facenet-test",
    id=MODEL,
    source="made up",
    licence="none",
    dimension=DIMENSION,
    preprocessing={},
    threshold=0.5,
    calibration=Calibration(slope=10, intercept=-5, measured_on="nobody"),
)
# Of a model that takes aligned crops, as SFace does.
ALIGNED = CARD.model_copy(
    update={
        "preprocessing": {
            "align": "similarity",
            "points": [[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]],
            "size": 112,
        }
    }
)


# Of a face that passes all gates but, where it is small, that of its size.
GOOD = Quality(side=90, sharpness=0.1, evenness=1.0, tones=5.0, turn=0.0, eyes=0.4)
# What an answer says of it.
GOOD_BODY = {
    "sufficient": True,
    "reasons": [],
    "side": 90.0,
    "sharpness": 0.1,
    "evenness": 1.0,
    "tones": 5.0,
}


def faces(*boxes: tuple[float, float, float, float]) -> Faces:
    """Faces at these boxes; every pixel of the n-th one's crop is n."""
    count = len(boxes)
    crops = np.zeros((count, 3, CROP_SIZE, CROP_SIZE), np.uint8)
    crops += np.arange(count, dtype=np.uint8)[:, None, None, None]
    return Faces(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.linspace(0.99, 0.95, count, dtype=np.float32),
        landmarks=np.array([_landmarks(*box) for box in boxes], np.float32).reshape(-1, 5, 2),
        crops=crops,
        quality=tuple(
            dataclasses.replace(GOOD, side=float(min(x2 - x1, y2 - y1))) for x1, y1, x2, y2 in boxes
        ),
        turns=np.zeros(count, np.int64),
    )


def _landmarks(x1: float, y1: float, x2: float, y2: float) -> list[tuple[float, float]]:
    """The landmarks of a face that looks into the camera."""
    places = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    return [(x1 + x * (x2 - x1), y1 + y * (y2 - y1)) for x, y in places]


def _sent(beside: Mapping[str, Any]) -> dict[str, Any]:
    """What goes beside the arguments, as it arrives."""
    arrived: dict[str, Any] = pickle.loads(pickle.dumps(dict(beside)))
    return arrived


class Handle:
    """A deployment's handle: ``handle.method.remote(...)`` awaits the stage's own method."""

    def __init__(self, name: str, stage: Any) -> None:
        self._name = name
        self._stage = stage

    def __getattr__(self, method: str) -> Method:
        return Method(self._name, getattr(self._stage, method))


class Method:
    """By value, as Ray is set here, neither arguments nor answer may hold a reference, and by
    reference no answer.

    Attributes:
        by_reference: of each call that was made.
        cancelled: the number of calls by reference that were given up and cancelled in Ray.
    """

    def __init__(self, deployment_name: str, work: Callable[..., Any]) -> None:
        self.deployment_name = deployment_name
        self.handle_options = SimpleNamespace(method_name=work.__name__)
        self.by_reference: list[bool] = []
        self.cancelled = 0
        self._work = work

    def options(
        self, *, _by_reference: bool, method_name: str | None = None, stream: bool = False
    ) -> ByReference:
        assert _by_reference
        assert stream is (method_name is not None)
        if method_name is None:
            return ByReference(self, self._work)
        twin = getattr(getattr(self._work, "__self__", None), method_name, None)
        return ByReference(self, twin or self._leave)

    async def _leave(self, *args: Any, **beside: Any) -> AsyncIterator[Any]:
        """As the twin of a stage's method does, for what is no stage."""
        yield await self._work(*args)
        yield 0.0

    async def remote(self, *args: Any, **beside: Any) -> Any:
        self.by_reference.append(False)
        beside = _sent(beside)
        assert not any(isinstance(arg, Ref) and not arg.small for arg in args)
        # What goes beside the arguments is for stages, as `serving.stages.calls.stage` makes them.
        is_stage = hasattr(self._work, "__wrapped__")
        answer = await self._work(*args, **(beside if is_stage else {}))
        assert not isinstance(answer, Ref) or answer.small
        return answer


class ByReference:
    def __init__(self, method: Method, work: Callable[..., Any]) -> None:
        self._method = method
        self._work = work

    def remote(self, *args: Any, **beside: Any) -> Response:
        self._method.by_reference.append(True)
        return Response(self._method, self._work(*args, **_sent(beside)))


class Response:
    def __init__(self, method: Method, work: Any) -> None:
        self._method = method
        self._work = work

    def __await__(self) -> Generator[Any, None, Any]:
        answer = yield from self._work.__await__()
        return answer

    def cancel(self) -> None:
        self._method.cancelled += 1

    async def _to_object_ref_gen(self) -> AsyncIterator[Held]:
        return self._items()

    async def _items(self) -> AsyncIterator[Held]:
        try:
            async for item in self._work:
                yield item if isinstance(item, Held) else Held(item)
        except Exception as error:
            yield Held(error)


def wrapped(cause: Exception) -> Exception:
    """The exception that the caller of a stage gets when the stage raises ``cause``."""
    error = RayTaskError("detect", "Traceback: /srv/x.py", cause, "serve", 1, "127.0.0.1")
    dual: Exception = error.as_instanceof_cause()
    return dual


class FakeMatch:
    """A match stage that expects no call; a test overrides the methods that it needs."""

    async def identify(
        self, location: Location, probes: NDArray[np.float32], top_k: int, at_least: int | None
    ) -> Ref[Matches]:
        raise NotImplementedError

    async def enrol(self, location: Location, enrolment: Enrolment) -> Enrolled | Refused:
        raise NotImplementedError

    async def duplicates(
        self,
        location: Location,
        card: ModelCard,
        threshold: float | None,
        limit: int,
        after: int,
        at_least: int | None,
    ) -> Ref[DuplicatesPage]:
        raise NotImplementedError

    async def people(
        self,
        location: Location,
        limit: int,
        after: int,
        at_least: int | None,
        ending: float | None = None,
    ) -> PeoplePage:
        raise NotImplementedError

    async def change(
        self,
        location: Location,
        operations: Sequence[Operation],
        require: Sequence[int],
        default_end: str | None = None,
    ) -> int:
        raise NotImplementedError

    async def photos(self, location: Location, person: int) -> PhotosOf:
        raise NotImplementedError

    async def move(self, location: Location, move: Move) -> int:
        raise NotImplementedError

    async def undo(self, location: Location, undo: Undo) -> Undone:
        raise NotImplementedError

    async def tell(self, location: Location, tell: Tell) -> int:
        raise NotImplementedError

    async def named(self, location: Location, subject: str) -> PeoplePage:
        raise NotImplementedError

    async def rename(self, location: Location, subject: str, new: str) -> Renamed:
        raise NotImplementedError

    async def faces(
        self, location: Location, subject: str | None, first: int, limit: int
    ) -> FacesPage:
        raise NotImplementedError

    async def remove(self, location: Location, removal: Removal) -> int:
        raise NotImplementedError

    async def alike(
        self, location: Location, person: int, photo: str, probes: NDArray[np.float32]
    ) -> Alike:
        raise NotImplementedError

    async def erase(self, collection: str, person: int) -> Erasure:
        raise NotImplementedError

    async def collections(self) -> list[tuple[str, str]]:
        raise NotImplementedError

    async def status(self, location: Location) -> GalleryStatus:
        raise NotImplementedError


class Held:
    """A value that can be awaited any number of times, as an ObjectRef can; or an error."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Any]:
        yield from asyncio.sleep(0).__await__()
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


def row_of(*numbers: int) -> NDArray[np.float32]:
    """The embeddings of crops that are full of these numbers."""
    return np.stack([unit_rows(1, DIMENSION, seed=n)[0] for n in numbers])
