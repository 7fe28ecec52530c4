"""Which of Triton's closed calls answer by gRPC, as one line of JSON.

python -m tests.service.triton_grpc HOST:PORT
"""

from __future__ import annotations

import json
import sys

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException


def main(address: str) -> None:
    client = InferenceServerClient(address)
    answered = []
    for name, call in {
        "index": client.get_model_repository_index,
        "load": lambda: client.load_model("any"),
        "log settings": client.get_log_settings,
        "shared memory": client.get_system_shared_memory_status,
        "statistics": client.get_inference_statistics,
        "trace settings": client.get_trace_settings,
    }.items():
        try:
            call()
            answered.append(name)
        except InferenceServerException as error:
            if "This protocol is restricted" not in str(error):
                answered.append(f"{name}: {error}")
    print(json.dumps({"ready": client.is_server_ready(), "answered": answered}))
    client.close()


if __name__ == "__main__":
    main(sys.argv[1])
