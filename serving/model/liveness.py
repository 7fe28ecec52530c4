"""Presentation attack detection: crops of faces -> whether each is a face that was there.

The model is the operator's own, beside the embedding model in Triton, spoken to by the Open
Inference Protocol. docs/liveness.md is the contract. Whatever is wrong with the model or its
answer is an error, and never a face that counts as live.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from serving.errors import Unavailable
from serving.model.server import InferenceServer, Observe
from serving.settings import LivenessSettings, TritonSettings

# How long what the model says of itself is kept before Triton is asked again.
_METADATA_SECONDS = 30.0
_MOST_PIXELS = 512  # of a crop's side; a hundred faces of that size take 79 MB
_DATATYPES = ("FP32", "UINT8")
# What a probability may be off by, as 32 bits and a softmax of the model's own leave it.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Liveness:
    """What the model says of one face.

    Attributes:
        live: it counts as a face that was there; false: it is taken for an attack.
        score: the probability that it is live, 0 to 1; None: it is not for the caller to know.
    """

    live: bool
    score: float | None


@dataclass(frozen=True)
class ServedLiveness:
    """What the model says of itself.

    Attributes:
        datatype: of the input, FP32 or UINT8.
        channels_last: the input is (N, H, W, 3); else (N, 3, H, W).
        height, width: of the crops that it takes, in pixels.
        part: crops in one inference, at most.
    """

    input: str
    datatype: str
    channels_last: bool
    output: str
    height: int
    width: int
    part: int
    asked_at: float  # time.monotonic()


class LivenessModel:
    """A client of the model.

    Belongs to the event loop that first uses it. All methods raise `Unavailable` when Triton is
    away, late, does not serve the model, or serves one that is not as the contract wants it.

    Args:
        settings: with a model's name.
        server: of the embedding model; the address is this one's unless the settings have another.
        client: what speaks to Triton; by default a client of that address.
        observe: see `serving.model.server.Observe`.
        metadata_seconds: how long what the model says of itself is kept.
    """

    def __init__(
        self,
        settings: LivenessSettings,
        server: TritonSettings,
        client: Any = None,
        observe: Observe = lambda call, outcome, seconds, batch: None,
        *,
        metadata_seconds: float = _METADATA_SECONDS,
    ) -> None:
        assert settings.model is not None
        self._settings = settings
        self._model = settings.model
        server = server.model_copy(update={"url": settings.url or server.url})
        self._server = InferenceServer(server, client, observe)
        self._metadata_seconds = metadata_seconds
        self._served: ServedLiveness | None = None

    async def served(self) -> ServedLiveness:
        """The served model, from its metadata."""
        known = self._served
        if known is not None and time.monotonic() - known.asked_at < self._metadata_seconds:
            return known
        told = await self._server.ask(
            "metadata", self._model, lambda: self._server.client.get_model_metadata(self._model)
        )
        try:
            self._served = self._read(told)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._unfit("its metadata cannot be read") from error
        return self._served

    async def size(self) -> tuple[int, int]:
        """Height and width of the crops that the model takes, in pixels."""
        model = await self.served()
        return model.height, model.width

    async def judge(self, crops: NDArray[np.uint8]) -> tuple[Liveness, ...]:
        """Whether each face is live.

        Args:
            crops: uint8 RGB (N, 3, H, W), of `size`; any N.
        """
        model = await self.served()
        if not len(crops):
            return ()
        scores = await self._server.in_parts(partial(self._infer, model), crops, model.part)
        return tuple(
            Liveness(score >= self._settings.threshold, score) for score in scores.tolist()
        )

    async def close(self) -> None:
        await self._server.close()

    def _read(self, metadata: Mapping[str, Any]) -> ServedLiveness:
        (taken,) = metadata["inputs"]
        count, *shape = (int(size) for size in taken["shape"])
        if taken["datatype"] not in _DATATYPES:
            raise self._unfit(f"its input is {str(taken['datatype'])[:20]}, not FP32 or UINT8")
        if len(shape) != 3 or count not in (-1, 1) or 3 not in (shape[0], shape[2]):
            raise self._unfit("its input is neither (N, 3, H, W) nor (N, H, W, 3), N being -1 or 1")
        channels_last = shape[0] != 3
        height, width = shape[:2] if channels_last else shape[1:]
        if not (1 <= height <= _MOST_PIXELS and 1 <= width <= _MOST_PIXELS):
            raise self._unfit(
                f"the sides of its input have to be stated, 1 to {_MOST_PIXELS} pixels"
            )
        plain = not any(self._settings.mean) and set(self._settings.std) == {1.0}
        if taken["datatype"] == "UINT8" and not plain:
            raise self._unfit(
                "its input is UINT8, so liveness.mean has to be 0, 0, 0 and liveness.std 1, 1, 1"
            )
        names = [str(output["name"]) for output in metadata["outputs"]]
        if self._settings.output is None and len(names) != 1:
            raise self._unfit(f"it has {len(names)} outputs; set liveness.output")
        output = self._settings.output or names[0]
        if output not in names:
            raise self._unfit(f"it has no output {output!r}")
        return ServedLiveness(
            input=str(taken["name"]),
            datatype=taken["datatype"],
            channels_last=channels_last,
            output=output,
            height=height,
            width=width,
            part=1 if count == 1 else self._settings.batch,
            asked_at=time.monotonic(),
        )

    async def _infer(self, model: ServedLiveness, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The probability of live of each crop, (N,)."""
        inputs = (model.input, model.datatype, _input_of(crops, model, self._settings))
        try:
            output = await self._server.infer(self._model, inputs, model.output)
        except Unavailable:
            # A Triton that comes back may come back with another model.
            self._served = None
            raise
        scores = _scores(output, len(crops), self._settings)
        if scores is None:
            raise self._unfit("it answered with something that is no probability for each face")
        return scores

    def _unfit(self, reason: str) -> Unavailable:
        return Unavailable(
            f"The liveness model {self._model!r} is not as it has to be: {reason}; see "
            "docs/liveness.md."
        )


