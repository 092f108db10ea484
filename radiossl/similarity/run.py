"""One search from question to answer: what is asked for, its neighbours, and the folder that shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.datasets.image_files import is_store
from radiossl.datasets.image_sources import Images, find_images
from radiossl.features.feature_file import feature_images
from radiossl.features.stored_index import MANIFEST
from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError, check_choice, check_number
from radiossl.io.files import PathLike
from radiossl.io.results import check_result_folder
from radiossl.similarity.calibration import calibrate_similarity
from radiossl.similarity.queries import Crop, Query, query_of
from radiossl.similarity.report import Found, TableFormat, neighbour_table, write_search_results
from radiossl.similarity.search import SimilarityIndex, parse_position, place_of
from radiossl.sky.angles import parse_arcsec

if TYPE_CHECKING:
    from radiossl.weights.backbone import Backbone

#: Side in pixels of what is cut from mosaics around a position, where the cutouts have no size in common.
_FIELD = 150


@dataclass(frozen=True)
class SearchResult:
    """What `search` found."""

    searches: tuple[Found, ...]  # each query with its neighbours
    report: Path | None = None  # None if no folder was written

    @property
    def neighbours(self) -> pd.DataFrame:
        """The neighbours of all queries, best first for each: columns `query`, `rank`, `similarity` and all others."""
        return neighbour_table(self.searches)

    def _repr_html_(self) -> str:
        return self.neighbours.to_html(index=False)


def search(
    features: FeatureTable | SimilarityIndex | PathLike,
    query: Any,
    out: PathLike | None = None,
    *,
    weights: Backbone | PathLike | None = None,
    mosaics: Sequence[PathLike] | PathLike | None = None,
    size: int | None = None,
    crop: Crop = "auto",
    mean: bool = False,
    unlike: Any = (),
    where: str | None = None,
    near: str | None = None,
    neighbours: int = 10,
    store: Images | None = None,
    caption: str | None = None,
    label: str | None = None,
    table_format: TableFormat = "csv",
    device: str = "auto",
) -> SearchResult:
    """Find the cutouts most similar to a query.

    Parameters
    ----------
    features
        Feature table or index, or its path.
    query
        One or a list of: the id of a cutout; a position such as ``"12:30:49 +12:23:28"``, or an astropy ``SkyCoord`` of
        one or several; the name of an object, which is looked up; images as `radiossl.open_images` takes them, each of
        which is a query; features of shape (feature_dim,); a `Query`.
    out
        Result folder to write, with tables, regions, a gallery and a page; none by default.
    weights
        Backbone of the features, for images; by default the one that the features name.
    mosaics
        FITS files, folders of them or patterns: positions, names and catalogues are cut from them instead of looked for
        among the cutouts.
    size
        Side in pixels of what is cut from mosaics; by default that of the cutouts, or 150.
    crop
        ``auto``, ``none``, or the side in pixels of the box around the source of an image; see
        `radiossl.similarity.queries.frame_query`.
    mean
        Search once, for the mean of the queries.
    unlike
        What is not wanted, given as `query` is.
    where, near
        Search only where an expression over the columns holds, or in a circle ``"RA DEC RADIUS"``.
    neighbours
        How many to find for each query.
    store
        Images to show, if those that the features were made of have moved.
    caption
        Column to write under the pictures.
    label
        Column of classes, which some cutouts have at least: neighbours get a column ``same_class``, how often one of
        such a similarity is of the query's class; see `radiossl.similarity.calibration.calibrate_similarity`.
    table_format
        ``fits`` or ``votable``: write the neighbours so too.
    device
        Where to compute the features of images: auto, cpu or cuda.

    Raises
    ------
    RadiosslError
        If a query is not understood or found, or there is nothing to search in.

    See Also
    --------
    SimilarityIndex : for many searches in one index.
    radiossl.build_index : an index on disk, of any number of cutouts.

    Examples
    --------
    >>> columns = pa.table({"cutout_id": ["a", "b", "c"]})
    >>> table = FeatureTable(columns, np.array([[1, 0], [0.9, 0.1], [0, 1]], np.float32))
    >>> search(table, "a", neighbours=1).neighbours["cutout_id"].tolist()
    ['b']
    """
    check_choice("--format", table_format, TableFormat)
    if size is not None:
        check_number("--size", size, 8, whole=True)
    check_result_folder(out, __name__)
    index = _opened(features)
    if caption is not None and caption not in index.columns.column_names:
        index.column(caption)  # raises, naming those that there are
    calibration = None if label is None else calibrate_similarity(index, label)
    backbone = cache(partial(_backbone, index, weights, device))
    ask = partial(_queries, index, backbone=backbone, mosaics=mosaics, size=size, crop=crop)
    listed = (list(asked) if isinstance(asked, (list, tuple)) else [asked] for asked in (query, unlike))
    queries, unwanted = ([one for item in items for one in ask(item)] for items in listed)
    if mean or unwanted:
        queries = [query_of(group, unwanted) for group in ([queries] if mean else [[one] for one in queries])]
    frames = index.search_many(queries, neighbours, _among(index, where, near))
    if all(frame.empty for frame in frames):
        raise RadiosslError("nothing was found: besides the query there is no cutout to search in")
    if calibration is not None:
        for frame in frames:
            frame.insert(2, "same_class", calibration(frame["similarity"].to_numpy()))
    searches = tuple(Found(*pair) for pair in zip(queries, frames, strict=True))
    if out is None:
        return SearchResult(searches)
    images = feature_images(index.metadata, index.columns, store)
    shown = caption or label, table_format, index.metadata, calibration
    report = write_search_results(searches, images, out, *shown)
    return SearchResult(searches, report)


def _opened(features: FeatureTable | SimilarityIndex | PathLike) -> SimilarityIndex:
    if isinstance(features, SimilarityIndex):
        return features
    if isinstance(features, FeatureTable):
        return SimilarityIndex(features)
    stored = (Path(features) / MANIFEST).is_file()
    return SimilarityIndex.open(features) if stored else SimilarityIndex(FeatureTable.read(features))


def _queries(
    index: SimilarityIndex,
    asked: Any,
    backbone: Callable[[], Backbone],
    mosaics: Sequence[PathLike] | PathLike | None,
    size: int | None,
    crop: Crop,
) -> list[Query]:
    """A query or features are used as they are; images, or names of images, are embedded; other text is looked up."""
    if isinstance(asked, Query):
        return [asked]
    if isinstance(asked, np.ndarray) and asked.ndim == 1:
        return [Query("query", asked.astype(np.float32))]
    if isinstance(asked, str) and not asked.strip():
        raise RadiosslError("--query: is empty; give a cutout id, a position, a name or an image")
    side, images = size or index.framing.field_px or _FIELD, asked
    if hasattr(asked, "icrs"):
        places = asked.icrs.reshape(-1)
        if mosaics is None:
            return [index.query_by_position(float(place.ra.deg), float(place.dec.deg)) for place in places]
        names = places.to_string("hmsdms")
        table = pa.table({"id": names, "ra_deg": places.ra.deg, "dec_deg": places.dec.deg})
        images = find_images(table, mosaics, size=side)
    elif isinstance(asked, str) and not (Path(asked).exists() or has_magic(asked)):
        if mosaics is None:
            return [index.query_by_text(asked)]
        ra, dec = place_of(asked)
        place = pa.table({"id": [asked], "ra_deg": [ra], "dec_deg": [dec]})
        images = find_images(place, mosaics, size=side)
    elif mosaics is not None and not is_store(asked):
        images = find_images(asked, mosaics, size=side)
    return index.queries_by_images(images, backbone(), crop)


def _backbone(index: SimilarityIndex, weights: Backbone | PathLike | None, device: str) -> Backbone:
    from radiossl.weights.backbone import Backbone, load_backbone

    if isinstance(weights, Backbone):
        return weights
    folder = weights or index.metadata.get("weights") or ""
    if weights is None and not Path(folder).is_dir():
        raise RadiosslError("to search for an image, give --weights, the backbone of the features")
    return load_backbone(folder, device)


def _among(index: SimilarityIndex, where: str | None, near: str | None) -> NDArray[np.bool_] | None:
    """Which cutouts `where` and `near` leave to search in; None for all."""
    chosen = None if where is None else index.where(where)
    if near is not None:
        place, _, radius = near.strip().rpartition(" ")
        position = parse_position(place)
        if position is None:
            raise RadiosslError(f'--near {near}: expected "RA DEC RADIUS", such as "187.7 12.4 2deg"')
        circle = index.near(*position, parse_arcsec(radius, "--near"))
        chosen = circle if chosen is None else chosen & circle
    if chosen is not None and not chosen.any():
        given = " and ".join(f"{name} {text}" for name, text in (("--where", where), ("--near", near)) if text)
        raise RadiosslError(f"{given}: no cutout of the features is left to search in")
    return chosen
