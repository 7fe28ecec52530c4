"""Convert facenet-pytorch's MTCNN for OpenVINO: ``python -m serving.vision.mtcnn.convert``.

Run once, by ``make install`` and by the image's build. A replica then reads three small files, and
imports neither torch nor torchvision: seconds of each start, and hundreds of megabytes.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import openvino as ov
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

from serving.torchscript import converted
from serving.vision.mtcnn.networks import FOLDER

_SIDES = {PNet: 32, RNet: 24, ONet: 48}  # pixels; P-Net takes any


def convert(folder: Path) -> None:
    """Write ``pnet``, ``rnet`` and ``onet`` (``.xml`` and ``.bin``, float32) into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for net, side in _SIDES.items():
        example = torch.zeros(2, 3, side, side)
        with torch.no_grad(), warnings.catch_warnings():
            # TorchScript is what OpenVINO reads.
            warnings.filterwarnings("ignore", r"`torch\.jit")
            traced = torch.jit.trace(net().eval(), example)  # type: ignore[no-untyped-call]
        path = folder / f"{net.__name__.lower()}.xml"
        ov.save_model(converted(traced), path, compress_to_fp16=False)


if __name__ == "__main__":
    convert(FOLDER)
