"""Child processes: they end when they should, whatever they do, and say why they failed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.stack.process import (
    Process,
    StackError,
    check_ports,
    make_private,
    python,
    write_private,
)

Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts ``sh -c SCRIPT``; whatever a test leaves running is ended after it."""
    started: list[Process] = []

    def start(script: str, **env: str) -> Process:
        log = tmp_path / "logs" / f"{len(started)}.log"
        process = Process("The server", ["sh", "-c", script], log=log, env=env)
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop(0)


def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether it runs: who has ended, and whom nobody has asked for his exit code, does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def written(process: Process) -> str:
    return process.log.read_text()


def pid_in(process: Process) -> int:
    until(lambda: written(process).endswith("\n"))
    return int(written(process).split()[0])


def test_what_a_child_writes_is_kept_after_its_end(start: Start) -> None:
    process = start('echo out; echo "$GREETING" >&2; sleep 60', GREETING="hello")
    until(lambda: "hello" in written(process))
    process.stop(5)
    assert written(process) == "out\nhello\n"


def test_a_child_has_nothing_to_read_and_the_environment_of_its_parent(start: Start) -> None:
    process = start('cat; echo "$PATH"; sleep 60')
    until(lambda: written(process) == os.environ["PATH"] + "\n")


class TestWaiting:
    def test_until_healthy(self, start: Start) -> None:
        answers = iter([False, False, True])
        start("sleep 60").wait_until(lambda: next(answers), 5)
        assert next(answers, None) is None

    def test_the_end_of_the_child_is_told_by_its_last_error(self, start: Start) -> None:
        process = start("echo starting; echo 'Error: no space left'; echo bye; exit 3")
        with pytest.raises(StackError) as caught:
            process.wait_until(lambda: False, 5)
        assert str(caught.value) == (
            f"The server ended with exit code 3: Error: no space left (log: {process.log})"
        )

    def test_an_error_of_long_before_is_not_why_it_ended(self, start: Start) -> None:
        process = start("echo 'Error: no GPU'; seq 30; echo 'what(): locked'; kill -ABRT $$")
        with pytest.raises(StackError, match=r"ended by SIGABRT: what\(\): locked"):
            process.wait_until(lambda: False, 5)

    def test_without_an_error_its_last_line_is_told(self, start: Start) -> None:
        process = start("echo one; echo two; echo; exit 0")
        with pytest.raises(StackError, match=r"exit code 0: two \(log"):
            process.wait_until(lambda: False, 5)

    def test_a_silent_end(self, start: Start) -> None:
        with pytest.raises(StackError, match=r"exit code 1 \(log"):
            start("exit 1").wait_until(lambda: False, 5)

    def test_who_is_not_ready_in_time(self, start: Start) -> None:
        process = start("echo 'still loading'; sleep 60")
        until(lambda: written(process) != "")
        with pytest.raises(StackError, match=r"was not ready after 0\.01 s: still loading"):
            process.wait_until(lambda: False, 0.01)

    def test_a_log_that_is_no_text(self, start: Start) -> None:
        process = start(r"printf '\377 error \376\n'; exit 1")
        with pytest.raises(StackError, match="error"):
            process.wait_until(lambda: False, 5)

    def test_a_child_that_runs_is_no_error(self, start: Start) -> None:
        start("sleep 60").check()


class TestStopping:
    def test_it_is_asked_before_it_is_ended(self, start: Start) -> None:
        process = start("trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.02; done")
        until(lambda: "up" in written(process))
        process.stop(5)
        assert written(process) == "up\nasked\n"
        assert not alive(process.pid)

    def test_it_is_asked_once(self, start: Start) -> None:
        process = start("trap 'echo asked' TERM; echo up; while :; do sleep 0.02; done")
        until(lambda: "up" in written(process))
        process.terminate()
        until(lambda: "asked" in written(process))
        process.stop(0.2)
        assert written(process) == "up\nasked\n"
        assert not alive(process.pid)

    def test_who_does_not_listen_is_ended(self, start: Start) -> None:
        process = start("trap '' TERM; echo up; while :; do sleep 0.02; done")
        until(lambda: "up" in written(process))
        process.stop(0.1)
        assert not alive(process.pid)

    @pytest.mark.parametrize("parent", ["wait", "exit 0"], ids=["waits", "has ended"])
    def test_what_the_child_started_ends_with_it(self, start: Start, parent: str) -> None:
        process = start(f"(trap '' TERM; sleep 60) & echo $!; {parent}")
        grandchild = pid_in(process)
        assert alive(grandchild)
        process.stop(0.1)
        until(lambda: not alive(grandchild))

    def test_twice(self, start: Start) -> None:
        process = start("sleep 60")
        process.stop(5)
        process.stop(5)
        assert not alive(process.pid)

    def test_an_interrupt_of_the_terminal_reaches_only_the_parent(self, start: Start) -> None:
        """Ctrl-C goes to the terminal's group; the parent stops the children in order."""
        assert os.getpgid(start("sleep 60").pid) != os.getpgid(0)


