"""Triton's own message of a config.pbtxt."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any


def _model_config() -> Any:
    """Loaded from its file: the package around it registers the messages of the Inference
    Protocol, as kserve's does too, and protobuf accepts them only once."""
    package = importlib.util.find_spec("tritonclient")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).with_name("grpc") / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


model_config_pb2 = _model_config()
