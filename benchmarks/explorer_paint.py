"""How long the explorer's page takes until something is seen, and until the map is, in headless Chromium.

    python benchmarks/explorer_paint.py FEATURES.parquet [--times 4] [--json FILE] [-- options of radiossl explore]

The time from the start of the program to its address is measured too. The page is opened anew each time.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from measuring import print_facts

_PAINT = """() => new Promise(done => {
    const look = () => {
        const paint = performance.getEntriesByName('first-contentful-paint')[0];
        paint ? done(paint.startTime) : setTimeout(look, 10);
    };
    look();
})"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--json", type=Path)
    parser.add_argument("options", nargs="*", help="of radiossl explore, after --")
    given = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "radiossl.cli.main", "explore", str(given.features.resolve()), *given.options]
    command += ["--no-browser", "--port", str(port)]
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        start = time.perf_counter()
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert server.stdout is not None
        address = next((line.strip() for line in server.stdout if line.startswith("http://")), None)
        if address is None:
            sys.exit(f"explore ended with {server.wait()}")
        found = {"start_to_address_s": time.perf_counter() - start}
        try:
            for number in range(given.times):
                start = time.perf_counter()
                page.goto(address, timeout=120_000)
                found[f"first_paint_s_{number}"] = page.evaluate(_PAINT) / 1000
                page.wait_for_selector("canvas", timeout=120_000)
                found[f"map_s_{number}"] = time.perf_counter() - start
                time.sleep(5)  # features are read on in the background
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()
            browser.close()
    print_facts(found, given.json)


if __name__ == "__main__":
    main()