PARENT = """
import sys, time
from pathlib import Path
from serving.stack.process import Process
child = Process("child", ["sleep", "60"], log=Path(sys.argv[1]))
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_does_not_outlive_a_parent_that_was_killed(
    tmp_path: Path, how: signal.Signals
) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            assert alive(child)
            parent.send_signal(how)
            parent.wait(5)
            until(lambda: not alive(child))
        finally:
            parent.kill()
            if alive(child):
                os.kill(child, signal.SIGKILL)


class TestPorts:
    def test_a_taken_port_is_named_with_its_purpose(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(StackError, match=rf"Port {port} \(Triton\) is taken") as caught:
                check_ports({"HTTP": free_port(), "Triton": port})
        assert "--port" in str(caught.value)

    def test_free_ports_stay_free(self) -> None:
        port = free_port()
        check_ports({"HTTP": port})
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))

    def test_a_connection_that_is_still_closing_does_not_hold_its_port(self) -> None:
        """A stack that was stopped can be started again at once."""
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", 0))
            server.listen()
            port = server.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)):
                accepted, _ = server.accept()
                accepted.close()  # the server's side closes first, and its port lingers
        check_ports({"HTTP": port})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def modes(folder: Path) -> set[int]:
    return {path.lstat().st_mode & 0o777 for path in folder.rglob("*") if not path.is_symlink()}


def test_what_a_child_writes_is_for_the_user_alone(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    log = tmp_path / "logs" / "child.log"
    command = ["sh", "-c", "echo said; mkdir made; echo x > made/file"]
    child = Process("A child", command, log=log, folder=tmp_path / "work")
    try:
        with pytest.raises(StackError):
            child.wait_until(lambda: False, 5)
    finally:
        child.stop(0)
    assert log.read_text() == "said\n"
    assert (tmp_path / "work" / "made" / "file").exists()
    assert modes(tmp_path / "work") | modes(tmp_path / "logs") <= {0o600, 0o700}
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_could_read_is_closed_with_all_that_is_in_it(tmp_path: Path) -> None:
    folder, outside = tmp_path / ".run", tmp_path / "outside"
    (folder / "s3").mkdir(parents=True)
    outside.touch()
    (folder / "s3" / "faces_1.dat").write_text("embeddings")
    (folder / "program").touch()
    (folder / "link").symlink_to(outside)
    (folder / "dangling").symlink_to(tmp_path / "nowhere")
    for path, mode in ((folder, 0o755), (folder / "s3", 0o755), (outside, 0o644)):
        path.chmod(mode)
    (folder / "s3" / "faces_1.dat").chmod(0o644)
    (folder / "program").chmod(0o755)
    make_private(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert modes(folder) == {0o600, 0o700}
    assert (folder / "program").stat().st_mode & 0o777 == 0o700
    assert outside.stat().st_mode & 0o777 == 0o644  # a link's target is not ours


def test_a_file_is_private_although_it_was_there(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("much longer than what comes")
    path.chmod(0o644)
    write_private(path, "short")
    assert path.read_text() == "short"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_it_writes_is_the_users_alone_and_it_leaves_no_core(
    start: Start, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    process = start(f"touch {made}; grep core /proc/self/limits")
    until(lambda: written(process).endswith("\n"))
    assert made.stat().st_mode & 0o077 == 0
    # Of one byte the kernel makes none, neither a file nor for a program that takes them.
    assert written(process).split()[4:6] in (["1", "1"], ["0", "0"])


def test_a_child_that_does_not_end_when_it_is_asked_to_is_killed_with_its_parent(
    tmp_path: Path,
) -> None:
    stubborn = """["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"]"""
    code = PARENT.replace('["sleep", "60"]', stubborn).replace(
        "log=Path(sys.argv[1])", "log=Path(sys.argv[1]), orphaned=signal.SIGKILL"
    )
    log = tmp_path / "log"
    with subprocess.Popen(
        [sys.executable, "-c", f"import signal\n{code}", str(log)], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        until(lambda: log.read_text() == "up\n")
        parent.kill()
    until(lambda: not alive(child))


@pytest.mark.parametrize("name", ["yaml", "serving", "ray", "queue"])
def test_modules_of_the_folder_where_it_is_started_are_not_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("raise SystemExit('not ours')")
    child = Process(
        "child", [*python("serving.stack.serve"), "missing"], log=tmp_path / "log", folder=tmp_path
    )
    with pytest.raises(StackError, match="No such file or directory: 'missing'"):
        child.wait_until(lambda: False, 60)


def test_variables_of_the_environment_that_are_not_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "RAY_ADDRESS", "KEPT"):
        monkeypatch.setenv(variable, "of the user")
    log = tmp_path / "log"
    child = Process(
        "child", ["env"], log=log, env={"AWS_ACCESS_KEY_ID": "own"}, hidden=("AWS_", "RAY_ADDRESS")
    )
    with pytest.raises(StackError):
        child.wait_until(lambda: False, 60)
    lines = log.read_text().splitlines()
    assert [line for line in lines if line.startswith("AWS_")] == ["AWS_ACCESS_KEY_ID=own"]
    assert "KEPT=of the user" in lines
    assert not any(line.startswith("RAY_ADDRESS") for line in lines)
