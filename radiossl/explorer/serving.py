"""The server of the page: who may open it, whoever has the token; how much a browser may send; what is answered."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError, RequestHandler

from radiossl.explorer.answers import ASKED, POSTED, Answers, File
from radiossl.explorer.pictures import page_html
from radiossl.io.errors import RadiosslError
from radiossl.survey.received import MOST_BYTES

#: Bytes of the largest request: an upload that says itself that it is too large still gets an answer.
MOST_REQUEST_BYTES = 2 * MOST_BYTES
#: The page runs its own script alone, fetches nothing from elsewhere, and is in a frame of its own host's pages alone,
#: such as a notebook's.
_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors http://{host}:* https://{host}:*"
)


@dataclass(frozen=True)
class TokenAuth:
    """Where the page is served, and the token that opens it."""

    address: str  # 127.0.0.1 for this computer alone; other users of it need the token all the same
    port: int
    token: str = field(repr=False)  # what a browser must show once

    @classmethod
    def from_address(cls, address: str, port: int) -> TokenAuth:
        """Return the token of this address, the same after a restart, so that open pages find their way back.

        It is kept in a folder that only this user can read; where none can be made, every start has a new token.
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
        names = ["127.0.0.1", "localhost", self.address]
        if self.address != "localhost" and not self.address.startswith("127."):
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

    def check(self, handler: RequestHandler) -> None:
        """Raise a refusal (403), or keep the token as a cookie if the address had it."""
        origin = handler.request.headers.get("Origin")
        if handler.request.host.lower() not in self.hosts:
            raise HTTPError(403, reason="unknown host")
        if origin is not None and urlsplit(origin).netloc.lower() not in self.hosts:
            raise HTTPError(403, reason="asked by another page")
        cookie = f"radiossl-{self.port}"
        if _same(handler.get_query_argument("token", ""), self.token):
            handler.set_cookie(cookie, self.token, httponly=True, samesite="Strict")
        elif not _same(handler.get_cookie(cookie, "") or "", self.token):
            raise HTTPError(403, reason="open the address that radiossl explore printed, with its token")


class _Checked(RequestHandler):
    """Refuses every request of those who may not open the page."""

    def initialize(self, auth: TokenAuth, answers: Answers) -> None:
        self.auth, self.answers = auth, answers

    def prepare(self) -> None:
        self.auth.check(self)
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")

    async def get(self, *names: str) -> None:
        raise HTTPError(404)


class _PageHandler(_Checked):
    """The page, the same for everybody."""

    async def get(self, *names: str) -> None:
        nonce, host = secrets.token_urlsafe(12), self.request.host.rpartition(":")[0]
        self.set_header("Content-Security-Policy", _POLICY.format(nonce=nonce, host=host))
        self.finish(page_html(nonce=nonce))


class _AnswerHandler(_Checked):
    """What the page asks for, each in a thread, so that nobody waits for another's search."""

    async def get(self, *names: str) -> None:
        if names[0] not in ASKED:
            raise HTTPError(404)
        await self._answer(names[0], {key: self.get_query_argument(key) for key in self.request.query_arguments})

    async def post(self, name: str) -> None:
        if name not in POSTED:
            raise HTTPError(404)
        if name == "upload":
            said = {key: self.get_query_argument(key) for key in self.request.query_arguments}
            await self._answer(name, said | {"data": self.request.body})
            return
        try:
            await self._answer(name, dict(json.loads(self.request.body)))
        except (ValueError, TypeError, RecursionError) as error:
            raise HTTPError(400) from error

    async def _answer(self, name: str, said: dict[str, Any]) -> None:
        try:
            answer = await asyncio.to_thread(getattr(self.answers, name), **said)
        except FileNotFoundError:
            raise HTTPError(404) from None
        except Exception as error:
            known = isinstance(error, (RadiosslError, OSError))
            if not known:
                logging.getLogger("radiossl").error("the page's program failed", exc_info=error)
            self.set_status(400 if known else 500)
            text = str(error)[:300]
            self.finish({"error": text if known else f"Something went wrong: {type(error).__name__}: {text}"})
            return
        if isinstance(answer, File):
            self.set_header("Content-Type", answer.kind)
            if answer.kept:
                self.set_header("Cache-Control", "private, max-age=86400")
            self.finish(answer.content)
        else:
            self.set_header("Content-Type", "application/json")
            self.finish(json.dumps(answer))


def make_server(answers: Answers, auth: TokenAuth) -> HTTPServer:
    """Return the server of a page, which listens already."""
    more = {"auth": auth, "answers": answers}
    paths = [("/", _PageHandler, more), ("/api/([a-z]+)", _AnswerHandler, more)]
    application = Application(
        paths, default_handler_class=_Checked, default_handler_args=more, compress_response=True, log_function=_quiet
    )
    server = HTTPServer(application, max_body_size=MOST_REQUEST_BYTES, max_buffer_size=MOST_REQUEST_BYTES)
    try:
        server.listen(auth.port, auth.address)
    except OSError as error:
        said = error.strerror or str(error)
        raise RadiosslError(f"{auth.address}:{auth.port}: {said}; choose another --port or --address") from None
    return server


def _quiet(_: RequestHandler) -> None:
    """Write no line for each request."""


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


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())
