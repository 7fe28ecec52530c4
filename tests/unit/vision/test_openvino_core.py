"""What OpenVINO leaves behind when its networks go."""

from __future__ import annotations

import subprocess
import sys

import pytest

# They go in the order of their making, as each gives back the stack that it found.
_SCRIPT = """
import gc, os, signal
{imports}
made = [{made}, {made}]
while made:
    made.pop(0)
    gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("told"))
os.kill(os.getpid(), signal.SIGTERM)
print("alive")
"""


@pytest.mark.parametrize(
    ("imports", "made"),
    [
        ("from serving.vision.mtcnn.networks import Networks", "Networks.load(1)"),
        ("from serving.vision.yunet.network import Network", "Network(threads=1)"),
    ],
)
def test_a_signal_does_not_end_a_process_whose_networks_are_gone(imports: str, made: str) -> None:
    script = _SCRIPT.format(imports=imports, made=made)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["told", "alive"]), done.stderr
