"""Similarity search: which cutouts look like this one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.embeddings.table import FeatureTable
from radiossl.errors import RadiosslError
from radiossl.survey.image_file import read_image
from radiossl.weights.released import Backbone

#: A position must be this close to a cutout's centre to name it.
MATCH_ARCSEC = 60.0


@dataclass(frozen=True)
class Query:
    """What is searched for.

    Attributes
    ----------
    name
        Its id or file name.
    vector
        Its features, shape (feature_dim,).
    row
        Its row in the table, if it is one of the cutouts.
    image
        Its pixels, if it came from a file.
    """

    name: str
    vector: NDArray[np.float32]
    row: int | None = None
    image: NDArray[np.float32] | None = None


class SimilarityIndex:
    """Exact search by cosine similarity (Slijepcevic et al. 2022, equation 3).

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
        import faiss

        if len(table) == 0:
            raise RadiosslError("a similarity index needs at least one cutout")
        self.table = table
        self._index = faiss.IndexFlatIP(table.features.shape[1])
        self._index.add(_unit(table.features))

    def query_by_id(self, cutout_id: str) -> Query:
        """Return the query for one of the cutouts by its id."""
        found = np.flatnonzero(self.table.column("cutout_id") == cutout_id)
        if found.size == 0:
            raise RadiosslError(f"--query {cutout_id}: no such file, cutout id or position")
        return self._query_of_row(int(found[0]))

    def query_by_position(self, ra_deg: float, dec_deg: float) -> Query:
        """Return the query for the cutout nearest to an ICRS position, at most `MATCH_ARCSEC` away."""
        from astropy import units as u
        from astropy.coordinates import SkyCoord

        centres = SkyCoord(self.table.column("ra_deg"), self.table.column("dec_deg"), unit="deg")
        separations = SkyCoord(ra_deg, dec_deg, unit="deg").separation(centres).to_value(u.arcsec)
        if np.isnan(separations).all():
            raise RadiosslError(f"--query {ra_deg:.5f} {dec_deg:.5f}: no cutout of the features has a position")
        nearest = int(np.nanargmin(separations))
        if separations[nearest] > MATCH_ARCSEC:
            raise RadiosslError(
                f"--query {ra_deg:.5f} {dec_deg:.5f}: the nearest cutout is {separations[nearest]:.0f} arcsec away,"
                f" more than {MATCH_ARCSEC:.0f}"
            )
        return self._query_of_row(nearest)

    def query_by_file(self, path: str | Path, backbone: Backbone) -> Query:
        """Return the query for a FITS, NPY or picture file; the backbone must be that of the features."""
        ours = self.table.metadata.get("weights_sha256", "")
        if ours and backbone.sha256 and ours != backbone.sha256:
            raise RadiosslError(
                f"{backbone.name}: not the weights that the features were made with"
                f" ({self.table.metadata.get('weights')}); give those as --weights"
            )
        # The features may have been made with other preprocessing than the backbone's, at the user's wish.
        backbone = backbone.adapted(**self.table.metadata.get("preprocessing", {}))
        image = read_image(path)
        if not np.isfinite(image).any():
            raise RadiosslError(f"{path}: every pixel is blank")
        return Query(Path(path).name, backbone.features(image)[0].cpu().numpy(), image=image)

    def _query_of_row(self, row: int) -> Query:
        return Query(str(self.table.column("cutout_id")[row]), self.table.features[row], row=row)

    def search(self, query: Query | NDArray[np.floating], k: int = 10) -> pd.DataFrame:
        """Return the k cutouts most similar to a query, without the query itself.

        Parameters
        ----------
        query
            A `Query`, or features of shape (feature_dim,).
        k
            How many.

        Returns
        -------
        DataFrame
            Columns `rank` (from 1), `similarity` (cosine), `row` in the table, and all other columns of the table.
        """
        if k < 1:
            raise RadiosslError(f"k = {k}: at least one neighbour was expected")
        if not isinstance(query, Query):
            query = Query("query", np.asarray(query, dtype=np.float32))
        if query.vector.shape != (self.table.features.shape[1],):
            raise RadiosslError(
                f"query features of shape {query.vector.shape}, expected ({self.table.features.shape[1]},)"
            )
        wanted = min(k + 1, len(self.table))
        similarities, rows = self._index.search(_unit(query.vector[None]), wanted)
        kept = [(s, r) for s, r in zip(similarities[0], rows[0], strict=True) if r != query.row][:k]
        found = np.array([row for _, row in kept], dtype=np.int64)
        ours = ["rank", "similarity", "row"]
        frame = self.table.columns.take(found).to_pandas().drop(columns=ours, errors="ignore")
        frame.insert(0, "row", found)
        frame.insert(0, "similarity", [float(s) for s, _ in kept])
        frame.insert(0, "rank", np.arange(1, len(kept) + 1))
        return frame


def parse_position(text: str) -> tuple[float, float] | None:
    """Read "RA DEC" in degrees, or sexagesimal with hours; None if the text is no position."""
    from astropy.coordinates import SkyCoord

    text = text.replace(",", " ")
    parts = text.split()
    try:
        if len(parts) == 2 and all(_is_number(part) for part in parts):
            centre = SkyCoord(float(parts[0]), float(parts[1]), unit="deg")
        else:
            centre = SkyCoord(text, unit=("hourangle", "deg"))
    except ValueError:
        return None
    return float(centre.ra.deg), float(centre.dec.deg)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
