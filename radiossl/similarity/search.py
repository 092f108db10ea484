"""Similarity search: which cutouts look like this one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from radiossl.datasets.image_sources import Images, find_images
from radiossl.features.stored_index import ParquetColumns, open_index
from radiossl.features.table import FeatureTable, column_values, has_features, seen_field_px
from radiossl.features.vector_index import VectorIndex
from radiossl.io.errors import RadiosslError, check_number
from radiossl.io.expressions import rows_where
from radiossl.io.files import PathLike
from radiossl.similarity.queries import Crop, Framing, Query, frame_query
from radiossl.sky.angles import angles_arcsec, unit_vectors
from radiossl.sky.names import resolve_name
from radiossl.sky.positions import chord_of
from radiossl.store.store import CutoutStore

if TYPE_CHECKING:
    from radiossl.weights.backbone import Backbone

#: A position must be this close to a cutout's centre to name it.
MATCH_ARCSEC = 60.0
#: Cutouts whose sides differ by no more than this factor show fields of one size.
SAME_SIDE = 1.05


class SimilarityIndex:
    """Search by cosine similarity (Slijepcevic et al. 2022, equation 3).

    Exact for a table in memory; for an index on disk see `SimilarityIndex.open`.

    Parameters
    ----------
    table
        The features to search in.

    Examples
    --------
    >>> index = radiossl.SimilarityIndex(radiossl.embed("checkpoints/x", "store"))  # doctest: +SKIP
    >>> index.search(index.query_by_id("J0000+00"), k=5)  # doctest: +SKIP
    """

    def __init__(self, table: FeatureTable) -> None:
        if len(table) == 0:
            raise RadiosslError("a similarity index needs at least one cutout")
        self.vectors, self.metadata = VectorIndex.from_features(table.features), table.metadata
        self.columns: pa.Table | ParquetColumns = table.columns
        self._features: NDArray[np.float32] | None = table.features

    @classmethod
    def open(cls, folder: PathLike) -> SimilarityIndex:
        """Open an index that `radiossl index` made: mapped into memory, so it opens at once and needs little memory."""
        stored = open_index(folder)
        return cls.from_vectors(stored.vectors, stored.columns, stored.metadata)

    @classmethod
    def from_vectors(
        cls, vectors: VectorIndex, columns: pa.Table | ParquetColumns, metadata: dict[str, Any]
    ) -> SimilarityIndex:
        """Return an index of vectors that are in a `VectorIndex` already, with the columns of its rows."""
        index = cls.__new__(cls)
        index.vectors, index.columns, index.metadata = vectors, columns, metadata
        index._features = None
        return index

    def __len__(self) -> int:
        return len(self.vectors)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column as an array, missing numbers as NaN; raise `RadiosslError` if there is none of that name."""
        return column_values(self.columns, name)

    def query_by_id(self, cutout_id: str) -> Query:
        """Return the query for one of the cutouts by its id."""
        row = self._row_of(cutout_id)
        if row is None:
            raise RadiosslError(f"--query {cutout_id}: no such file, cutout id or position")
        return self.query_by_row(row)

    def query_by_text(self, text: str) -> Query:
        """Return the query for a cutout's id, for a position as `parse_position` reads it, or for an object's name.

        Names such as ``M87`` are looked up by `radiossl.sky.names.resolve_name`, which needs a network.
        """
        row = self._row_of(text)
        return self.query_by_position(*place_of(text)) if row is None else self.query_by_row(row)

    def _row_of(self, cutout_id: str) -> int | None:
        ids = self.columns.column("cutout_id")
        rows = np.flatnonzero(pc.equal(ids, pa.scalar(cutout_id, ids.type)).to_numpy())
        if len(rows) > 1:
            places = self.columns.take(pa.array(rows[:3])).to_pylist()
            known = [place for place in places if None not in (place.get("ra_deg"), place.get("dec_deg"))]
            some = ", ".join(f'"{place["ra_deg"]} {place["dec_deg"]}"' for place in known)
            way_out = f"give a position, as {some}" if known else "make the ids unique"
            raise RadiosslError(f"--query {cutout_id}: {len(rows)} cutouts have this id; {way_out}")
        return int(rows[0]) if len(rows) else None

    def query_by_position(self, ra_deg: float, dec_deg: float) -> Query:
        """Return the query for the cutout nearest to an ICRS position, at most `MATCH_ARCSEC` away."""
        asked = f"--query {ra_deg:.5f} {dec_deg:.5f}"
        return self.query_by_row(nearest_row(self._separations(ra_deg, dec_deg), asked))

    def query_by_file(self, path: str | Path, backbone: Backbone, crop: Crop = "auto") -> Query:
        """Return the query for an image file; see `queries_by_images`."""
        return self.queries_by_images(path, backbone, crop)[0]

    def queries_by_images(self, images: Images, backbone: Backbone, crop: Crop = "auto") -> list[Query]:
        """Return a query for each of some images, as `radiossl.open_images` takes them, by the features' own backbone.

        An image whose pixel scale is known and another than that of the cutouts is resampled to theirs, and one that
        shows a larger field than they do is cropped to its source (`frame_query`); the query's `note` says so.
        """
        from radiossl.features.embedding import adapted_to_table

        backbone = adapted_to_table(backbone, self.metadata)
        found = find_images(images)
        queries = []
        for cutout in iter(found) if isinstance(found, CutoutStore) else found.cutouts():
            image = frame_query(cutout, self.framing, crop)
            vector = backbone.features(image.cutout)[0].cpu().numpy()
            about = image.ra_deg, image.dec_deg, image.note, image.pixel_scale_arcsec
            queries.append(Query(image.name, vector, None, image.pixels, *about, whole=image.whole, box=image.box))
        return queries

    def query_by_row(self, row: int) -> Query:
        """Return the query for one of the cutouts by its row."""
        vector = self.vectors.vectors([row])[0] if self._features is None else self._features[row]
        known = self.columns.take(pa.array([row])).to_pylist()[0]
        ra, dec = (math.nan if known.get(name) is None else float(known[name]) for name in ("ra_deg", "dec_deg"))
        return Query(str(known["cutout_id"]), vector, row, None, ra, dec)

    @cached_property
    def framing(self) -> Framing:
        """How the cutouts show their sources, by their pixel scales and sizes and the field that the backbone saw."""
        scale = self._known("pixel_scale_arcsec")
        sides = np.fmax(self._known("height"), self._known("width"))
        seen = seen_field_px(self.metadata)
        smallest, largest = np.nanpercentile(sides, [5, 95]) if np.isfinite(sides).any() else (0.0, math.inf)
        field = round(float(largest)) if largest <= SAME_SIDE * smallest else None
        return Framing(
            float(np.nanmedian(scale)) if np.isfinite(scale).any() else math.nan,
            min(filter(None, [field, seen]), default=None),
        )

    def _known(self, name: str) -> NDArray[np.float64]:
        known = name in self.columns.column_names
        return self.column(name).astype(float) if known else np.full(len(self), np.nan)

    def _separations(self, ra_deg: float, dec_deg: float) -> NDArray[np.float64]:
        return separations_arcsec(ra_deg, dec_deg, self._known("ra_deg"), self._known("dec_deg"))

    def where(self, expression: str) -> NDArray[np.bool_]:
        """Return for which cutouts an expression over the columns holds, shape (n,); see `radiossl.io.expressions`."""
        return rows_where(self.columns, expression)

    def near(self, ra_deg: float, dec_deg: float, radius_arcsec: float) -> NDArray[np.bool_]:
        """Return which cutouts have their centre in a circle (ICRS), shape (n,); raise if none has a position."""
        chord_of(radius_arcsec)  # raises if it is no angle
        separations = self._separations(ra_deg, dec_deg)
        if np.isnan(separations).all():
            raise RadiosslError("no cutout of the features has a position, so none can be chosen by position")
        return separations <= radius_arcsec

    def search(
        self, query: Query | NDArray[np.floating], k: int = 10, among: NDArray[np.bool_] | None = None
    ) -> pd.DataFrame:
        """Return the k cutouts most similar to a query, without the query itself; see `search_many`."""
        return self.search_many([query], k, among)[0]

    def search_many(
        self, queries: Sequence[Query | NDArray[np.floating]], k: int = 10, among: NDArray[np.bool_] | None = None
    ) -> list[pd.DataFrame]:
        """Return for each of many queries the k cutouts most similar to it, without those that it was made of.

        Many queries at once take far less time than one after the other.

        Parameters
        ----------
        queries
            Each a `Query`, or features of shape (feature_dim,).
        k
            How many.
        among
            Which cutouts to search in, shape (n,), such as `where` and `near` return; all by default.

        Returns
        -------
        list of DataFrame
            Columns `rank` (from 1), `similarity` (cosine), `row` in the index, `separation_arcsec` on the sky if the
            query has a position, and all other columns of the features. Fewer than k rows where there are no more.

        Raises
        ------
        RadiosslError
            If k is less than 1, a query has another shape or no direction, or no cutout is left to search in.
        """
        check_number("--neighbours", k, 1, whole=True)
        if not queries:
            return []
        asked = [q if isinstance(q, Query) else Query("query", np.asarray(q, dtype=np.float32)) for q in queries]
        width = self.vectors.dimension
        for query in asked:
            if query.vector.shape != (width,):
                raise RadiosslError(f"query features of shape {query.vector.shape}, expected ({width},)")
            if not has_features(query.vector[None]).all():
                raise RadiosslError(f"query {query.name}: its features are not finite or all zero: nothing is like it")
        if among is not None and among.shape != (len(self),):
            raise RadiosslError(f"a mask of shape {among.shape} for {len(self)} cutouts: must match")
        if among is not None and not among.any():
            raise RadiosslError("no cutout is left to search in: the filter excludes them all")
        # More, by as many as the queries may find of themselves: copies of a query may come before it.
        wanted = min(k + max(len(query.rows) for query in asked), len(self))
        similarities, rows = self.vectors.search(np.stack([query.vector for query in asked]), wanted, among)
        frames = []
        for query, scores, found in zip(asked, similarities, rows, strict=True):
            kept = np.flatnonzero((found >= 0) & ~np.isin(found, query.rows))[:k]
            frames.append(self._frame(query, scores[kept], found[kept]))
        return frames

    def _frame(self, query: Query, similarities: NDArray[np.float32], rows: NDArray[np.int64]) -> pd.DataFrame:
        ours = {"rank": np.arange(1, len(rows) + 1), "similarity": similarities.astype(float), "row": rows}
        frame = self.columns.take(pa.array(rows)).to_pandas()
        if math.isfinite(query.ra_deg) and {"ra_deg", "dec_deg"} <= set(frame.columns):
            place = query.ra_deg, query.dec_deg
            ours["separation_arcsec"] = separations_arcsec(*place, frame["ra_deg"], frame["dec_deg"])
        return pd.concat([pd.DataFrame(ours), frame.drop(columns=list(ours), errors="ignore")], axis=1)


