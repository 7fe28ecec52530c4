"""YuNet (Wu, Peng and Yu, Machine Intelligence Research 2023, doi:10.1007/s11633-023-1423-y), run
by OpenVINO from OpenCV's ONNX file.

The file has 8-bit weights, which OpenVINO dequantises when it loads them, and a fixed input of 640
by 640 pixels; the layers themselves take any multiple of 32.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino.preprocess import ColorFormat, PrePostProcessor

from serving.vision.detector import Detections
from serving.vision.openvino_core import core
from serving.vision.yunet.decoding import OUTPUTS, STEP, decode
from serving.vision.yunet.weights_file import FILE, FOLDER


class Network:
    """Called by one thread at a time.

    Args:
        threads: 0: as many as there are cores.

    Raises:
        FileNotFoundError: the weights are not in ``folder``.
    """

    def __init__(self, threads: int, folder: Path = FOLDER) -> None:
        path = folder / Path(FILE.path).name
        if not path.exists():
            raise FileNotFoundError(
                f"YuNet's weights are not in {folder}; "
                "fetch them with: python -m serving.vision.yunet.weights_file"
            )
        model = core().read_model(path)
        model.reshape([1, 3, -1, -1])
        steps = PrePostProcessor(model)
        tensor = steps.input().tensor()
        tensor.set_layout(ov.Layout("NHWC")).set_element_type(ov.Type.u8)
        tensor.set_color_format(ColorFormat.RGB)
        steps.input().preprocess().convert_element_type(ov.Type.f32)
        steps.input().preprocess().convert_color(ColorFormat.BGR)
        steps.input().model().set_layout(ov.Layout("NCHW"))
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        compiled = core().compile_model(steps.build(), "CPU", settings)
        self._request = compiled.create_infer_request()
        self._outputs = [compiled.output(name) for name in OUTPUTS]

    def __call__(self, image: NDArray[np.uint8], least: float) -> Detections:
        """What of ``image``, uint8 RGB (H, W, 3), may be a face, with this score at least.

        H and W are multiples of 32.
        """
        height, width = image.shape[:2]
        if height % STEP or width % STEP:
            raise ValueError(f"YuNet takes multiples of {STEP} pixels, not {width} x {height}.")
        results = self._request.infer([image[None]], share_inputs=True, share_outputs=False)
        outputs = {
            name: results[port][0] for name, port in zip(OUTPUTS, self._outputs, strict=True)
        }
        return decode(outputs, width, least)
