"""From files to a running page and to its end."""

from __future__ import annotations

import signal
import webbrowser
from collections.abc import Callable
from typing import Any

from radiossl.explorer.drawing import DARK
from radiossl.explorer.page import Page, make_page
from radiossl.explorer.ranking import Ranking
from radiossl.explorer.serving import TokenAuth, make_server
from radiossl.explorer.session import Files, Session
from radiossl.store.store import CutoutStore


def explore(files: Files, store: CutoutStore | None, auth: TokenAuth, browser: bool, say: Callable[[str], Any]) -> None:
    """Serve the page until Ctrl-C.

    Parameters
    ----------
    files, store
        See `Session`.
    auth
        Where, and for whom.
    browser
        Whether to open the page in a browser.
    say
        Prints a line.

    Raises
    ------
    RadiosslError
        If a file is missing, damaged or of other sources, or the address cannot be bound.
    """
    session = Session(files, store)
    ranking = Ranking(session)
    Page(session, ranking, DARK)  # what compiles and loads at its first use does so now, not before the user's eyes
    server = make_server(lambda: make_page(session, ranking), auth, f"radiossl: {files.features.name}")

    def stop(*_: object) -> None:
        server.io_loop.add_callback_from_signal(server.io_loop.stop)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    server.start()
    session.load_beside(ranking.prepare, session.find_clusters)
    if store is None:
        say("no pixels: give --store, the store of the features")
    say(f"{auth.url}\nCtrl-C ends it; ratings are in {files.ratings}, labels in {files.labels}")
    if browser:
        webbrowser.open(auth.url)
    try:
        server.io_loop.start()
    finally:
        session.maps.close()
        server.stop()
