"""The certificate that a node shows in DTLS: one for all sessions, renewed long before it ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiortc import RTCCertificate
from aiortc.rtcdtlstransport import SRTPProtectionProfile
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

# aiortc's certificates are valid for 30 days; sessions that began under one keep it.
RENEW_AFTER_S = 15 * 24 * 3600.0


class NodeCertificate(RTCCertificate):
    """An ECDSA P-256 certificate whose SSL context is made once: 0.5 ms less for each handshake."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, cert: x509.Certificate) -> None:
        super().__init__(key, cert)
        self._contexts: dict[tuple[bytes, ...], SSL.Context] = {}
        (self.fingerprint,) = (
            (f.algorithm, f.value) for f in self.getFingerprints() if f.algorithm == "sha-256"
        )

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        key = tuple(profile.openssl_profile for profile in srtp_profiles)
        if key not in self._contexts:
            self._contexts[key] = super()._create_ssl_context(srtp_profiles)
        return self._contexts[key]


class Certificates:
    """Gives the certificate of the hour."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._made_at_s = 0.0
        self._current: NodeCertificate | None = None

    def current(self) -> NodeCertificate:
        """Return a certificate with at least half of its life left."""
        now_s = self._clock()
        if self._current is None or now_s - self._made_at_s > RENEW_AFTER_S:
            self._current = NodeCertificate.generateCertificate()
            self._made_at_s = now_s
        return self._current
