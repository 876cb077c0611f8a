"""The way to Venice: its own name, certificates that the operator trusts, the operator's proxy, and no other say.

The network is real: a TLS server with the name and a throwaway certificate of api.venice.ai, reached by a proxy that
connects that name to it.
"""

import asyncio
import base64
import contextlib
import ipaddress
import logging
import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.test_harness import ADMIN_KEY
from venice_mcp.client.network import tls_context
from venice_mcp.client.transport import Answer, Deadlines, Transport
from venice_mcp.errors import AnswerLost, Changed, VeniceError
from venice_mcp.secrets import Secret
from venice_mcp.settings import LIVE_HOST, LIVE_URL, Settings

pytestmark = pytest.mark.anyio
KEY = Secret(ADMIN_KEY)
PROXY_PASSWORD = "proxy-password-2f9c"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# --- certificates ------------------------------------------------------------------------------------------


class Authority:
    """A throwaway certificate authority and what it certifies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a throwaway authority")])
        own = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.pem = own.public_bytes(serialization.Encoding.PEM)
        self.file = folder / "authority.pem"
        self.file.write_bytes("# für die Prüfung\n".encode() + self.pem)

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        begin = datetime.now(UTC) - timedelta(hours=1)
        certificate = x509.CertificateBuilder(self._name, name, key.public_key(), x509.random_serial_number())
        certificate = certificate.not_valid_before(begin).not_valid_after(begin + timedelta(hours=9))
        for extension in extensions:
            certificate = certificate.add_extension(extension, critical=False)
        return certificate.sign(self._key, hashes.SHA256())

    def server(self, name: str) -> ssl.SSLContext:
        """What a server of this name needs."""
        with contextlib.suppress(ValueError):
            return self._server(name, x509.IPAddress(ipaddress.ip_address(name)))
        return self._server(name, x509.DNSName(name))

    def _server(self, name: str, alternative: x509.GeneralName) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key, x509.SubjectAlternativeName([alternative]))
        path = self._folder / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


# --- servers -----------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """A server on loopback, and everything that it was sent."""

    port: int = 0
    heads: list[bytes] = field(default_factory=list[bytes])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def took(self, text: str) -> bool:
        return any(text.encode() in head for head in self.heads)


Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handle, context: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """Every connection is handled and closed; none is left at the end."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        serving.add(task)
        # A client that turns its back on a certificate is what some of these tests are about.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handle(reader, writer)
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()
        serving.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@asynccontextmanager
async def web(context: ssl.SSLContext | None = None, answer: bytes = ANSWER) -> AsyncGenerator[Seen]:
    """Answers every request the same way, or with nothing, and remembers it."""
    seen = Seen()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()

    async with listening(handle, context) as seen.port:
        yield seen


@asynccontextmanager
async def proxy(
    target: int, answer: bytes | None = None, *, hangs: bool = False, context: ssl.SSLContext | None = None
) -> AsyncGenerator[Seen]:
    """Connects whatever it is asked for to `target`; with `answer` it says that and hangs up, or does nothing."""
    seen = Seen()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.heads.append(await reader.readuntil(b"\r\n\r\n"))
        if hangs:
            await asyncio.Event().wait()
        elif answer is not None:
            writer.write(answer)
            await writer.drain()
        else:
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            await pipe((reader, writer), await asyncio.open_connection("127.0.0.1", target), seen)

    async with listening(handle, context) as seen.port:
        yield seen


async def pipe(client: Streams, server: Streams, seen: Seen) -> None:
    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool) -> None:
        try:
            while data := await reader.read(65536):
                if keep:
                    seen.heads.append(data)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    await asyncio.gather(copy(client[0], server[1], keep=True), copy(server[0], client[1], keep=False))


@asynccontextmanager
async def transport(
    *, through: str | None = None, ca_file: Path | None = None, url: str = LIVE_URL, deadline_s: float = 20.0
) -> AsyncGenerator[Transport]:
    mode = "live" if url == LIVE_URL else "loopback"
    settings = Settings(mode, url, Path("nowhere"), "test", proxy=through, ca_file=ca_file)

    async def at_once(_seconds: float) -> None:
        pass

    made = Transport(settings, sleep=at_once, deadlines=Deadlines(deadline_s, deadline_s))
    try:
        yield made
    finally:
        await made.close()


async def refused(way: Transport, code: str) -> VeniceError:
    """Both a read and a write are refused with a clear text, and certainly not sent."""
    with pytest.raises(VeniceError) as read:
        await way.read("/api_keys", key=KEY)
    with pytest.raises(VeniceError) as write:
        await way.write("POST", "/api_keys", body={}, key=KEY)
    assert not isinstance(write.value, AnswerLost)
    assert (read.value.code, write.value.code) == (code, code)
    assert write.value.changed is Changed.NOTHING
    return write.value


