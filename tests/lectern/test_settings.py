"""Settings are checked, and what is wrong is said in a sentence."""

from __future__ import annotations

import argparse
import socket
from ipaddress import ip_network
from pathlib import Path

import pytest

from lectern.advertise import Advertised, shifted
from lectern.settings import SettingError, Settings, load, unknown_variables
from tests.lectern.running import free_media_port, run_lectern


def _load(command: str = "up", **variables: str) -> Settings:
    given = {f"LECTERN_{name.upper()}": value for name, value in variables.items()}
    return load(command, argparse.Namespace(), given)


def test_an_option_wins_over_its_variable() -> None:
    options = argparse.Namespace(port="9000")
    assert load("up", options, {"LECTERN_PORT": "8000"}).port == 9000
    assert _load(port="8000").port == 8000


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"port": "none"}, "LECTERN_PORT is 'none', but a port is a number"),
        ({"port": "70000"}, "from 1 to 65535"),
        ({"nodes": "0"}, "from 1 to 256"),
        ({"host": "0.0.0.0", "throttle": "off"}, "refused on 0.0.0.0"),
        ({"throttle": "no"}, "on or off"),
        ({"tls_cert": "/dev/null"}, "belong together"),
        ({"tls_cert": "/none", "tls_key": "/none"}, "/none .* is not a file"),
        ({"udp_port": "65535", "nodes": "2"}, "--udp-port .* past port 65535"),
        ({"tcp_port": "65535", "nodes": "2"}, "--tcp-port .* past port 65535"),
        ({"tcp_port": "0"}, "from 1 to 65535"),
        ({"tcp_port": "8079", "nodes": "2"}, "--port 8080 is also a TCP port of the media"),
        ({"advertise": "192.0.2.1:65535", "nodes": "2"}, "past port 65535"),
        ({"advertise": "here"}, "'here' is no IP address; browsers are given no names"),
        ({"advertise": "192.0.2.1,,192.0.2.2"}, "an address is missing"),
        ({"advertise": "192.0.2.1,"}, "an address is missing"),
        ({"advertise": "192.0.2.1,192.0.2.1"}, "192.0.2.1 is there twice"),
        ({"advertise": "192.0.2.1:"}, "'192.0.2.1:' lacks its port"),
        ({"advertise": "192.0.2.1:0"}, "'0' is no port"),
        ({"advertise": "192.0.2.1:70000"}, "'70000' is no port"),
        ({"advertise": "192.0.2.1:7900/"}, "'' is no port"),
        ({"advertise": "192.0.2.1:7900/x"}, "'x' is no port"),
        ({"advertise": "[2001:db8::1"}, "is not .IPv6.:PORT"),
        ({"advertise": "[2001:db8::1]7900"}, "is not .IPv6.:PORT"),
        ({"advertise": "[2001:db8::1]:"}, "is not .IPv6.:PORT"),
        ({"advertise": "0.0.0.0"}, "0.0.0.0 is no address that browsers can reach"),
        ({"advertise": "224.0.0.1"}, "224.0.0.1 is no address that browsers can reach"),
        ({"advertise": "fe80::1"}, "fe80::1 is no address that browsers can reach"),
        ({"advertise": "fe80::1%eth0"}, "fe80::1%eth0 is no address"),
        ({"advertise": "2001:db8::1"}, "--host 127.0.0.1 takes IPv4 only; --host :: takes both"),
        ({"advertise": "192.0.2.1", "host": "::1"}, "--host ::1 takes IPv6 only"),
        (
            {"advertise": ",".join(f"192.0.2.{n}" for n in range(17))},
            "16 addresses are the most",
        ),
        ({"trusted_proxies": "10.0.0.0/33"}, "does not appear to be an IPv4 or IPv6 network"),
        ({"host_absence_max_s": "0"}, "a whole number of seconds from 1"),
    ],
)
def test_a_wrong_setting_is_a_sentence(variables: dict[str, str], text: str) -> None:
    with pytest.raises(SettingError, match=text):
        _load(**variables)


def test_throttle_may_be_off_on_loopback() -> None:
    assert not _load(throttle="off").throttle


def test_a_child_reads_back_what_its_parent_meant() -> None:
    meant = Settings(
        data=Path("/tmp/x"),
        host="::",
        tcp_port=443,
        advertise=(
            Advertised("192.0.2.1"),
            Advertised("2001:db8::1"),
            Advertised("2001:db8::1", 9, 9),
            Advertised("192.0.2.1", 9, 443),
        ),
        database_url="postgresql://a:b%20c@h/d?x=y",
        throttle=True,
        trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")),
        host_absence_max_s=60,
        nodes=3,
    )
    assert load("up", argparse.Namespace(), meant.environment()) == meant


def test_addresses_are_kept_in_order_with_their_ports() -> None:
    text = "203.0.113.5:7900, [2001:db8::1]:7901/443,2001:db8::2,[2001:db8::3],192.0.2.1"
    assert _load(host="::", advertise=text).advertise == (
        Advertised("203.0.113.5", 7900, 7900),
        Advertised("2001:db8::1", 7901, 443),
        Advertised("2001:db8::2"),
        Advertised("2001:db8::3"),
        Advertised("192.0.2.1"),
    )


def test_the_media_has_one_number_for_udp_and_tcp_unless_told_otherwise() -> None:
    assert _load(udp_port="7000", nodes="2").media_ports == (range(7000, 7002), range(7000, 7002))
    ports = _load(udp_port="7000", tcp_port="443").media_ports
    assert ports == (range(7000, 7001), range(443, 444))


def test_nodes_of_a_machine_are_advertised_one_port_after_the_other() -> None:
    given = _load(advertise="192.0.2.1:7900/443,192.0.2.2", udp_port="7000", nodes="2")
    advertised = [str(shifted(address, 1)) for address in given.advertise]
    assert advertised == ["192.0.2.1:7901/444", "192.0.2.2"]


def test_a_mistyped_variable_is_named() -> None:
    (sentence,) = unknown_variables({"LECTERN_UPD_PORT": "1", "LECTERN_PORT": "2", "PORT": "3"})
    assert (
        sentence == "LECTERN_UPD_PORT is not a setting of Lectern; did you mean LECTERN_UDP_PORT?"
    )


def test_a_secret_is_no_option() -> None:
    done = run_lectern("up", "--database-url", "postgresql://u:p@h/d")
    assert done.returncode == 2
    assert "unrecognized arguments" in done.stderr


def test_help_names_every_setting_of_a_command() -> None:
    text = run_lectern("up", "--help").stdout
    for name in ("--data", "--host", "--tls-cert", "--throttle", "LECTERN_DATABASE_URL"):
        assert name in text


def test_a_node_says_which_port_it_cannot_have() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_lectern("sfu", "--tcp-port", str(port), "--udp-port", str(free_media_port()))
    assert done.returncode == 2
    assert f"TCP port {port} on 127.0.0.1 cannot be used (Address already in use)" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_demo_without_a_server_says_so() -> None:
    done = run_lectern("demo", "--server", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "There is no Lectern at http://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr
