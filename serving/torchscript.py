"""TorchScript networks for OpenVINO."""

from __future__ import annotations

import openvino as ov
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder


def converted(traced: torch.jit.ScriptModule) -> ov.Model:
    """Convert TorchScript to an OpenVINO model; the caller sets shapes and types of its inputs."""
    # Not with ov.convert_model, which sends usage reports to OpenVINO's makers.
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)  # must outlive the conversion
    return frontend.convert(frontend.load(decoder))
