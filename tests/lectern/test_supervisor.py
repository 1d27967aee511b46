"""`lectern up` keeps everything running, ends everything, and leaves nothing."""

from __future__ import annotations

import datetime
import os
import shutil
import signal
import socket
import ssl
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lectern import cli
from lectern.child import STOP_TIMEOUT_S
from tests.lectern.running import Up, ask, lives, wait_for

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory to be made, in a directory that the database's user can reach."""
    home = Path(tempfile.mkdtemp(prefix="lectern-up-", dir="/tmp"))
    home.chmod(0o755)
    yield home / "data"
    shutil.rmtree(home)


@pytest.fixture
def up(data: Path) -> Iterator[Up]:
    running = Up(data)
    yield running
    if running.process is not None:
        running.stop()
    assert running.left() == []


@pytest.fixture(scope="module")
def steady() -> Iterator[Up]:
    """One that the tests that only look at it share."""
    home = Path(tempfile.mkdtemp(prefix="lectern-up-", dir="/tmp"))
    home.chmod(0o755)
    running = Up(home / "data").start()
    yield running
    running.stop()
    assert running.left() == []
    shutil.rmtree(home)


def test_it_serves_and_ctrl_c_leaves_nothing(up: Up) -> None:
    up.start()
    assert ask(up.url + "/readyz") == 200
    assert up.said(f"http://localhost:{up.port}")
    assert len(up.children("web")) == 1
    assert len(up.children("sfu")) == 1
    assert up.stop() == 0
    assert up.left() == []


def test_a_node_never_learns_of_the_database(steady: Up) -> None:
    (node,) = steady.children("sfu")
    names = {
        entry.partition("=")[0] for entry in Path(f"/proc/{node}/environ").read_text().split("\0")
    }
    assert "LECTERN_CLUSTER_SECRET" in names
    assert names.isdisjoint({"LECTERN_DATABASE_URL", "LECTERN_REDIS_URL"})


def test_nothing_but_pages_and_media_listens_on_the_network(steady: Up) -> None:
    listening = _listening_ports(steady)
    assert {port for kind, port in listening if kind == "tcp"} == {steady.port, steady.media_port}
    assert {port for kind, port in listening if kind == "udp"} == {steady.media_port}


@pytest.mark.long
def test_a_second_ctrl_c_does_not_wait_for_a_child_that_hangs(up: Up) -> None:
    up.start()
    (node,) = up.children("sfu")
    os.kill(node, signal.SIGSTOP)
    up.signal(signal.SIGINT)
    up.expect("Ctrl-C again stops harder", 5)
    began = time.monotonic()
    up.signal(signal.SIGINT)
    assert up.wait() == 0
    assert time.monotonic() - began < STOP_TIMEOUT_S / 2
    assert up.left() == []


def test_it_serves_https_with_a_certificate(up: Up) -> None:
    certificate, key = _certificate(up.data.parent)
    up.options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    up.start()
    trusting = ssl.create_default_context(cafile=certificate)
    with urllib.request.urlopen(f"https://localhost:{up.port}/readyz", context=trusting) as answer:
        assert answer.status == 200
    assert up.said(f"https://localhost:{up.port}")


def test_a_certificate_that_is_none_stops_everything_with_a_sentence(up: Up) -> None:
    wrong = up.data.parent / "wrong.pem"
    wrong.write_text("no certificate")
    up.options = ("--tls-cert", str(wrong), "--tls-key", str(wrong))
    up.launch()
    assert up.wait() == 2
    assert up.said("are no certificate and its key")
    assert not up.said("Traceback")


@pytest.mark.parametrize("command", ["web", "sfu"])
def test_a_killed_child_is_started_again_and_said_so(up: Up, command: str) -> None:
    up.start()
    (before,) = up.children(command)
    os.kill(before, signal.SIGKILL)
    up.expect("was killed by SIGKILL; starting it again", 10)
    wait_for(lambda: len(up.children(command)) == 1 and up.children(command) != [before])
    wait_for(lambda: _answers(up), 30)


def test_a_killed_database_is_started_again(up: Up) -> None:
    up.start()
    os.kill(_server(up, "postgres"), signal.SIGKILL)
    up.expect("PostgreSQL ended; starting it again", 10)
    wait_for(lambda: _answers(up), 30)


@pytest.mark.long
def test_the_next_start_ends_what_a_killed_supervisor_left(up: Up) -> None:
    up.start()
    left = [_server(up, "postgres"), _server(up, "redis")]
    up.signal(signal.SIGKILL)
    up.wait()
    assert all(lives(pid) for pid in left), "nothing was left, so nothing is tested"
    up.start()
    assert not any(lives(pid) for pid in left)
    assert ask(up.url + "/readyz") == 200


def test_two_supervisors_do_not_share_a_directory(steady: Up) -> None:
    other = Up(steady.data)
    other.launch()
    assert other.wait() == 2
    assert other.said(f"Lectern already runs on {steady.data} (process {steady.pid})")
    assert ask(steady.url + "/readyz") == 200


def test_a_migration_does_not_stop_a_running_servers_database(
    steady: Up, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["migrate", "--data", str(steady.data)]) == 2
    assert f"Lectern already runs on {steady.data}" in capsys.readouterr().err
    assert ask(steady.url + "/readyz") == 200


@pytest.mark.parametrize(
    ("kind", "protocol", "flag"),
    [
        (socket.SOCK_STREAM, "TCP", "--port"),
        (socket.SOCK_DGRAM, "UDP", "--udp-port"),
        (socket.SOCK_STREAM, "TCP", "--tcp-port"),
    ],
)
def test_a_taken_port_is_said_before_anything_starts(
    up: Up, kind: socket.SocketKind, protocol: str, flag: str
) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen(1)
        port = taken.getsockname()[1]
        up.options = (flag, str(port))
        up.launch()
        assert up.wait() == 2
    assert len(up.lines) == 1, up.lines
    assert f"{protocol} port {port} on 127.0.0.1" in up.lines[0]
    assert f"choose another with {flag}" in up.lines[0]


def _certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "cert.pem", directory / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def _answers(up: Up) -> bool:
    try:
        return ask(up.url + "/readyz") == 200
    except OSError:
        return False


def _server(up: Up, name: str) -> int:
    """Return the process id of an embedded server, by where it works."""
    directory = str(up.data / name)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "cwd") == directory:
                    found.append(int(entry.name))
            except OSError:
                pass
    return min(found)  # PostgreSQL's own children came after it


def _listening_ports(up: Up) -> set[tuple[str, int]]:
    """Return the inet sockets of every process that belongs to the supervisor."""
    pids = [up.pid, *up.children("web"), *up.children("sfu")]
    pids += [_server(up, "postgres"), _server(up, "redis")]
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(link)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    for kind, listening in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == listening and fields[9] in inodes:
                found.add((kind[:3], int(fields[1].rpartition(":")[2], 16)))
    return found
