"""Who may open the page: whoever has the token; and how much a browser may send."""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bokeh.server.auth_provider import AuthProvider
from tornado.web import HTTPError, RequestHandler

from radiossl.io.errors import RadiosslError

if TYPE_CHECKING:
    from bokeh.server.server import Server

#: Bytes of one message from a browser; uploads come in parts of a million.
MOST_MESSAGE_BYTES = 4 * 2**20
_LOOPBACK_NAMES = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class TokenAuth:
    """Where the page is served, and the token that opens it.

    Attributes
    ----------
    address : str
        To bind, 127.0.0.1 for this computer alone; other users of it need the token all the same.
    port : int
        To bind.
    token : str
        What a browser must show once.
    """

    address: str
    port: int
    token: str = field(repr=False)

    @classmethod
    def from_address(cls, address: str, port: int) -> TokenAuth:
        """Return the token of this address, the same after a restart, so that open pages find their way back.

        It is kept in a folder that only this user can read; where none can be made, every start has a new token.

        Raises
        ------
        RadiosslError
            If the port is none, or the address is one of IPv6, which Bokeh's check of origins does not know.
        """
        if ":" in address:
            raise RadiosslError(f"--address {address}: a name or an IPv4 address was expected")
        if not 0 < port < 65536:
            raise RadiosslError(f"--port {port}: 1 to 65535 was expected")
        return cls(address, port, _kept_token(address, port))

    @property
    def hosts(self) -> list[str]:
        """Names under which a browser may ask for the page, with the port.

        Another name is that of a page elsewhere which leads here by way of a forged address (DNS rebinding).
        """
        names = [*_LOOPBACK_NAMES, self.address]
        if not _is_loopback(self.address):
            names += [socket.gethostname(), socket.getfqdn()]
            with suppress(OSError):
                own = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
                names += [str(entry[4][0]) for entry in own]
        return list(dict.fromkeys(f"{name.lower()}:{self.port}" for name in names))

    @property
    def url(self) -> str:
        """What to open, with the token."""
        host = socket.gethostname() if self.address == "0.0.0.0" else self.address
        return f"http://{host}:{self.port}/?token={self.token}"


class TokenCheck(AuthProvider):
    """Refuses every request, the page's and its socket's, under another host name or without the token.

    Parameters
    ----------
    auth : TokenAuth
        The address and the token.
    """

    def __init__(self, auth: TokenAuth) -> None:
        self.auth = auth
        super().__init__()

    @property
    def get_user_async(self) -> Callable[[Any], Awaitable[Any]]:
        """What Bokeh asks before each request."""

        async def user(handler: RequestHandler) -> str:
            self.check(handler)
            return "user"

        return user

    @property
    def get_login_url(self) -> Callable[[Any], str]:
        """Never used, for `check` refuses by itself; Bokeh wants one."""
        return lambda _: "/"

    def check(self, handler: RequestHandler) -> None:
        """Raise a refusal (403), or keep the token as a cookie if the address had it."""
        auth = self.auth
        if handler.request.host.lower() not in auth.hosts:
            raise HTTPError(403, reason="unknown host")
        cookie = f"radiossl-{auth.port}"
        if _same(handler.get_query_argument("token", ""), auth.token):
            handler.set_cookie(cookie, auth.token, httponly=True, samesite="Strict")
        elif not _same(handler.get_cookie(cookie, "") or "", auth.token):
            raise HTTPError(403, reason="open the address that radiossl explore printed, with its token")


def make_server(page: Callable[[], Any], auth: TokenAuth, title: str) -> Server:
    """Return the server of a page, not yet started.

    Parameters
    ----------
    page
        Makes a page for whoever opens one.
    auth
        Where, and for whom.
    title
        Of the browser's tab.

    Raises
    ------
    RadiosslError
        If the address cannot be bound.
    """
    import panel as pn

    pn.extension("filedropper")
    try:
        return pn.io.server.get_server(
            page,
            port=auth.port,
            address=auth.address,
            websocket_origin=auth.hosts,
            title=title,
            location=False,
            auth_provider=TokenCheck(auth),
            websocket_max_message_size=MOST_MESSAGE_BYTES,
        )
    except OSError as error:
        said = error.strerror or str(error)
        raise RadiosslError(f"{auth.address}:{auth.port}: {said}; choose another --port or --address") from None


def _kept_token(address: str, port: int) -> str:
    """The token of an address, made at its first use."""
    token = secrets.token_urlsafe(32)
    with suppress(OSError, RuntimeError):  # RuntimeError: a user without a home
        folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "radiossl"
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        path = folder / f"explorer-{address}-{port}.token"
        with suppress(FileExistsError):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as stream:
                stream.write(token)
        status = path.stat()
        kept = path.read_text(encoding="utf-8").strip()
        if len(kept) >= len(token) and status.st_uid == os.getuid() and not status.st_mode & 0o077:
            return kept
    return token


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())
