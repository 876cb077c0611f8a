"""The way to Venice: TLS that the environment has no say in, the operator's proxy, and how far a request got."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from venice_mcp.errors import VeniceError

if TYPE_CHECKING:
    import httpx

_MAX_CA_BYTES = 4 * 1024 * 1024


class Begun:
    """Told by httpcore what it does (as its `trace`): whether the request itself began to be written.

    Before that come the connection, what a proxy is asked for, and TLS, and whatever fails there is certainly not at
    Venice.
    """

    def __init__(self) -> None:
        self.sending = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(".send_request_headers.started"):
            self.sending = self.sending or getattr(info.get("request"), "method", None) != b"CONNECT"


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Verification against certifi's roots and those in `ca_file`; `SSL_CERT_FILE` and `SSLKEYLOGFILE` of a project
    have no say.

    Raises:
        VeniceError: `ca_file` holds no certificates that can be read; without them nothing is sent.
    """
    import certifi  # comes with httpx

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())
    if ca_file is not None:
        try:
            if not ca_file.is_file():  # a FIFO or device could block for ever
                raise OSError
            with ca_file.open("rb") as file:
                raw = file.read(_MAX_CA_BYTES + 1)
            if len(raw) > _MAX_CA_BYTES:
                raise OSError
            # What is no ASCII can only be a remark between the certificates.
            context.load_verify_locations(cadata=raw.decode("ascii", "ignore"))
        except (OSError, ValueError):  # the first of them is also that of ssl
            raise VeniceError(
                "The file of certificates that the policy names (ca_file) cannot be read as certificates in PEM form,"
                " so the request was not sent.",
                next_step="Correct ca_file in the policy file, or take it out, and restart.",
                code="ca_file_unusable",
            ) from None
    return context


def trusting_nobody() -> ssl.SSLContext:
    """For plain HTTP on this machine or none at all, which need no certificates; to read them takes 30 ms."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def proxy_at(url: str, ca_file: Path | None) -> "httpx.Proxy":
    """The operator's proxy. It gets a TLS context of its own, because the default one obeys the environment.

    Raises:
        VeniceError: there can be no such proxy.
    """
    import httpx  # slow, and not needed at the start

    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0):
            return httpx.Proxy(url, ssl_context=tls_context(ca_file) if parts.scheme == "https" else None)
    except (ValueError, httpx.InvalidURL):
        pass
    raise VeniceError(
        "The proxy that the policy names is not one that can be used, so the request was not sent.",
        next_step="Write it as http://host:port or https://host:port in the policy file, and restart.",
        code="proxy_unusable",
    )
