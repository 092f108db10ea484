"""Feature tables as HATS catalogues (IVOA Note "HATS"), which LSDB opens and cross-matches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

import radiossl
from radiossl.features.feature_file import FeatureFile
from radiossl.features.table import FEATURES, METADATA_KEY, vector_column
from radiossl.io.errors import RadiosslError
from radiossl.io.extras import require
from radiossl.io.files import PathLike, atomic_folder
from radiossl.io.progress import track
from radiossl.store.store import CutoutStore

#: A pixel's order and number, and which sources.
Part = tuple[int, int, NDArray[np.int64]]
#: What tells a folder of HATS from any other.
_OURS = ("hats.properties", "collection.properties")
_MAP = pa.list_(pa.list_(pa.list_(pa.float32())))
_NUMBERS = pa.list_(pa.float32())
_MASK = pa.list_(pa.list_(pa.list_(pa.bool_())))
_BAND = {"band": pa.list_(pa.string()), "flux": _MAP, "ivar": _MAP, "mask": _MASK}
_IMAGE = pa.struct(_BAND | {"psf_fwhm": _NUMBERS, "scale": _NUMBERS})
#: Bytes of features in a partition: what a worker of LSDB holds comfortably several times.
_PARTITION_BYTES = 2**28
#: Pixels of this order are 26 arcsec wide; sources that are still too many in one are left together.
_FINEST_ORDER = 13
_INDEX_ORDER = 29


def write_hats(table: FeatureFile, out: PathLike, margin_arcsec: float = 0.0, images: CutoutStore | None = None) -> int:
    """Write a feature table as a HATS catalogue: Parquet files by HEALPix pixel, smaller where sources are dense.

    Features go through a file that is mapped into memory, so that memory grows with the other columns alone. Rows
    without ``ra_deg`` and ``dec_deg`` are left out; returns how many. The name of the folder `out` is the catalogue's;
    an older catalogue there is replaced. Each file's margin reaches at least `margin_arcsec` beyond its pixel, so that
    LSDB misses no neighbour at an edge; the folder is then a collection of the catalogue and its margin cache. `images`
    are cutouts for a column ``image`` as the datasets of the Multimodal Universe have it: lists of one band each with
    its name, ``flux``, ``ivar``, ``mask`` (true where there is no datum), ``psf_fwhm`` and ``scale`` in arcsec. Raises
    `RadiosslError` if `hats` is not installed, no row has a position, a cutout is missing, the margin is wider than the
    smallest pixel, or `out` is something else than a catalogue.
    """
    out = Path(out)
    require("hats")
    if out.exists() and not any((out / name).is_file() for name in _OURS):
        raise RadiosslError(f"{out}: exists and is not a HATS catalogue; choose another --out")
    columns = table.columns()
    index, rows = _spatial_index(columns, str(table.path))
    pixels_bytes = 0 if images is None else 9 * int(images.shapes.prod(axis=1).mean())
    limit = max(1, _PARTITION_BYTES // (4 * table.dimension + pixels_bytes))
    parts = [part for top in range(12) for part in _pixels(index, 0, top, limit)]
    with atomic_folder(out, checksums=False) as folder:  # a catalogue of others' format
        scratch = folder / "features.raw"
        with scratch.open("wb") as stream:  # mapped only when it is whole: on a full disk a mapping kills
            for batch in track(table.batches(), "reading", total=table.batch_count):
                stream.write(np.ascontiguousarray(batch, np.float32).tobytes())
        features = np.memmap(scratch, np.float32, mode="r", shape=(len(table), table.dimension))
        metadata = {METADATA_KEY: json.dumps(table.metadata).encode()}

        def piece(chosen: NDArray[np.int64]) -> pa.Table:
            """These rows of `index` and `rows`."""
            taken = rows[chosen]
            found = columns.take(pa.array(taken, pa.int64()))
            if images is not None:
                found = found.append_column("image", _bands(images, found))
            found = found.add_column(0, "_healpix_29", pa.array(index[chosen], pa.int64()))
            return found.append_column(FEATURES, vector_column(features[taken])).replace_schema_metadata(metadata)

        name = out.name
        home = folder / name if margin_arcsec else folder
        _write_catalogue(home, name, parts, piece, {"catalog_type": "object"})
        if margin_arcsec:
            from hats.catalog import CollectionProperties

            about = {"obs_collection": name, "hats_primary_table_url": name}
            if beside := _margins(index, parts, margin_arcsec):  # nothing may lie so near to an edge
                margin = f"{name}_margin"
                facts = {"catalog_type": "margin", "primary_catalog": name, "margin_threshold": margin_arcsec}
                _write_catalogue(folder / margin, margin, beside, piece, facts)
                about |= {"all_margins": margin, "default_margin": margin}
            CollectionProperties.model_validate(about).to_properties_file(folder)
        scratch.unlink()
    return len(table) - len(rows)


def _spatial_index(columns: pa.Table, path: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sorted HEALPix numbers (order 29, nested) of the rows with a position, and these rows."""
    from hats.pixel_math.spatial_index import compute_spatial_index

    missing = [name for name in ("ra_deg", "dec_deg") if name not in columns.column_names]
    if missing:
        raise RadiosslError(f"{path}: no column {missing[0]}; a HATS catalogue needs positions")
    ra, dec = (columns.column(name).to_pandas().to_numpy(dtype=np.float64) for name in ("ra_deg", "dec_deg"))
    rows = np.flatnonzero(np.isfinite(ra) & (np.abs(dec) <= 90))
    if rows.size == 0:
        raise RadiosslError(f"{path}: no row has a position; a HATS catalogue needs ra_deg and dec_deg")
    index = np.asarray(compute_spatial_index(ra[rows] % 360, dec[rows])).astype(np.int64)
    order = np.argsort(index, kind="stable")
    return index[order], rows[order]


