"""Feature tables as HATS catalogues (IVOA Note "HATS"), which LSDB opens and cross-matches."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

import radiossl
from radiossl.features.feature_file import FeatureFile
from radiossl.features.rows import FEATURES
from radiossl.features.table import METADATA_KEY
from radiossl.io.errors import RadiosslError
from radiossl.io.extras import require
from radiossl.io.files import atomic_folder
from radiossl.io.progress import track

#: Bytes of features in a partition: what a worker of LSDB holds comfortably several times.
_PARTITION_BYTES = 2**28
#: Pixels of this order are 26 arcsec wide; sources that are still too many in one are left together.
_FINEST_ORDER = 13
_INDEX_ORDER = 29


def write_hats(table: FeatureFile, out: str | os.PathLike[str]) -> int:
    """Write a feature table as a HATS catalogue: Parquet files by HEALPix pixel, smaller where sources are dense.

    Features go through a file that is mapped into memory, so that memory grows with the other columns alone.

    Parameters
    ----------
    table
        With columns ``ra_deg`` and ``dec_deg``; rows without a position are left out.
    out
        Folder of the new catalogue; its name is the catalogue's. An older catalogue there is replaced.

    Returns
    -------
    int
        How many rows were left out for want of a position.

    Raises
    ------
    RadiosslError
        If `hats` is not installed, no row has a position, or `out` is something else than a catalogue.
    """
    out = Path(out)
    require("hats")
    if out.exists() and not (out / "hats.properties").is_file():
        raise RadiosslError(f"{out}: is there already and is no HATS catalogue; choose another --out")
    columns = table.columns()
    index, rows = _spatial_index(columns, str(table.path))
    limit = max(1, _PARTITION_BYTES // (4 * table.dimension))
    pixels = [pixel for top in range(12) for pixel in _pixels(index, 0, top, limit)]
    with atomic_folder(out, checksums=False) as folder:  # a catalogue of others' format
        scratch = folder / "features.raw"
        with scratch.open("wb") as stream:  # mapped only when it is whole: on a full disk a mapping kills
            for batch in track(table.batches(), "reading", total=table.batch_count):
                stream.write(np.ascontiguousarray(batch, np.float32).tobytes())
        features = np.memmap(scratch, np.float32, mode="r", shape=(len(table), table.dimension))
        schema_metadata = {METADATA_KEY: json.dumps(table.metadata).encode()}
        for order, pixel, part in track(pixels, "writing"):
            chosen = rows[part]
            flat = pa.array(np.ascontiguousarray(features[chosen]).ravel())
            piece = columns.take(pa.array(chosen, pa.int64()))
            piece = piece.add_column(0, "_healpix_29", pa.array(index[part], pa.int64()))
            piece = piece.append_column(FEATURES, pa.FixedSizeListArray.from_arrays(flat, table.dimension))
            _write_partition(piece.replace_schema_metadata(schema_metadata), folder, order, pixel)
        del features
        scratch.unlink()
        _write_catalogue_files(folder, out.name, [(order, pixel) for order, pixel, _ in pixels], len(rows))
    return len(table) - len(rows)


def _spatial_index(columns: pa.Table, path: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sorted HEALPix numbers (order 29, nested) of the rows with a position, and these rows."""
    from hats.pixel_math.spatial_index import compute_spatial_index

    missing = [name for name in ("ra_deg", "dec_deg") if name not in columns.column_names]
    if missing:
        raise RadiosslError(f"{path}: no column {missing[0]}; a HATS catalogue needs positions, as stores have them")
    ra, dec = (columns.column(name).to_pandas().to_numpy(dtype=np.float64) for name in ("ra_deg", "dec_deg"))
    rows = np.flatnonzero(np.isfinite(ra) & (np.abs(dec) <= 90))
    if rows.size == 0:
        raise RadiosslError(f"{path}: no row has a position; a HATS catalogue needs ra_deg and dec_deg")
    index = np.asarray(compute_spatial_index(ra[rows] % 360, dec[rows])).astype(np.int64)
    order = np.argsort(index, kind="stable")
    return index[order], rows[order]


def _pixels(index: NDArray[np.int64], order: int, pixel: int, limit: int) -> Iterator[tuple[int, int, slice]]:
    """Yield the largest pixels inside a pixel with at most `limit` sources: order, number, their place in `index`."""
    width = 2 * (_INDEX_ORDER - order)
    start, stop = np.searchsorted(index, [pixel << width, (pixel + 1) << width])
    if stop == start:
        return
    if stop - start <= limit or order == _FINEST_ORDER:
        yield order, pixel, slice(int(start), int(stop))
        return
    for child in range(4 * pixel, 4 * pixel + 4):
        yield from _pixels(index, order + 1, child, limit)


def _write_partition(table: pa.Table, folder: Path, order: int, pixel: int) -> None:
    from hats.io.paths import pixel_catalog_file
    from hats.pixel_math import HealpixPixel

    file = Path(str(pixel_catalog_file(folder, HealpixPixel(order, pixel))))
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)


def _write_catalogue_files(folder: Path, name: str, pixels: list[tuple[int, int]], rows: int) -> None:
    """Write what describes the partitions."""
    from hats.catalog import PartitionInfo, TableProperties
    from hats.io.parquet_metadata import write_parquet_metadata
    from hats.pixel_math import HealpixPixel

    write_parquet_metadata(folder)
    partitions = PartitionInfo([HealpixPixel(order, pixel) for order, pixel in pixels])
    partitions.write_to_file(folder / "partition_info.csv")
    facts: dict[str, Any] = {
        "catalog_name": name,
        "catalog_type": "object",
        "total_rows": rows,
        "ra_column": "ra_deg",
        "dec_column": "dec_deg",
        "healpix_column": "_healpix_29",
        "healpix_order": _INDEX_ORDER,
        "moc_sky_fraction": partitions.calculate_fractional_coverage(),
        "hats_builder": f"radiossl {radiossl.__version__}",
        "hats_order": partitions.get_highest_order(),
    }
    TableProperties(**facts).to_properties_file(folder)