def separations_arcsec(ra_deg: float, dec_deg: float, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    """Return the great-circle distances from one position to many, all in degrees; NaN where a position is missing."""
    many = unit_vectors(np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64))
    return angles_arcsec(unit_vectors(np.array([ra_deg]), np.array([dec_deg])), many)


def nearest_row(separations: NDArray[np.float64], asked: str) -> int:
    """Return the row of the smallest separation in arcsec, which must be at most `MATCH_ARCSEC`."""
    if np.isnan(separations).all():
        raise RadiosslError(f"{asked}: no cutout of the features has a position")
    nearest = int(np.nanargmin(separations))
    if separations[nearest] > MATCH_ARCSEC:
        away = f"{separations[nearest]:.0f} arcsec away, more than {MATCH_ARCSEC:.0f}"
        raise RadiosslError(f"{asked}: the nearest cutout is {away}")
    return nearest


def place_of(text: str) -> tuple[float, float]:
    """Return the ICRS position in degrees that a text is, or that of the object that it names."""
    position = parse_position(text)
    try:
        return position or resolve_name(text)
    except RadiosslError as error:
        raise RadiosslError(f"--query {text}: no such file, cutout id or position, and {error}") from None


def parse_position(text: str) -> tuple[float, float] | None:
    """Read "RA DEC" in degrees, or sexagesimal with hours; None if the text is no position.

    Raises `RadiosslError` if only one of the two is sexagesimal, or a declination is beyond a pole.
    """
    from astropy.coordinates import SkyCoord

    text = text.replace(",", " ")
    numbers = pd.to_numeric(pd.Series(text.split()), errors="coerce").to_numpy(float)
    degrees = len(numbers) == 2 and np.isfinite(numbers).all()
    try:
        centre = SkyCoord(*numbers, unit="deg") if degrees else SkyCoord(text, unit=("hourangle", "deg"))
    except ValueError:
        if degrees:
            raise RadiosslError(f"{text}: a declination from -90 to 90 degrees was expected") from None
        return None
    if len(numbers) == 2 and np.isfinite(numbers).sum() == 1:
        raise RadiosslError(f"{text}: expected a position in degrees, or in hours, minutes and seconds of both axes")
    return float(centre.ra.deg), float(centre.dec.deg)
