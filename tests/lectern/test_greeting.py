"""The text at the start names links that work, and what browsers refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from lectern import greeting as greeting_module
from lectern.greeting import greeting
from lectern.settings import Settings


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting_module, "machine_addresses", lambda: ["192.0.2.7"])


def test_on_loopback_it_names_localhost_and_says_that_nobody_else_comes_in() -> None:
    text = greeting(Settings())
    assert "http://localhost:8080" in text
    assert "nobody else can reach it" in text
    assert "--tls-cert" in text


def test_a_network_without_https_is_told_what_browsers_refuse() -> None:
    text = greeting(Settings(host="0.0.0.0", port=9000))
    assert "http://192.0.2.7:9000" in text
    assert "Without https students can watch, but a browser lets nobody share" in text


def test_a_network_with_https_has_no_warning() -> None:
    text = greeting(Settings(host="0.0.0.0", tls_cert=Path("c"), tls_key=Path("k")))
    assert "https://192.0.2.7:8080" in text
    assert "Without https" not in text


def test_the_public_url_is_the_link() -> None:
    text = greeting(Settings(host="0.0.0.0", public_url="https://class.example"))
    assert "https://class.example" in text
    assert "192.0.2.7" not in text
