"""Mutual TLS between operators and gateways, from the three files of a Secret, which may be replaced at any time."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 60.0
OPERATOR_NAME, GATEWAY_NAME = "hatchway-operator", "hatchway-gateway"  # what their certificates are for


@dataclass(frozen=True)
class TlsFiles:
    """`folder` holds ca.crt, tls.crt and tls.key. Everything raises OSError when one is missing."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def certificate(self) -> Path:
        return self.folder / "tls.crt"

    @property
    def key(self) -> Path:
        return self.folder / "tls.key"

    def state(self) -> tuple[int, ...]:
        """Another one when a file was replaced."""
        return tuple(path.stat().st_mtime_ns for path in (self.authority, self.certificate, self.key))


class Contexts:
    """For asyncio and httpx: both sides show their certificate and ask for the other's."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._state = files.state()
        self.server = self._make(ssl.PROTOCOL_TLS_SERVER)
        self.client = self._make(ssl.PROTOCOL_TLS_CLIENT)

    def _make(self, protocol: ssl._SSLMethod) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_verify_locations(cafile=self._files.authority)
        context.load_cert_chain(self._files.certificate, self._files.key)

    async def keep_current(self) -> None:
        """Until cancelled: connections that begin after a certificate was replaced show the new one."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.refresh()

    def refresh(self) -> None:
        """Nothing changes while the files are replaced halfway."""
        try:
            state = self._files.state()
            if state != self._state:
                for context in (self.server, self.client):
                    self._load(context)
                self._state = state
        except (OSError, ssl.SSLError):
            return
