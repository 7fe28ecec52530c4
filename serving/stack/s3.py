"""The S3 server of the one-machine stack: SeaweedFS.

`weed server` is four servers. Only S3 asks for signatures; the other three give and take whatever
they are asked for, so they ask for a certificate that lies in the stack's folder (mutual TLS).
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from serving.stack import tls
from serving.stack.credentials import credentials
from serving.stack.process import LOOPBACK, Process, StackError, write_private

# What `weed server` listens on, in the order of its ports.
_SERVERS = ("s3", "master", "volume", "filer")


def ports_of(first: int) -> dict[str, int]:
    """S3 itself is at ``first``; its inner servers and their gRPC ports follow."""
    plain = {f"S3 ({name})": first + n for n, name in enumerate(_SERVERS)}
    grpc = {f"S3 ({name} gRPC)": first + n + len(_SERVERS) for n, name in enumerate(_SERVERS)}
    return plain | grpc


def start(folder: Path, logs: Path, first_port: int) -> Process:
    """Start the server on loopback; its data lies in ``folder``/s3 and stays."""
    # Beside this Python, whose environment need not be activated.
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
        f"-dir={data}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        "-master.telemetry=false",
        # A volume server that calls before the master has elected itself calls again 5 s later.
        "-master.electionTimeout=100ms",
        "-master.volumeSizeLimitMB=1024",
        "-volume.max=0",
        "-volume.preStopSeconds=0",
        "-s3",
        f"-s3.config={config}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.iam=false",
        # No page in a browser has business here.
        "-s3.allowedOrigins=",
        # What the parts of the server need of these two goes by gRPC.
        "-disableHttp",
        "-filer.disableHttp",
        # Relative to the folder, since a socket's path must be short; by default they are in /tmp.
        "-s3.localSocket=s3.sock",
        "-filer.localSocket=s3-filer.sock",
    ]
    for n, name in enumerate(_SERVERS):
        command.append(f"-{name}.port={first_port + n}")
        command.append(f"-{name}.port.grpc={first_port + n + len(_SERVERS)}")
    return Process("The S3 server", command, log=logs / "s3.log", folder=folder)


def _close_inner_servers(folder: Path) -> None:
    """Write the security.toml by which they answer nobody without the certificate.

    There is a section for each of them as a server, and for all as clients of each other.
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
        if name != "s3":  # which is the one that is open, to requests with a signature
            sections[f"https.{name}"] = {**own, **ca}
    lines = []
    for section, values in sections.items():
        lines.append(f"[{section}]")
        # A JSON string is one of TOML, too.
        lines.extend(f"{key} = {json.dumps(value)}" for key, value in values.items())
    write_private(folder / "security.toml", "\n".join(lines) + "\n")


def make_bucket(folder: Path, port: int, bucket: str) -> bool:
    """Make the bucket unless it is there; False while the server is not up yet."""
    keys = credentials(folder)
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{LOOPBACK}:{port}",
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        config=Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1}),
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
        # The volumes come up after the S3 part: up is what can be written to. An empty object would
        # need no volume.
        client.put_object(Bucket=bucket, Key=".up", Body=b"up")
        client.delete_object(Bucket=bucket, Key=".up")
    except (BotoCoreError, ClientError):
        return False
    return True
