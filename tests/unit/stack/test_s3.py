"""Keys and ports of the S3 server, and what happens without it."""

from __future__ import annotations

import configparser
import os
import stat
import sys
from pathlib import Path

import pytest

from serving.stack import s3
from serving.stack.credentials import KEYS, credentials
from serving.stack.process import StackError
from tests.support.service import fake_service


def free_of_umask(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_keys_are_made_once_and_for_the_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = credentials(tmp_path)
    finally:
        os.umask(before)
    assert made.keys() == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert len(made["AWS_SECRET_ACCESS_KEY"]) >= 40
    assert free_of_umask(tmp_path / KEYS) == 0o600
    assert credentials(tmp_path) == made


def test_each_folder_has_keys_of_its_own(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made.append(credentials(tmp_path / name))
    assert made[0]["AWS_ACCESS_KEY_ID"] != made[1]["AWS_ACCESS_KEY_ID"]
    assert made[0]["AWS_SECRET_ACCESS_KEY"] != made[1]["AWS_SECRET_ACCESS_KEY"]


def test_every_inner_server_has_ports_of_its_own() -> None:
    ports = s3.ports_of(9000)
    assert ports["S3 (s3)"] == 9000
    assert len(set(ports.values())) == len(ports) == 8


def test_without_the_server_the_next_step_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(StackError, match="S3 server is not installed; run make install"):
        s3.start(tmp_path, tmp_path, 9000)


def test_the_server_gets_its_ports_and_no_secret_on_its_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody on the machine can read a command line."""
    weed = tmp_path / "weed"
    weed.write_text('#!/bin/sh\necho "$@"\n')
    weed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    server = s3.start(tmp_path, tmp_path, 9000)
    try:
        with pytest.raises(StackError):
            server.wait_until(lambda: False, 5)
        said = server.log.read_text()
    finally:
        server.stop(0)
    for secret in credentials(tmp_path).values():
        assert secret not in said
    assert "-ip.bind=127.0.0.1" in said
    assert f"-config_dir={tmp_path} server" in said
    for port in s3.ports_of(9000).values():
        assert f"={port}" in said
    config = tmp_path / "s3-config.json"
    assert free_of_umask(config) == 0o600
    assert credentials(tmp_path)["AWS_SECRET_ACCESS_KEY"] in config.read_text()


def test_the_inner_servers_ask_for_the_certificate_of_this_stack(tmp_path: Path) -> None:
    s3._close_inner_servers(tmp_path)
    path = tmp_path / "security.toml"
    assert free_of_umask(path) == 0o600
    parser = configparser.ConfigParser()
    parser.read(path)
    files = {name: f'"{tmp_path / name}"' for name in ("s3.crt", "s3.key")}
    for server in ("master", "volume", "filer"):
        assert dict(parser[f"https.{server}"]) == {
            "cert": files["s3.crt"],
            "key": files["s3.key"],
            "ca": files["s3.crt"],
        }
    for server in ("master", "volume", "filer", "s3", "client"):
        assert parser[f"grpc.{server}"]["cert"] == files["s3.crt"]
    assert parser["grpc"]["ca"] == parser["https.client"]["ca"] == files["s3.crt"]
    assert free_of_umask(tmp_path / "s3.key") == 0o600


def test_a_server_that_is_not_up_yet_has_no_bucket(tmp_path: Path) -> None:
    assert s3.make_bucket(tmp_path, 1, "faces") is False


def test_what_the_user_has_of_aws_and_of_proxies_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[default\n")
    for variable, value in (
        ("AWS_PROFILE", "nope"),
        ("AWS_SESSION_TOKEN", "of-the-user"),
        ("AWS_CONFIG_FILE", str(tmp_path / "config")),
        ("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "config")),
        ("AWS_CA_BUNDLE", "/nonexistent"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ACCESS_KEY_ID", "of-the-user"),
        ("http_proxy", "http://127.0.0.1:1"),
        ("no_proxy", ""),
    ):
        monkeypatch.setenv(variable, value)
    with fake_service() as server:
        server.body = b""
        s3.make_bucket(tmp_path, int(server.url.rpartition(":")[2]), "faces")
        assert server.headers
        for headers in server.headers:
            assert "x-amz-security-token" not in headers
            assert "of-the-user" not in headers["authorization"]