async def listed(way: Transport) -> Answer:
    return await way.read("/api_keys", key=KEY)


# --- through a proxy ---------------------------------------------------------------------------------------


async def test_a_request_goes_to_venice_by_name_and_the_proxy_reads_nothing(authority: Authority) -> None:
    async with web(authority.server(LIVE_HOST)) as venice, proxy(venice.port) as between:
        async with transport(through=between.url, ca_file=authority.file) as way:
            assert (await listed(way)).ok
            assert (await way.write("POST", "/api_keys", body={}, key=KEY)).ok
        assert between.heads[0].startswith(b"CONNECT api.venice.ai:443 HTTP/1.1\r\n")
        assert not between.took(ADMIN_KEY)
        assert [head.split(b" HTTP")[0] for head in venice.heads] == [b"GET /api/v1/api_keys", b"POST /api/v1/api_keys"]
        assert all(f"Authorization: Bearer {ADMIN_KEY}".encode() in head for head in venice.heads)
        assert all(b"Host: api.venice.ai\r\n" in head for head in venice.heads)


async def test_a_proxy_with_tls_and_a_password_gets_the_password_and_venice_does_not(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    caplog.set_level(logging.DEBUG)
    context = authority.server("127.0.0.1")
    async with web(authority.server(LIVE_HOST)) as venice, proxy(venice.port, context=context) as between:
        url = f"https://me:{PROXY_PASSWORD}@127.0.0.1:{between.port}"
        async with transport(through=url, ca_file=authority.file) as way:
            assert (await listed(way)).ok
        basic = base64.b64encode(f"me:{PROXY_PASSWORD}".encode()).decode()
        assert between.took(f"Proxy-Authorization: Basic {basic}")
        assert not venice.took("Proxy-Authorization")
    assert not (tmp_path / "keys").exists()
    assert "httpcore" in caplog.text
    assert PROXY_PASSWORD not in caplog.text
    assert basic not in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: https://evil.test/\r\nContent-Length: 0\r\n\r\n",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 Connected\r\n\r\n",
        b"HTTP/1.1 200 Connected\r\n\r\nno tls at all",
    ],
    ids=["hangs up", "403", "407", "502", "302", "garbage", "connected, then gone", "connected, but no TLS"],
)
async def test_a_request_that_a_proxy_lets_not_through_was_not_sent(authority: Authority, answer: bytes) -> None:
    async with web(authority.server(LIVE_HOST)) as venice, proxy(venice.port, answer) as between:
        async with transport(through=between.url, ca_file=authority.file) as way:
            error = await refused(way, "unreachable")
        assert "so the request was not sent" in error.what
        assert between.heads
        assert not venice.heads


async def test_a_proxy_that_is_not_there_or_never_answers_got_nothing_to_venice(authority: Authority) -> None:
    async with web(authority.server(LIVE_HOST)) as venice, proxy(venice.port, hangs=True) as between:
        for url in (between.url, "http://127.0.0.1:9"):
            async with transport(through=url, ca_file=authority.file, deadline_s=0.1) as way:
                await refused(way, "unreachable")
        assert not venice.heads


async def test_a_request_that_went_through_and_was_not_answered_may_have_arrived(authority: Authority) -> None:
    async with web(authority.server(LIVE_HOST), b"") as venice, proxy(venice.port) as between:
        async with transport(through=between.url, ca_file=authority.file) as way:
            with pytest.raises(AnswerLost):
                await way.write("POST", "/api_keys", body={}, key=KEY)
        assert len(venice.heads) == 1


async def test_no_write_rides_on_a_connection_that_may_be_closing() -> None:
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        # Gone as soon as it is used again, as a server does whose patience ends at that moment.
        await reader.readuntil(b"\r\n\r\n")

    async with listening(handle) as port, transport(url=f"http://127.0.0.1:{port}/api/v1") as way:
        for _ in range(3):
            assert (await way.write("DELETE", "/api_keys", query={"id": "x"}, key=KEY)).ok
        assert connections == 3


@pytest.mark.parametrize(
    "url",
    ["socks5://127.0.0.1:1", "ftp://127.0.0.1:1", "127.0.0.1:3128", "http://", "http://127.0.0.1:99999", "http://["],
)
async def test_a_proxy_that_cannot_be_one_stops_every_request_and_is_not_repeated(url: str) -> None:
    async with transport(through=url.replace("//", f"//me:{PROXY_PASSWORD}@")) as way:
        error = await refused(way, "proxy_unusable")
    assert PROXY_PASSWORD not in str(error)


async def test_a_sandbox_on_loopback_is_never_reached_by_proxy(authority: Authority) -> None:
    async with web() as sandbox, proxy(sandbox.port) as between:
        url = f"{sandbox.url}/api/v1"
        async with transport(through=between.url, ca_file=Path("missing"), url=url) as way:
            assert (await listed(way)).ok
        assert len(sandbox.heads) == 1
        assert not between.heads


