"""TorchScript networks for OpenVINO."""

from __future__ import annotations

import openvino as ov
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder


def converted(traced: torch.jit.ScriptModule) -> ov.Model:
    """TorchScript for OpenVINO; shapes and types of its inputs are still to be set."""
    # Not by ov.convert_model, which reports its use to OpenVINO's makers.
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)  # must outlive the conversion
    return frontend.convert(frontend.load(decoder))