def _input_of(
    crops: NDArray[np.uint8], model: ServedLiveness, settings: LivenessSettings
) -> NDArray[Any]:
    ordered = crops[:, ::-1] if settings.channels == "BGR" else crops
    made: NDArray[Any] = ordered
    if model.datatype == "FP32":
        mean, std = (
            np.array(values, np.float32)[:, None, None] for values in (settings.mean, settings.std)
        )
        made = (ordered.astype(np.float32) - mean) / std
    return made.transpose(0, 2, 3, 1) if model.channels_last else made


def _scores(
    output: NDArray[Any] | None, count: int, settings: LivenessSettings
) -> NDArray[np.float64] | None:
    """The probabilities of live, (N,), in an output (N, C) or (N,); None: there are none in it."""
    if output is None or output.ndim not in (1, 2) or len(output) != count:
        return None
    if not np.issubdtype(output.dtype, np.floating) or not np.isfinite(output).all():
        return None
    values = output.reshape(count, -1).astype(np.float64)
    classes = values.shape[1]
    # The softmax of one value is 1, whatever it is.
    if settings.index >= classes or (settings.activation == "softmax" and classes < 2):
        return None
    if settings.activation == "softmax":
        values = softmax(values, axis=1)
    elif settings.activation == "sigmoid":
        values = expit(values)
    scores: NDArray[np.float64] = values[:, settings.index]
    if (scores < -_ROUNDING).any() or (scores > 1 + _ROUNDING).any():
        return None
    scores = np.clip(scores, 0, 1)
    return 1 - scores if settings.index_is == "attack" else scores


def is_attack(verdict: Liveness | None) -> bool:
    """Whether a face is taken for an attack; None: it was not checked."""
    return verdict is not None and not verdict.live


def all_live(verdicts: Sequence[Liveness | None]) -> bool:
    """Whether none of the faces is taken for an attack."""
    return not any(map(is_attack, verdicts))
