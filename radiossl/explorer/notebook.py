"""The explorer below a cell of a notebook, served by a separate process: it answers while cells run."""

from __future__ import annotations

import multiprocessing
import os
import socket
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

from radiossl.io.errors import RadiosslError

USUAL_PORT = 5006
_PORTS = 100


class Embedded:
    """An explorer that a notebook shows, until `stop` is called, the same is explored again, or the kernel ends.

    `arguments` are those of `radiossl.explore`.
    """

    _running: ClassVar[list[Embedded]] = []

    def __init__(self, arguments: dict[str, Any]) -> None:
        table = arguments["table"]
        self._table = Path(table).absolute() if isinstance(table, (str, os.PathLike)) else table
        for earlier in [one for one in self._running if _is_same(one._table, self._table)]:
            earlier.stop()
        if arguments["port"] is None:
            arguments = arguments | {"port": _free_port(arguments["address"])}
        context = multiprocessing.get_context("spawn")
        receive, send = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(send, arguments), daemon=True)
        self._process.start()
        send.close()
        self.url = _address(receive)
        self._running.append(self)

    def stop(self) -> None:
        """End the explorer; what was rated is kept."""
        self._process.terminate()
        self._process.join()
        if self in self._running:
            self._running.remove(self)

    def __repr__(self) -> str:
        return f"<Explorer at {self.url}>"

    def _repr_html_(self) -> str:
        # The name of the notebook's own page: to a browser localhost and 127.0.0.1 are two sites, and the frame of
        # another site keeps no cookie. Where the notebook is on another computer the port must be forwarded.
        path = self.url.removeprefix("http://").split(":", 1)[1]
        name = f"radiossl-explorer-{path.split('/')[0]}"
        return (
            f'<iframe id="{name}" title="radiossl explorer" style="width: 100%; height: 900px; border: 0">'
            f'</iframe><script>document.getElementById("{name}").src = "http://" + location.hostname + ":{path}"'
            f'</script><p><a href="{self.url}" target="_blank">open in a tab of its own</a></p>'
        )


def _is_same(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, Path) and isinstance(b, Path) and a == b)


def _free_port(address: str) -> int:
    """The first port that nothing listens at, from the usual one on."""
    for port in range(USUAL_PORT, USUAL_PORT + _PORTS):
        with suppress(OSError), socket.create_server((address, port)):
            return port
    return USUAL_PORT  # where the server will say what is wrong


def _serve(send: Connection, arguments: dict[str, Any]) -> None:
    from radiossl.explorer.start import explore

    try:
        explore(**arguments, browser=False, say=send.send)
    except RadiosslError as error:
        send.send(error)


def _address(receive: Connection) -> str:
    """What to open, once it can be."""
    try:
        while True:
            said = receive.recv()
            if isinstance(said, RadiosslError):
                raise said
            line = said.splitlines()[0]
            if line.startswith("http://"):
                return str(line)
            print(line)
    except EOFError:
        raise RadiosslError("the explorer ended before its page could be opened") from None
