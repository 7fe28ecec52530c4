"""MTCNN's three networks with facenet-pytorch's weights, run by OpenVINO.

OpenVINO runs them faster than torch does on the same cores, with the same result.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from numpy.typing import NDArray
from openvino.preprocess import PrePostProcessor

from serving.torchscript import converted

Array = NDArray[np.float32]


class Network:
    """One network on RGB (N, H, W, 3), 0 to 255; called by one thread at a time.

    Args:
        side: pixels of its images; None: any.
        bf16: takes uint8 instead of float32, and computes in bfloat16 where the processor can.
    """

    def __init__(
        self, net: torch.nn.Module, side: int | None, threads: int, bf16: bool = False
    ) -> None:
        example = torch.zeros(2, 3, side or 32, side or 32)
        with torch.no_grad(), warnings.catch_warnings():
            # TorchScript is what OpenVINO reads.
            warnings.filterwarnings("ignore", r"`torch\.jit")
            traced = torch.jit.trace(net.eval(), example)  # type: ignore[no-untyped-call]
        model = converted(traced)
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
        compiled = ov.Core().compile_model(steps.build(), "CPU", settings)
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
    def load(cls, threads: int) -> Networks:
        return cls(
            Network(PNet(), None, threads, bf16=True),
            Network(PNet(), None, threads),
            Network(RNet(), 24, threads),
            Network(ONet(), 48, threads),
        )
