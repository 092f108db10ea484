"""From a table to a running page and to its end, or to a page that needs no server."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import webbrowser
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from radiossl.datasets.image_columns import images_of_table
from radiossl.explorer.answers import Answers
from radiossl.explorer.any_table import has_vectors, open_table
from radiossl.explorer.exported import check_export, export_page
from radiossl.explorer.notebook import USUAL_PORT, Embedded
from radiossl.explorer.ranking import Ranking
from radiossl.explorer.session import Files, Pixels, Session
from radiossl.io.errors import RadiosslError, counted
from radiossl.io.extras import require
from radiossl.io.progress import in_notebook
from radiossl.store.writing import OtherStoreError
from radiossl.survey.catalogue import Catalogue, read_catalogue
from radiossl.survey.received import temporary_folder

if TYPE_CHECKING:
    from radiossl.datasets.image_sources import Images
    from radiossl.features.table import FeatureTable

    PathLike = str | os.PathLike[str]


#: Of images that are explored without others.
_WEIGHTS = "simclr-first-zoom"


def explore(
    table: PathLike | FeatureTable | Images,
    images: Images | None = None,
    *,
    vectors: str | None = None,
    ids: str | None = None,
    mosaics: Sequence[Path] = (),
    size: int | None = None,
    weights: PathLike | None = None,
    map_folder: Path | None = None,
    second: Path | None = None,
    scores: Path | None = None,
    ratings: PathLike = "ratings.csv",
    labels: PathLike = "labels.csv",
    who: str = "",
    export: PathLike | None = None,
    address: str = "127.0.0.1",
    port: int | None = None,
    browser: bool = True,
    seed: int = 0,
    say: Callable[[str], Any] = print,
) -> Embedded | None:
    """Serve a page with a map, neighbours, search by image, clusters and anomalies of sources, until Ctrl-C.

    Parameters
    ----------
    table : path-like, FeatureTable, pandas.DataFrame, pyarrow.Table, astropy.table.Table or images
        A feature table, or any table with a column of vectors; see `radiossl.explorer.any_table.open_table`. Of images,
        as `radiossl.open_images` takes them, features are made first, and written to ``explored.parquet``.
    images : images, optional
        Their pixels; by default those in the table, or of which the features were made.
    vectors, ids, mosaics, size
        See `radiossl.explorer.any_table.open_table`.
    weights, map_folder, second, scores, ratings, labels, who, seed
        See `radiossl.explorer.session.Files`.
    export : path-like, optional
        Write a page that needs no server there instead, a folder or one ``.html`` file.
    address, port
        Where to serve the page: at port 5006, or in a notebook at the first free one from there on.
    browser : bool
        Whether to open it in a browser.
    say : callable
        Prints a line.

    Returns
    -------
    Embedded or None
        In a notebook what shows the page below the cell and has a method ``stop``; nothing elsewhere. An earlier one
        of the same table is stopped.

    Raises
    ------
    RadiosslError
        If a file is missing, damaged or of other sources, or the address cannot be bound.

    Examples
    --------
    >>> explore("features.parquet", radiossl.open_store("store"))  # doctest: +SKIP
    >>> explore(pandas.DataFrame({"name": names, "embedding": vectors, "image": pngs}))  # doctest: +SKIP
    """
    if export is not None:
        check_export(export)
    if vectors is None and not has_vectors(table):
        table, mosaics, ids = _embedded(table, weights, mosaics, size, ids, say), (), None
    if export is None and in_notebook():
        return Embedded({name: value for name, value in locals().items() if name not in ("browser", "say")})
    with temporary_folder() as folder:
        features, found = open_table(table, folder, vectors, ids, mosaics, size, images)
        map_folder = map_folder or folder / "map"
        files = Files(features, weights, map_folder, Path(ratings), Path(labels), scores, who, seed, second)
        if export is not None:
            say(f"{export_page(files, found, export)}: opens in a browser, from a disk or a web server")
        else:
            require("tornado")
            asyncio.run(_serve(files, found, address, USUAL_PORT if port is None else port, browser, say))
    return None


def _embedded(
    images: Images,
    weights: PathLike | None,
    mosaics: Sequence[Path],
    size: int | None,
    ids: str | None,
    say: Callable[[str], Any],
) -> Path:
    """Write the features of images into the working folder."""
    if ids is not None:
        named = None if mosaics else images_of_table(images, ids=ids)
        if isinstance(images, Catalogue) or not (mosaics or named):
            raise RadiosslError(
                f"--id {ids}: images have their own names; leave it out, or give a catalogue's --mosaics"
            )
        images = named or read_catalogue(cast(Any, images), id=ids)
    from radiossl.features.parts import write_features
    from radiossl.weights.backbone import load_backbone

    backbone, out = load_backbone(weights or _WEIGHTS), Path("explored.parquet")
    write = partial(write_features, backbone, images, out, mosaics=mosaics or None, size=size)
    cut = out.with_suffix(".images")
    try:
        done = write()
    except OtherStoreError:  # of what was explored here before, which stays if there is nothing to take its place
        say(f"{cut}: replaced by what is cut now")
        before = cut.with_suffix(".before")
        shutil.rmtree(before, ignore_errors=True)  # of a killed process
        cut.rename(before)
        try:
            done = write()
        except BaseException:
            shutil.rmtree(cut, ignore_errors=True)
            before.rename(cut)
            raise
        shutil.rmtree(before)
    say(f"{out}: {counted(len(done.table), 'image')} embedded with {Path(backbone.name).name}")
    return out


async def _serve(
    files: Files, images: Pixels | None, address: str, port: int, browser: bool, say: Callable[[str], Any]
) -> None:
    from radiossl.explorer.serving import TokenAuth, make_server

    auth = TokenAuth.from_address(address, port)
    session = Session(files, images)
    ranking = Ranking(session)
    answers = Answers(session, ranking)
    answers.start()  # what is computed at its first use is so before anybody waits for it
    if session.shown.class_column is not None:
        answers.column(session.shown.class_column)
    server = make_server(answers, auth)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    session.load_beside(ranking.prepare, session.find_clusters)
    if images is None:
        say("no pixels: give --store, the store of the features")
    say(f"{auth.url}\nCtrl-C ends it; ratings are in {files.ratings}, labels in {files.labels}")
    if browser:
        webbrowser.open(auth.url)
    try:
        await ended.wait()
    finally:
        session.maps.close()
        server.stop()
