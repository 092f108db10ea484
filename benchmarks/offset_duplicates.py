"""How many offset duplicates are found, and how many of the pairs found are some: `radiossl duplicates` on real tiles.

    python benchmarks/offset_duplicates.py TILES WEIGHTS --catalogue CSV --work DIR [--setting offset] [--json FILE]

Of a random half of the sources a second cutout is made, shifted by 1 to 30 pixels. Settings: `offset` alone; `box`, its
side times 0.8 to 1.25 too; `noise03` and `noise10`, noise of 0.3 and 1.0 times the rms and as wide as the beam on top,
as from another epoch. Pairs are true if their centres are within 60 arcsec. Positions are withheld except where said.
Thresholds of features are chosen on one half of the sky, and everything is reported on the other half.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.duplicates.search import cosine_of_pairs, find_duplicates, mutual_neighbours
from radiossl.features.embedding import embed
from radiossl.features.same_source import pixel_hash, same_pictures
from radiossl.features.table import FeatureTable
from radiossl.sky.positions import groups_by_position, match_sky
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.store import CutoutStore, open_store
from radiossl.store.writing import write_store
from radiossl.survey.catalogue import Catalogue, read_catalogue
from radiossl.survey.sources import cut_sources

SIDE, LONGEST_SHIFT, TRUE_ARCSEC, FWHM_PX = 200, 30.0, 60.0, 3.0
NOISE = {"noise03": 0.3, "noise10": 1.0}
SETTINGS = ("offset", "box", *NOISE)
BINS = (0.0, 5.0, 10.0, 20.0, 30.0)
Pairs = set[tuple[int, int]]


# Data -----------------------------------------------------------------------------------------------------------------


def make_stores(tiles: Path, catalogue: Catalogue, work: Path, scale_arcsec: float, seed: int) -> None:
    """Cut the originals and all settings of their duplicates into folders of `work` that are not there yet."""
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(catalogue))[: len(catalogue) // 2])
    shift = rng.uniform(1, LONGEST_SHIFT, len(chosen))
    angle = rng.uniform(0, 2 * np.pi, len(chosen))
    sides = np.round(SIDE * rng.uniform(0.8, 1.25, len(chosen)))
    moved = SkyCoord(catalogue.ra_deg[chosen], catalogue.dec_deg[chosen], unit="deg").directional_offset_by(
        angle * u.rad, shift * scale_arcsec * u.arcsec
    )

    def cut(name: str, ids: Any, original: Any, ra: Any, dec: Any, side: Any, shift: Any) -> None:
        if not (work / name).exists():
            columns = pa.table({"original": original, "shift_px": shift})
            sources = Catalogue(name, ids, ra, dec, side * scale_arcsec, columns)
            cut_sources([tiles], sources, work / name, box_factor=1.0, min_size=1)

    ids = catalogue.ids[chosen]
    copies = np.array([f"{name}_b" for name in ids], dtype=object)
    count = len(catalogue)
    cut("orig", catalogue.ids, catalogue.ids, catalogue.ra_deg, catalogue.dec_deg, np.full(count, float(SIDE)),
        np.zeros(count))  # fmt: skip
    cut("offset", copies, ids, moved.ra.deg, moved.dec.deg, np.full(len(ids), float(SIDE)), shift)
    cut("box", copies, ids, moved.ra.deg, moved.dec.deg, sides, shift)
    for name, factor in NOISE.items():
        if not (work / name).exists():
            add_noise(open_store(work / "box"), work / name, factor, seed)


def add_noise(store: CutoutStore, out: Path, factor: float, seed: int) -> None:
    """Copy a store with noise as wide as the beam, of `factor` times the rms, added to every cutout."""
    from scipy.ndimage import gaussian_filter

    schema = store_schema(pa.schema([("original", pa.string()), ("shift_px", pa.float64())]))
    names = ("cutout_id", "mosaic", "ra_deg", "dec_deg", "x", "y", "pixel_scale_arcsec", "unit")

    def noisy(_: int) -> Iterator[pa.RecordBatch]:
        rng = np.random.default_rng(seed + 1)

        def cutouts() -> Iterator[Cutout]:
            for row, entry in enumerate(store.table.to_pylist()):
                pixels = store.pixels(row)
                noise = gaussian_filter(rng.normal(size=pixels.shape), FWHM_PX / 2.355)
                noise *= factor * entry["rms"] / noise.std()
                extra = {name: entry[name] for name in ("original", "shift_px")}
                base = {name: entry[name] for name in names}
                yield Cutout(pixels=(pixels + noise).astype(np.float32), beam=None, extra=extra, **base)

        yield from cutout_batches(cutouts(), schema)

    write_store(out, [0], noisy, schema, {"command": "benchmark"})


def features_of(weights: Path, work: Path, name: str) -> FeatureTable:
    """The features of a store, kept in `work` under the name of the weights' run."""
    file = work / f"{name}.{weights.resolve().parent.name}.parquet"
    if not file.exists():
        embed(weights, work / name).write(file)
    return FeatureTable.read(file)


