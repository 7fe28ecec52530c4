"""MTCNN's three networks with facenet-pytorch's weights, run by OpenVINO.

OpenVINO runs them faster than torch does on the same cores, with the same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino.preprocess import PrePostProcessor

from serving.vision.openvino_core import core

# Where `serving.vision.mtcnn.convert` writes them.
FOLDER = Path(__file__).parent / "weights"

Array = NDArray[np.float32]


class Network:
    """One network on RGB (N, H, W, 3), 0 to 255; called by one thread at a time.

    Args:
        path: the network as OpenVINO's ``.xml``, with the ``.bin`` beside it.
        side: pixels of its images; None: any.
        bf16: takes uint8 instead of float32, and computes in bfloat16 where the processor can.
    """

    def __init__(self, path: Path, side: int | None, threads: int, bf16: bool = False) -> None:
        model = core().read_model(path)
        model.reshape([-1, 3, side or -1, side or -1])
        steps = PrePostProcessor(model)
        steps.input().tensor().set_layout(ov.Layout("NHWC"))
        if bf16:
            steps.input().tensor().set_element_type(ov.Type.u8)
            steps.input().preprocess().convert_element_type(ov.Type.f32)
        steps.input().preprocess().mean(127.5).scale(128.0)
        steps.input().model().set_layout(ov.Layout("NCHW"))
        settings = {
            # Otherwise in the precision of the weights, also where the processor has bfloat16.
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        compiled = core().compile_model(steps.build(), "CPU", settings)
        self._request = compiled.create_infer_request()

    def __call__(self, images: NDArray[Any]) -> list[Array]:
        """The network's outputs, as facenet-pytorch orders them."""
        outputs = self._request.infer([images], share_inputs=True, share_outputs=False)
        return list(outputs.values())


@dataclass(frozen=True)
class Networks:
    """P-Net for images of any size, R-Net for 24 and O-Net for 48 pixels a side.

    ``pnet_bf16`` is a second, faster P-Net, in bfloat16 where the processor can.
    """

    pnet_bf16: Network
    pnet: Network
    rnet: Network
    onet: Network

    @classmethod
    def load(cls, threads: int, folder: Path = FOLDER) -> Networks:
        """Load the networks from ``folder``.

        Raises:
            FileNotFoundError: they are not there.
        """
        pnet, rnet, onet = (folder / f"{name}.xml" for name in ("pnet", "rnet", "onet"))
        if not onet.exists():
            raise FileNotFoundError(
                f"MTCNN's networks are not in {folder}; "
                "write them with: python -m serving.vision.mtcnn.convert"
            )
        return cls(
            Network(pnet, None, threads, bf16=True),
            Network(pnet, None, threads),
            Network(rnet, 24, threads),
            Network(onet, 48, threads),
        )
