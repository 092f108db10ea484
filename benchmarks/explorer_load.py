"""How fast the explorer's page opens, for one browser and for many sessions, and whether its memory stays flat.

    python benchmarks/explorer_load.py FEATURES.parquet [--sessions 50] [--reloads 200] [--json FILE]
        [-- options of radiossl explore]

Measures the time from the start of the program to its address; in headless Chromium the first paint and the drawn map
(three times); with `--sessions` opened at the same moment, how long each waits for its page, and then, when all press a
key at the same moment, how long each waits for the next source; and memory after `--reloads` pages, opened and closed
one after the other. The sessions speak Bokeh's protocol without drawing anything, so the times are the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import sync_playwright
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

from measuring import print_facts

_PAINT = """() => new Promise(done => {
    const look = () => {
        const paint = performance.getEntriesByName('first-contentful-paint')[0];
        paint ? done(paint.startTime) : setTimeout(look, 10);
    };
    look();
})"""
_PATIENCE_S = 300
_MOST_BYTES = 2**30


class Client:
    """One session, as a browser has it."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def open(self) -> float:
        """Fetch the page and its document; return how long that took."""
        start = time.perf_counter()
        page = await AsyncHTTPClient().fetch(self.address, request_timeout=_PATIENCE_S, connect_timeout=_PATIENCE_S)
        token = re.search(r'"token":"([^"]+)"', page.body.decode())
        assert token is not None, "no session in the page"
        host, _, query = self.address.removeprefix("http://").partition("/?")
        request = HTTPRequest(
            f"ws://{host}/ws?{query}",
            headers={"Sec-WebSocket-Protocol": f"bokeh, {token[1]}", "Origin": f"http://{host}"},
            connect_timeout=_PATIENCE_S,
            request_timeout=_PATIENCE_S,
        )
        self.socket = await websocket_connect(request, max_message_size=_MOST_BYTES)
        await self._read("ACK")
        await self._send("PULL-DOC-REQ", {})
        document = await self._read("PULL-DOC-REPLY")
        self.keys = _browser_model(json.loads(document))
        return time.perf_counter() - start

    async def press(self, key: str, count: int) -> float:
        """Press a key; return how long the neighbours of the next source take to come."""
        start = time.perf_counter()
        change = {"kind": "ModelChanged", "model": {"id": self.keys}, "attr": "pressed", "new": [key, count]}
        await self._send("PATCH-DOC", {"events": [change]})
        while "most like" not in await self._read("PATCH-DOC"):
            pass
        return time.perf_counter() - start

    async def _send(self, kind: str, content: dict[str, Any]) -> None:
        for part in ({"msgid": str(time.perf_counter_ns()), "msgtype": kind}, {}, content):
            await self.socket.write_message(json.dumps(part))

    async def _read(self, wanted: str) -> str:
        while True:
            header = json.loads(await self._text())
            await self._text()
            content = await self._text()
            for _ in range(header.get("num_buffers", 0)):
                await self._text(), await self._text()
            if header["msgtype"] == wanted:
                return content

    async def _text(self) -> Any:
        found = await asyncio.wait_for(self.socket.read_message(), _PATIENCE_S)
        assert found is not None, "the server closed the session"
        return found


def _browser_model(document: Any) -> str:
    """The id of the model that has the script's properties, such as the pressed key."""
    waiting = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "esm" in node.get("attributes", {}):
                return node["attributes"]["data"]["id"]
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    raise LookupError("the page has no script")


async def _many(address: str, number: int) -> dict[str, float]:
    clients = [Client(address) for _ in range(number)]
    opened = sorted(await asyncio.gather(*(client.open() for client in clients)))
    await asyncio.sleep(3)
    pressed = sorted(await asyncio.gather(*(client.press("ArrowRight", 1) for client in clients)))
    for client in clients:
        client.socket.close()
    named = {"open_s": opened, "press_s": pressed}
    return {f"{number}_sessions_{key}_{at}": values[int(part * (number - 1))] for key, values in named.items()
            for at, part in (("median", 0.5), ("worst", 1.0))}  # fmt: skip


async def _again(address: str, times: int) -> None:
    for _ in range(times):
        client = Client(address)
        await client.open()
        client.socket.close()


def _painted(address: str, times: int) -> dict[str, float]:
    found = {}
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        for number in range(times):
            start = time.perf_counter()
            page.goto(address, timeout=120_000)
            found[f"first_paint_s_{number}"] = page.evaluate(_PAINT) / 1000
            page.wait_for_selector("canvas", timeout=120_000)
            found[f"map_s_{number}"] = time.perf_counter() - start
            time.sleep(3)
        browser.close()
    return found


def main() -> None:
    AsyncHTTPClient.configure(None, max_clients=1000)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--reloads", type=int, default=200)
    parser.add_argument("--paints", type=int, default=3)
    parser.add_argument("--port", type=int, default=5106)
    parser.add_argument("--settle", type=float, default=60, help="Seconds for what is computed beside the page.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("options", nargs="*", help="of radiossl explore, after --")
    given = parser.parse_args()
    command = [sys.executable, "-m", "radiossl.cli.main", "explore", str(given.features.resolve()), *given.options]
    command += ["--no-browser", "--port", str(given.port)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert server.stdout is not None
        address = next((line.strip() for line in server.stdout if line.startswith("http://")), None)
        if address is None:
            sys.exit(f"explore ended with {server.wait()}")
        memory = psutil.Process(server.pid)
        found: dict[str, float] = {"start_to_address_s": time.perf_counter() - start}
        try:
            if given.paints:
                found |= _painted(address, given.paints)
            time.sleep(given.settle)
            if given.sessions:
                found |= asyncio.run(_many(address, given.sessions))
            for part in range(3 if given.reloads else 0):
                asyncio.run(_again(address, given.reloads // 2 if part else 10))
                time.sleep(20)  # sessions without a browser are forgotten after 15 s
                found[f"memory_mb_{part}"] = memory.memory_info().rss / 2**20
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()
    print_facts(found, given.json)


if __name__ == "__main__":
    main()
