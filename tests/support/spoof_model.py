"""A model that takes faces in magenta surroundings for attacks, as TorchScript for Triton."""

from __future__ import annotations

from pathlib import Path

import torch

NAME = "spoof"
SIZE = 80
MAGENTA = (255, 0, 255)
_EDGE = 6  # pixels

_CONFIG = f"""\
name: "{NAME}"
platform: "pytorch_libtorch"
max_batch_size: 8
input {{ name: "INPUT__0" data_type: TYPE_FP32 dims: [ 3, {SIZE}, {SIZE} ] }}
output {{ name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ 2 ] }}
instance_group {{ kind: KIND_CPU count: 1 }}
"""


class Spoof(torch.nn.Module):
    """Logits of attack and live, float32 (N, 2), of crops, float32 RGB (N, 3, H, W), 0 to 1."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        above = crops[:, :, :_EDGE].flatten(2).mean(2)
        # How much more red and blue than green there is above the face.
        magenta = (above[:, 0] + above[:, 2]) / 2 - above[:, 1]
        attack = 20 * (magenta - 0.5)
        return torch.stack([attack, -attack], 1)


def write(repository: Path) -> None:
    """Its folder in a model repository."""
    folder = repository / NAME
    (folder / "1").mkdir(parents=True)
    traced = torch.jit.trace(Spoof(), torch.zeros(1, 3, SIZE, SIZE))  # type: ignore[no-untyped-call]
    traced.save(str(folder / "1" / "model.pt"))
    (folder / "config.pbtxt").write_text(_CONFIG)