# --- certificates that count -------------------------------------------------------------------------------


async def test_a_certificate_of_nobody_trusted_or_for_another_name_stops_the_request(authority: Authority) -> None:
    for name, ca_file in ((LIVE_HOST, None), (f"{LIVE_HOST}.evil.test", authority.file)):
        async with web(authority.server(name)) as venice, proxy(venice.port) as between:
            async with transport(through=between.url, ca_file=ca_file) as way:
                error = await refused(way, "unreachable")
            assert "so the request was not sent" in error.what
            assert not venice.heads


def test_a_file_of_certificates_comes_on_top_of_the_usual_ones(authority: Authority) -> None:
    usual, more = tls_context().cert_store_stats(), tls_context(authority.file).cert_store_stats()
    assert usual["x509_ca"] > 50
    assert more["x509_ca"] == usual["x509_ca"] + 1


UNUSABLE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "a folder": Path.mkdir,
    "empty": lambda path: path.write_bytes(b""),
    "no certificate": lambda path: path.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    "text": lambda path: path.write_text("certificates"),
    "bytes": lambda path: path.write_bytes(bytes(range(256))),
    "too large": lambda path: path.write_bytes(Path(certifi.where()).read_bytes() + b"#" * 5_000_000),
    "a pipe": getattr(os, "mkfifo", Path.mkdir),
}


@pytest.mark.parametrize("kind", UNUSABLE)
async def test_without_the_certificates_that_were_named_nothing_is_sent(tmp_path: Path, kind: str) -> None:
    UNUSABLE[kind](tmp_path / "ca.pem")
    async with proxy(9) as between:
        async with transport(through=between.url, ca_file=tmp_path / "ca.pem") as way:
            error = await refused(way, "ca_file_unusable")
        assert not between.heads
    assert "ca_file" in error.what
    assert "ca_file" in error.next_step


# --- what has no say ---------------------------------------------------------------------------------------


async def test_the_environment_has_no_say(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        web(authority.server(LIVE_HOST)) as venice,
        proxy(venice.port) as between,
        proxy(venice.port) as theirs,
        web() as sandbox,
    ):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, theirs.url)
            monkeypatch.setenv(name.lower(), theirs.url)
        monkeypatch.setenv("NO_PROXY", LIVE_HOST)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        monkeypatch.setenv("SSL_CERT_DIR", str(authority.file.parent))
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
        async with transport(through=between.url) as way:
            await refused(way, "unreachable")
        assert not venice.heads, "SSL_CERT_FILE was believed"
        async with transport(through=between.url, ca_file=authority.file) as way:
            assert (await listed(way)).ok
        async with transport(url=f"{sandbox.url}/api/v1") as way:
            assert (await listed(way)).ok
        assert between.heads
        assert not theirs.heads
        assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_takes_no_key_anywhere(authority: Authority, status: int) -> None:
    async with web() as elsewhere, web(authority.server(LIVE_HOST)) as other:
        for location in (f"{elsewhere.url}/", f"https://{LIVE_HOST}/elsewhere", f"//127.0.0.1:{other.port}/"):
            answer = f"HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
            async with web(authority.server(LIVE_HOST), answer) as venice, proxy(venice.port) as between:
                async with transport(through=between.url, ca_file=authority.file) as way:
                    assert (await listed(way)).status == status
                    with pytest.raises(AnswerLost):
                        await way.write("POST", "/api_keys", body={}, key=KEY)
                assert len(venice.heads) == 2
        assert not elsewhere.heads
        assert not other.heads


@pytest.mark.parametrize(
    ("mode", "url"),
    [
        ("live", "http://api.venice.ai/api/v1"),
        ("live", "https://api.venice.ai.evil.test/api/v1"),
        ("live", "https://api.venice.ai@evil.test/api/v1"),
        ("live", "https://evil.test#api.venice.ai"),
        ("live", "https://api.venice.ai:8443/api/v1"),
        ("live", "http://127.0.0.1:9/api/v1"),
        ("loopback", LIVE_URL),
        ("sandbox", LIVE_URL),
    ],
)
async def test_a_key_leaves_only_for_its_own_host(mode: str, url: str) -> None:
    async with proxy(9) as between:
        settings = Settings(mode, url, Path("nowhere"), "test", proxy=between.url)  # pyright: ignore[reportArgumentType]
        way = Transport(settings)
        with pytest.raises(AssertionError, match="not its own"):
            await way.read("/api_keys", key=KEY)
        with pytest.raises(AssertionError, match="not its own"):
            await way.write("POST", "/api_keys", key=KEY)
        await way.close()
        assert not between.heads
