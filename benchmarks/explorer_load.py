"""How fast the explorer's page opens and moves, for one browser and for many at once, and whether memory stays flat.

    python benchmarks/explorer_load.py FEATURES.parquet [--sessions 50] [--reloads 200] [--json FILE]
        [-- options of radiossl explore]

Measures the time from the start of the program to its address; in headless Chromium the first paint, the drawn map, and
frames per second while the map is dragged and zoomed (three times); with `--sessions` opened at the same moment, how
long each waits until it has all that its first view shows, and then, when all go to another source at the same moment,
how long each waits for it, its picture and its neighbours; and the memory of the server and of the page over
`--reloads` reloads in Chromium. The sessions draw nothing, so their times are the server's; the processor's time per
session is said beside them, for a machine that does other work too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
from playwright.sync_api import Page, sync_playwright
from tornado.httpclient import AsyncHTTPClient

from measuring import print_facts

_PATIENCE_S = 600
_PAINT = """() => new Promise(done => {
    const look = () => {
        const paint = performance.getEntriesByName('first-contentful-paint')[0];
        paint ? done(paint.startTime) : setTimeout(look, 10);
    };
    look();
})"""
_DRAWN = "() => maps[0].frames.length > 0 && maps[0].xy.length > 0 && page.colours !== undefined && start !== null"
#: Frames while the map is moved at every one of them, and how long drawing one takes.
_FRAMES = """(move) => new Promise(done => {
    const begin = performance.now();
    let count = 0;
    maps[0].frames = [];
    const next = () => {
        if (performance.now() - begin > 3000) {
            const times = maps[0].frames.toSorted((a, b) => a - b);
            done([1000 * count / (performance.now() - begin), times[Math.floor(times.length / 2)]]);
            return;
        }
        count++;
        if (move === 'drag') maps[0].pan(count % 40 < 20 ? 5 : -5, 2 * (count % 3 - 1));
        else maps[0].zoom(count % 40 < 20 ? 0.97 : 1 / 0.97);
        requestAnimationFrame(next);
    };
    next();
})"""


class Client:
    """What a browser asks for, without drawing it."""

    def __init__(self, address: str) -> None:
        self.home, _, token = address.partition("?token=")
        port = self.home.rstrip("/").rpartition(":")[2]
        self.headers = {"Cookie": f"radiossl-{port}={token}", "Accept-Encoding": "gzip"}

    async def ask(self, path: str, **said: Any) -> bytes:
        found = await AsyncHTTPClient().fetch(
            f"{self.home}{path}?{urlencode(said)}",
            headers=self.headers,
            request_timeout=_PATIENCE_S,
            connect_timeout=_PATIENCE_S,
        )
        return found.body

    async def open(self) -> float:
        """Fetch the page and what it shows first; return how long that took."""
        begin = time.perf_counter()
        await self.ask("")
        start = json.loads(await self.ask("api/start"))
        asked = [self.ask("api/map", name=next(iter(start["maps"]))), self.ask("api/order"), self.ask("api/ratings")]
        if start["class_column"]:
            asked.append(self.ask("api/column", name=start["class_column"]))
        await asyncio.gather(*asked)
        return time.perf_counter() - begin

    async def go(self, row: int) -> float:
        """Go to a source; return how long it and its neighbours take to come."""
        begin = time.perf_counter()
        await self.ask("api/source", row=row)
        look = {"stretch": "asinh", "colours": "inferno"}
        found = json.loads(await self.ask("api/neighbours", row=row))
        await self.ask("api/items", rows=",".join(map(str, found["rows"])))
        pictures = [(row, "large"), *((other, "thumb") for other in found["rows"])]
        for other, side in pictures:
            try:
                await self.ask("api/picture", row=other, side=side, **look)
            except Exception:  # a table without pixels
                break
        return time.perf_counter() - begin


async def _many(address: str, number: int, count: int) -> dict[str, float]:
    clients = [Client(address) for _ in range(number)]
    opened = sorted(await asyncio.gather(*(client.open() for client in clients)))
    await asyncio.sleep(3)
    gone = sorted(await asyncio.gather(*(client.go(at * 37 % count) for at, client in enumerate(clients))))
    named = {"open_s": opened, "source_s": gone}
    return {f"{number}_sessions_{key}_{at}": values[int(part * (number - 1))] for key, values in named.items()
            for at, part in (("median", 0.5), ("worst", 1.0))}  # fmt: skip


def _painted(page: Page, address: str, times: int) -> dict[str, float]:
    found = {}
    for number in range(times):
        begin = time.perf_counter()
        page.goto(address, timeout=_PATIENCE_S * 1000)
        found[f"first_paint_s_{number}"] = page.evaluate(_PAINT) / 1000
        page.wait_for_function(_DRAWN, timeout=_PATIENCE_S * 1000)
        found[f"map_s_{number}"] = time.perf_counter() - begin
        for move in ("drag", "zoom"):
            page.wait_for_timeout(1000)
            rate, drawing_ms = page.evaluate(_FRAMES, move)
            found |= {f"{move}_frames_per_s_{number}": rate, f"{move}_frame_ms_{number}": drawing_ms}
    return found


def _reloaded(page: Page, times: int, server: psutil.Process) -> dict[str, float]:
    devtools = page.context.new_cdp_session(page)
    found = {}
    for number in range(times + 1):
        if number in (10, times // 2, times):
            devtools.send("HeapProfiler.collectGarbage")
            found[f"server_mb_after_{number}"] = server.memory_info().rss / 2**20
            found[f"page_mb_after_{number}"] = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
        page.reload(timeout=_PATIENCE_S * 1000)
        page.wait_for_function(_DRAWN, timeout=_PATIENCE_S * 1000)
    return found


def main() -> None:
    AsyncHTTPClient.configure(None, max_clients=1000, max_body_size=2**31)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--reloads", type=int, default=200)
    parser.add_argument("--paints", type=int, default=3)
    parser.add_argument("--port", type=int, default=5106)
    parser.add_argument("--settle", type=float, default=60, help="Seconds for what is computed beside the page.")
    parser.add_argument("--json", type=Path)
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given, options = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    command = [sys.executable, "-m", "radiossl.cli.main", "explore", str(given.features.resolve()), *options]
    command += ["--no-browser", "--port", str(given.port)]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        begin = time.perf_counter()
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert server.stdout is not None
        address = next((line.strip() for line in server.stdout if line.startswith("http://")), None)
        if address is None:
            sys.exit(f"explore ended with {server.wait()}")
        process = psutil.Process(server.pid)
        found: dict[str, float] = {"start_to_address_s": time.perf_counter() - begin}
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--enable-precise-memory-info"]
        )
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        try:
            time.sleep(given.settle)
            found |= _painted(page, address, given.paints)
            if given.sessions:
                count = page.evaluate("start.count") if given.paints else 1
                before = process.cpu_times()
                with ThreadPoolExecutor() as beside:  # Playwright has a loop of its own in this thread
                    found |= beside.submit(asyncio.run, _many(address, given.sessions, count)).result()
                used = sum(process.cpu_times()[:2]) - sum(before[:2])
                found["processor_s_per_session"] = used / given.sessions
            if given.reloads:
                page.goto(address, timeout=_PATIENCE_S * 1000)
                found |= _reloaded(page, given.reloads, process)
        finally:
            browser.close()
            server.send_signal(signal.SIGINT)
            server.wait()
    print_facts(found, given.json)


if __name__ == "__main__":
    main()