def _pixels(index: NDArray[np.int64], order: int, pixel: int, limit: int) -> Iterator[Part]:
    """Yield the largest pixels inside a pixel with at most `limit` sources, and where these are in `index`."""
    width = 2 * (_INDEX_ORDER - order)
    start, stop = np.searchsorted(index, [pixel << width, (pixel + 1) << width])
    if stop == start:
        return
    if stop - start <= limit or order == _FINEST_ORDER:
        yield order, pixel, np.arange(start, stop)
        return
    for child in range(4 * pixel, 4 * pixel + 4):
        yield from _pixels(index, order + 1, child, limit)


def _margins(index: NDArray[np.int64], parts: Sequence[Part], margin_arcsec: float) -> list[Part]:
    """Which sources lie just outside each pixel, those without sources too: in fine pixels that border on it.

    As LSDB makes margins: the fine pixels are the smallest that are nowhere narrower than the margin.
    """
    from hats.pixel_math import HealpixPixel, get_margin
    from hats.pixel_math.healpix_shim import margin2order
    from hats.pixel_tree.negative_tree import compute_negative_tree_pixels
    from hats.pixel_tree.pixel_tree import PixelTree

    fine = int(margin2order(np.array([margin_arcsec / 60]))[0])
    full = [HealpixPixel(order, pixel) for order, pixel, _ in parts]
    if fine <= max(pixel.order for pixel in full):
        raise RadiosslError(
            f"--margin {margin_arcsec:g}arcsec: is wider than the smallest pixel of the catalogue; choose less"
        )
    width = 2 * (_INDEX_ORDER - fine)
    found = []
    for pixel in (*full, *compute_negative_tree_pixels(PixelTree.from_healpix(full))):
        border = np.array(get_margin(pixel.order, pixel.pixel, fine - pixel.order), np.int64)
        first, last = np.searchsorted(index, border << width), np.searchsorted(index, (border + 1) << width)
        inside = [np.arange(start, stop) for start, stop in zip(first, last, strict=True) if stop > start]
        if inside:
            found.append((pixel.order, pixel.pixel, np.concatenate(inside)))
    return found


def _bands(images: CutoutStore, rows: pa.Table) -> pa.Array:
    """The pixels of rows as the Multimodal Universe has images, of one band each."""
    places = (rows.column(name).to_numpy() for name in ("ra_deg", "dec_deg"))
    cutouts = images.select_ids(rows.column("cutout_id").to_pylist(), *places)
    names = ("beam_major_arcsec", "pixel_scale_arcsec", "rms")
    beams, scales, rms = (cutouts.column(name).astype(float) for name in names)
    values = []
    for row in range(len(cutouts)):
        flux = np.asarray(cutouts.pixels(row), np.float32)
        known = np.isfinite(flux)
        ivar = np.where(known & (rms[row] > 0), 1 / np.float64(rms[row] or np.inf) ** 2, 0).astype(np.float32)
        band = {"band": ["radio"], "flux": [flux.tolist()], "ivar": [ivar.tolist()], "mask": [(~known).tolist()]}
        values.append(band | {"psf_fwhm": [beams[row]], "scale": [scales[row]]})
    return pa.array(values, _IMAGE)


def _write_catalogue(
    folder: Path,
    name: str,
    parts: Sequence[Part],
    piece: Callable[[NDArray[np.int64]], pa.Table],
    facts: dict[str, Any],
) -> None:
    from hats.catalog import PartitionInfo, TableProperties
    from hats.io.parquet_metadata import write_parquet_metadata
    from hats.io.paths import pixel_catalog_file
    from hats.pixel_math import HealpixPixel

    pixels = [HealpixPixel(order, pixel) for order, pixel, _ in parts]
    for pixel, (_, _, chosen) in zip(track(pixels, "writing"), parts, strict=True):
        file = Path(str(pixel_catalog_file(folder, pixel)))
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(piece(chosen), file)
    partitions = PartitionInfo(pixels)
    write_parquet_metadata(folder)
    partitions.write_to_file(folder / "partition_info.csv")
    facts |= {
        "catalog_name": name,
        "total_rows": sum(len(chosen) for _, _, chosen in parts),
        "ra_column": "ra_deg",
        "dec_column": "dec_deg",
        "healpix_column": "_healpix_29",
        "healpix_order": _INDEX_ORDER,
        "moc_sky_fraction": partitions.calculate_fractional_coverage(),
        "hats_builder": f"radiossl {radiossl.__version__}",
        "hats_order": partitions.get_highest_order(),
    }
    TableProperties(**facts).to_properties_file(folder)
