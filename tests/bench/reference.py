"""The libraries that the service is compared with, each in one process."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import MTCNN, InceptionResnetV1
from PIL import Image

# The folder in which `make bench` installs dlib's face_recognition.
_FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "face_recognition"

# From the bytes of an image file to embeddings, which are discarded.
Reference = Callable[[bytes], None]


def facenet_pytorch() -> Reference:
    """MTCNN and FaceNet with the library's defaults, all faces of a photo in one batch."""
    detector, net = MTCNN(keep_all=True, post_process=False), InceptionResnetV1().eval()

    def embed(jpeg: bytes) -> None:
        image = Image.open(BytesIO(jpeg)).convert("RGB")
        with torch.inference_mode():
            boxes, _ = detector.detect(image)
            if boxes is not None:
                crops = detector.extract(image, boxes, None)
                net((crops - 127.5) / 128)

    return embed


def face_recognition() -> Reference | None:
    """dlib's detector (HOG) and network with the library's defaults; None: not installed."""
    sys.path.append(str(_FOLDER))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # its own of pkg_resources
            library = importlib.import_module("face_recognition")
    except ImportError:
        return None
    finally:
        sys.path.remove(str(_FOLDER))

    def embed(jpeg: bytes) -> None:
        library.face_encodings(np.asarray(Image.open(BytesIO(jpeg)).convert("RGB")))

    return embed
