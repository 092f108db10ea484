"""The explorer below a cell: a real kernel serves it, and a frame in another site's page shows it."""

import http.server
import os
import threading
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import pytest

import radiossl

from .running import free_port
from .test_page import PATIENCE, browser, sync_api  # noqa: F401  (the fixture, and the skips)

pytestmark = pytest.mark.slow
jupyter_client = pytest.importorskip("jupyter_client")

CELL = """
import radiossl
from radiossl import FeatureTable
shown = FeatureTable.read({features!r}).explore(port={port})
shown
"""


@pytest.fixture
def kernel(tmp_path):
    home = str(Path(radiossl.__file__).parents[1])
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": home}
    manager, client = jupyter_client.manager.start_new_kernel(cwd=str(tmp_path), env=environment)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(client, code):
    """The outputs of a cell."""
    outputs = []

    def keep(message):
        if message["msg_type"] == "error":
            raise AssertionError("\n".join(message["content"]["traceback"]))
        outputs.append(message)

    client.execute_interactive(code, output_hook=keep, timeout=120)
    return outputs


def test_a_cell_shows_the_explorer_until_it_is_stopped(kernel, survey, tmp_path, browser):  # noqa: F811
    outputs = run(kernel, CELL.format(features=str(survey.features), port=free_port()))
    (html,) = [out["content"]["data"]["text/html"] for out in outputs if "data" in out["content"]]
    assert "iframe" in html
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text(f"<!doctype html><body>{html}</body>")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "page")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as notebook:
        threading.Thread(target=notebook.serve_forever, daemon=True).start()
        context = browser.new_context(viewport={"width": 1440, "height": 1000}, color_scheme="dark")
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(f"http://localhost:{notebook.server_port}/")
        frame = page.frame_locator("iframe")
        frame.locator(".map canvas").first.wait_for()
        frame.get_by_placeholder("id, or position").fill("s07")
        frame.get_by_placeholder("id, or position").press("Enter")
        frame.get_by_role("heading", name="s07").wait_for()
        frame.locator(".rs-thumb").first.wait_for()  # pixels of the store that the table names
        context.close()
        notebook.shutdown()
    (address,) = [part for part in html.split('"') if part.startswith("http://127.0.0.1:")]
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert answer.status == 200
    again = f"again = shown._table.explore()\nother = FeatureTable.read({str(survey.features)!r}).explore()"
    run(kernel, again)  # without a port, and the first of the two takes the place of what is shown
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(address, timeout=5)
    run(kernel, "import urllib.request\nfor one in (again, other): urllib.request.urlopen(one.url).close()")
    run(kernel, "again.stop()\nother.stop()\nassert not type(again)._running")
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(address, timeout=5)


def test_what_is_wrong_is_said_below_the_cell(kernel):
    with pytest.raises(AssertionError, match=r"RadiosslError.*nowhere\.parquet"):
        run(kernel, "import radiossl\nradiossl.explore('nowhere.parquet')")
