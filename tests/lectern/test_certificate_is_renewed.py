"""A renewed certificate is served without a restart, and a broken one never."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lectern.settings import Settings
from lectern.tls import keep_fresh, tls_context


def make_certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """Write cert.pem and key.pem of a self-signed certificate for `name`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = directory / "cert.pem", directory / "key.pem"
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_path, key_path


@dataclass
class Served:
    directory: Path
    port: int
    asked: asyncio.Event

    async def name(self) -> str:
        """Return the name in the certificate that a new connection is shown."""
        tls = ssl.create_default_context()
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=tls)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        subject = x509.load_der_x509_certificate(shown).subject
        return str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    async def until(self, name: str) -> None:
        async with asyncio.timeout(20):
            while await self.name() != name:
                await asyncio.sleep(0.02)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    cert, key = make_certificate(tmp_path, "first.example")
    settings = Settings(data=tmp_path, tls_cert=cert, tls_key=key)
    context = tls_context(settings)
    assert context is not None
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=context)
    asked = asyncio.Event()
    task = asyncio.create_task(keep_fresh(context, settings, asked, interval_s=0.05))
    yield Served(tmp_path, server.sockets[0].getsockname()[1], asked)
    task.cancel()
    server.close()


async def test_new_files_are_served_to_new_connections(served: Served) -> None:
    assert await served.name() == "first.example"
    make_certificate(served.directory, "second.example")
    await served.until("second.example")


async def test_a_certificate_without_its_key_changes_nothing(
    served: Served, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    other, _ = make_certificate(tmp_path_factory.mktemp("other"), "half.example")
    for broken in (other.read_bytes(), b"no certificate"):
        caplog.clear()
        (served.directory / "cert.pem").write_bytes(broken)
        served.asked.set()
        async with asyncio.timeout(20):
            while "not loaded anew" not in caplog.text:
                await asyncio.sleep(0.02)
        assert await served.name() == "first.example"
    make_certificate(served.directory, "third.example")
    await served.until("third.example")
