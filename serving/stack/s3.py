"""The S3 server of the one-machine stack: SeaweedFS.

`weed server` is four servers. Only S3 checks signatures; the other three serve every request. So
they require the certificate that lies in the stack's folder (mutual TLS).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from serving.stack import tls
from serving.stack.credentials import credentials
from serving.stack.process import LOOPBACK, Process, StackError, write_private

# The servers of `weed server`, in the order of their ports.
_SERVERS = ("s3", "master", "volume", "filer")


def ports_of(first: int) -> dict[str, int]:
    """S3 itself is at ``first``; its inner servers and their gRPC ports follow."""
    plain = {f"S3 ({name})": first + n for n, name in enumerate(_SERVERS)}
    grpc = {f"S3 ({name} gRPC)": first + n + len(_SERVERS) for n, name in enumerate(_SERVERS)}
    return plain | grpc


def start(folder: Path, logs: Path, first_port: int) -> Process:
    """Start the server on loopback; its data lies in ``folder``/s3 and stays."""
    # Beside this Python: its environment need not be activated.
    weed = shutil.which("weed", path=Path(sys.executable).parent)
    if weed is None:
        raise StackError("The S3 server is not installed; run make install.")
    keys = credentials(folder)
    config = folder / "s3-config.json"
    identity = {
        "name": "faces",
        "credentials": [
            {"accessKey": keys["AWS_ACCESS_KEY_ID"], "secretKey": keys["AWS_SECRET_ACCESS_KEY"]}
        ],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    write_private(config, json.dumps({"identities": [identity]}))
    data = folder / "s3"
    data.mkdir(mode=0o700, exist_ok=True)
    _close_inner_servers(folder)
    command = [
        weed,
        f"-config_dir={folder}",
        "server",
        # Relative to the folder: in a list of folders a comma would part it.
        f"-dir={data.name}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        "-master.telemetry=false",
        # A volume server that connects before the master is elected retries only after 5 s.
        "-master.electionTimeout=100ms",
        "-master.volumeSizeLimitMB=1024",
        "-volume.max=0",
        "-volume.preStopSeconds=0",
        "-s3",
        f"-s3.config={config}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.iam=false",
        # No web page may use it.
        "-s3.allowedOrigins=",
        # The other servers reach these two by gRPC.
        "-disableHttp",
        "-filer.disableHttp",
        # Relative to the folder, since a socket's path must be short; the default is /tmp.
        "-s3.localSocket=s3.sock",
        "-filer.localSocket=s3-filer.sock",
    ]
    for n, name in enumerate(_SERVERS):
        command.append(f"-{name}.port={first_port + n}")
        command.append(f"-{name}.port.grpc={first_port + n + len(_SERVERS)}")
    # Its servers wait for one another when they are asked to end, without end where one was not yet
    # up; whoever kills this process must get the ports back. What S3 has confirmed is in its files.
    return Process(
        "The S3 server",
        command,
        log=logs / "s3.log",
        folder=folder,
        orphaned=signal.SIGKILL,
    )


def _close_inner_servers(folder: Path) -> None:
    """Write the security.toml that makes the inner servers refuse clients without the certificate.

    It has a section for each server, and one for all of them as clients of each other.
    """
    certificate, key = tls.make(folder, "s3")
    ca = {"ca": str(certificate)}
    own = {"cert": str(certificate), "key": str(key)}
    sections: dict[str, dict[str, str | bool]] = {
        "grpc": {**ca},
        "grpc.client": {**own},
        "https.client": {"enabled": True, **own, **ca},
    }
    for name in _SERVERS:
        sections[f"grpc.{name}"] = {**own}
        if name != "s3":  # S3 itself is plain HTTP and checks signatures
            sections[f"https.{name}"] = {**own, **ca}
    lines = []
    for section, values in sections.items():
        lines.append(f"[{section}]")
        # A JSON string is a valid TOML string.
        lines.extend(f"{key} = {json.dumps(value)}" for key, value in values.items())
    write_private(folder / "security.toml", "\n".join(lines) + "\n")


def make_bucket(folder: Path, port: int, bucket: str) -> bool:
    """Create the bucket unless it exists; False while the server is not up yet."""
    with socket.socket() as probe:
        # Tried first: a client takes longer to make than the server to answer.
        if probe.connect_ex((LOOPBACK, port)) != 0:
            return False
    keys = credentials(folder)
    # Without what the user's environment and files say of AWS.
    alone: dict[str, Any] = dict.fromkeys(("profile", "ca_bundle"), (None, None, None, None))
    for name in ("config_file", "credentials_file"):
        alone[name] = (None, None, os.devnull, None)
    session = boto3.session.Session(botocore_session=botocore.session.Session(alone))
    client = session.client(
        "s3",
        endpoint_url=f"http://{LOOPBACK}:{port}",
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        config=Config(
            connect_timeout=1,
            read_timeout=5,
            retries={"total_max_attempts": 1},
            proxies={},  # none, also where the environment has some
        ),
    )
    try:
        client.create_bucket(Bucket=bucket)
    except client.exceptions.BucketAlreadyOwnedByYou:
        pass
    except client.exceptions.BucketAlreadyExists:
        pass
    except (BotoCoreError, ClientError):
        return False
    try:
        # The volumes come up after S3 itself, so only a write shows that the server is up. An empty
        # object would need no volume.
        client.put_object(Bucket=bucket, Key=".up", Body=b"up")
        client.delete_object(Bucket=bucket, Key=".up")
    except (BotoCoreError, ClientError):
        return False
    return True