# Measures -------------------------------------------------------------------------------------------------------------


def true_pairs(table: FeatureTable, radius_arcsec: float = TRUE_ARCSEC) -> Pairs:
    """Pairs of rows with centres within a radius."""
    ra, dec = table.column("ra_deg"), table.column("dec_deg")
    close = match_sky(ra, dec, ra, dec, radius_arcsec)
    return {(a, b) for a, b in zip(close.a.tolist(), close.b.tolist(), strict=True) if a < b}


def score(found: Pairs, truth: Pairs, shifts: NDArray[np.float64]) -> dict[str, float]:
    """Precision, recall, and recall in bins of the shift; a pair's shift is that of its shifted cutout."""
    both = found & truth
    result = {
        "pairs": len(found),
        "precision": len(both) / len(found) if found else float("nan"),
        "recall": len(both) / len(truth),
    }
    for low, high in pairwise(BINS):
        inside = {pair for pair in truth if low < max(shifts[list(pair)]) <= high}
        result[f"recall_{low:g}_to_{high:g}_px"] = len(both & inside) / len(inside) if inside else float("nan")
    return result


def best_limit(values: NDArray[np.float64], rows: NDArray[np.int64], truth: Pairs) -> float:
    """The upper limit of `values` with the highest F1."""
    order = np.argsort(values, kind="stable")
    right = np.array([tuple(row) in truth for row in rows[order].tolist()])
    hits = np.cumsum(right)
    f1 = 2 * hits / (np.arange(1, len(right) + 1) + len(truth))
    return float(values[order][np.argmax(f1)])


def as_pairs(rows: NDArray[np.int64]) -> Pairs:
    """Rows (n, 2) as a set."""
    return {(a, b) for a, b in rows.tolist()}


