"""Who may open the page: this computer alone, or whoever has the token; and how much a browser may send."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
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
class Door:
    """Where the page is, and what opens it.

    Attributes
    ----------
    address
        To bind, 127.0.0.1 for this computer alone.
    port
        To bind.
    token
        What a browser must show once; empty if only this computer can reach the page.
    """

    address: str
    port: int
    token: str = field(repr=False)

    @classmethod
    def at(cls, address: str, port: int) -> Door:
        """Return a door with a new token if other computers can reach the address.

        Raises
        ------
        RadiosslError
            If the port is none, or the address is one of IPv6, which Bokeh's check of origins does not know.
        """
        if ":" in address:
            raise RadiosslError(f"--address {address}: a name or an IPv4 address was expected")
        if not 0 < port < 65536:
            raise RadiosslError(f"--port {port}: 1 to 65535 was expected")
        return cls(address, port, "" if _is_loopback(address) else secrets.token_urlsafe(32))

    @property
    def hosts(self) -> list[str]:
        """Names under which a browser may ask for the page, with the port.

        Another name is that of a page elsewhere which leads here by way of a forged address (DNS rebinding).
        """
        names = [*_LOOPBACK_NAMES, self.address]
        if self.token:
            names += [socket.gethostname(), socket.getfqdn()]
            with suppress(OSError):
                own = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
                names += [str(entry[4][0]) for entry in own]
        return list(dict.fromkeys(f"{name.lower()}:{self.port}" for name in names))

    @property
    def url(self) -> str:
        """What to open, with the token."""
        host = socket.gethostname() if self.address == "0.0.0.0" else self.address
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")


class Doorkeeper(AuthProvider):
    """Refuses every request, the page's and its socket's, that does not come by the door.

    Parameters
    ----------
    door
        See there.
    """

    def __init__(self, door: Door) -> None:
        self.door = door
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
        door = self.door
        if handler.request.host.lower() not in door.hosts:
            raise HTTPError(403, reason="unknown host")
        if not door.token:
            return
        cookie = f"radiossl-{door.port}"
        if _same(handler.get_query_argument("token", ""), door.token):
            handler.set_cookie(cookie, door.token, httponly=True, samesite="Strict")
        elif not _same(handler.get_cookie(cookie, "") or "", door.token):
            raise HTTPError(403, reason="open the address that radiossl explore printed, with its token")


def make_server(page: Callable[[], Any], door: Door, title: str) -> Server:
    """Return the server of a page, not yet started.

    Parameters
    ----------
    page
        Makes a page for whoever opens one.
    door
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
            port=door.port,
            address=door.address,
            websocket_origin=door.hosts,
            title=title,
            location=False,
            auth_provider=Doorkeeper(door),
            websocket_max_message_size=MOST_MESSAGE_BYTES,
        )
    except OSError as error:
        said = error.strerror or str(error)
        raise RadiosslError(f"{door.address}:{door.port}: {said}; choose another --port or --address") from None


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())