def small_images(store: CutoutStore) -> NDArray[np.float32]:
    """Central pixels averaged to 40 x 40, above the median, as fractions of the peak: the raw-pixel baseline."""
    side = int(store.shapes.min()) // 40 * 40
    images = np.empty((len(store), 1600), dtype=np.float32)
    for row in range(len(store)):
        pixels = store.pixels(row)
        top, left = ((length - side) // 2 for length in pixels.shape)
        centre = np.nan_to_num(pixels[top : top + side, left : left + side] - np.nanmedian(pixels))
        images[row] = centre.reshape(40, side // 40, 40, side // 40).mean(axis=(1, 3)).ravel()
    return images


def exact_pairs(store: CutoutStore) -> Pairs:
    """Pairs with equal pixels."""
    seen: dict[bytes, list[int]] = {}
    for row in range(len(store)):
        seen.setdefault(pixel_hash(store.pixels(row)), []).append(row)
    return {(a, b) for rows in seen.values() for a in rows for b in rows if a < b}


def measure(table: FeatureTable, store: CutoutStore, seed: int) -> dict[str, dict[str, float]]:
    """Scores by method on one half of the sky, with limits from the other."""
    fields = groups_by_position(table.column("ra_deg"), table.column("dec_deg"), 600.0)
    reported = np.random.default_rng(seed).permutation(fields.max() + 1)[fields] % 2 == 0
    halves = [np.flatnonzero(~reported), np.flatnonzero(reported)]
    (other, _), (half, pixels) = ((table.select(rows), store.select(rows)) for rows in halves)
    truth, shifts = true_pairs(half), half.column("shift_px")
    results = {}

    limits = {}
    for name, source in (("features", lambda rows: table.features[rows]), ("raw pixels", small_images(store).take)):
        parts = [table.features[rows] if name == "features" else source(rows, axis=0) for rows in halves]
        rows, ratios = mutual_neighbours(parts[0])
        limits[name] = best_limit(ratios, rows, true_pairs(other))
        limits[f"{name} cosine"] = best_limit(-cosine_of_pairs(parts[0], rows), rows, true_pairs(other))
        rows, ratios = mutual_neighbours(parts[1])
        cosines = cosine_of_pairs(parts[1], rows)
        results[f"{name}, best ratio"] = score(as_pairs(rows[ratios <= limits[name]]), truth, shifts)
        chosen = rows[-cosines <= limits[f"{name} cosine"]]
        results[f"{name}, best cosine"] = score(as_pairs(chosen), truth, shifts)
        results[f"{name}, all mutual neighbours"] = score(as_pairs(rows), truth, shifts)
    results["equal pixels"] = score(exact_pairs(pixels), truth, shifts)
    near = same_pictures(pixels, pixels)
    results["near pixels (store crossmatch)"] = score(as_pairs(near[near[:, 0] < near[:, 1]]), truth, shifts)

    alone = find_duplicates(half, None, positions=False).pairs
    results["features, default"] = score(_verdicts(alone), truth, shifts)
    found = find_duplicates(half, pixels, positions=False).pairs
    neighbours = found[found["neighbour_ratio"].notna()]
    results["features + pixels"] = score(_verdicts(neighbours), truth, shifts)
    results["features, spectra + pixels"] = score(_verdicts(found), truth, shifts)
    for radius in (10.0, 30.0, 60.0):
        results[f"positions within {radius:g} arcsec"] = score(true_pairs(half, radius), truth, shifts)
    everything = _verdicts(found) | true_pairs(half, 10.0)
    results["features, spectra + pixels + positions"] = score(everything, truth, shifts)
    results["chosen limits"] = {**limits, "true_pairs": len(truth), "cutouts": len(half)}
    return results


def _verdicts(pairs: Any) -> Pairs:
    return as_pairs(pairs.loc[pairs["duplicate"], ["row_a", "row_b"]].to_numpy())


def main() -> None:
    """Print a table for every setting, and write them as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tiles", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--catalogue", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where stores and features are kept")
    parser.add_argument("--pixel-scale", type=float, default=1.8, help="of the tiles, in arcsec")
    parser.add_argument("--setting", choices=SETTINGS, action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    make_stores(options.tiles, read_catalogue(options.catalogue), options.work, options.pixel_scale, options.seed)
    everything = {}
    for setting in options.setting or SETTINGS:
        parts = [features_of(options.weights, options.work, name) for name in ("orig", setting)]
        columns = pa.concat_tables([part.columns for part in parts], promote_options="permissive")
        table = FeatureTable(columns, np.concatenate([part.features for part in parts]))
        store = open_store(options.work / "orig", options.work / setting)
        everything[setting] = results = measure(table, store, options.seed)
        print(f"\n{setting}: {results['chosen limits']}")
        for name, values in results.items():
            if name != "chosen limits":
                print(f"{name:42s}" + "  ".join(f"{value:7.3f}" for value in values.values()), flush=True)
        if options.json:
            options.json.write_text(json.dumps(everything, indent=2))


if __name__ == "__main__":
    main()
