"""Extents measured around given positions beside known ones: rank correlation, and how many are within 1.5 times.

    python benchmarks/extents.py DATA [--json FILE]

DATA holds `first/` (FIRST tiles and the catalogue of their sources, whose sizes are separations of outermost
components) and `scorpio/`. The SCORPIO field has no catalogue: there the islands that `detect_catalogue` finds more
than 15 times above the noise are taken, their extents less the width that a point source as bright has.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from measuring import write_rows
from radiossl.survey.catalogue import Catalogue, read_catalogue
from radiossl.survey.cutting import Mosaics
from radiossl.survey.extents import measure_extents
from radiossl.survey.finding import find_mosaics
from radiossl.survey.islands import detect_catalogue
from radiossl.survey.mosaic import Mosaic
from radiossl.survey.placement import locate_sources

_THRESHOLD, _CLEAR = 5.0, 15.0


@dataclass(frozen=True)
class Agreement:
    """How well measured extents agree with a catalogue's."""

    name: str
    sources: int
    rank_correlation: float
    within_1_5: float
    median_ratio: float


def compare(name: str, measured: NDArray[np.float64], catalogued: NDArray[np.float64]) -> Agreement:
    """Compare extents; a source without a measured one counts as a miss."""
    from scipy.stats import spearmanr

    ratio = measured / catalogued
    known = np.isfinite(ratio)
    within = np.maximum(ratio[known], 1 / ratio[known]) <= 1.5
    rank = float(spearmanr(measured[known], catalogued[known])[0])
    return Agreement(name, len(ratio), rank, within.sum() / len(ratio), float(np.median(ratio[known])))


def measure(mosaic_folder: Path, catalogue: Catalogue) -> NDArray[np.float64]:
    """Measure all sources of a catalogue."""
    mosaics = Mosaics.find([mosaic_folder])
    wanted = np.flatnonzero(np.isfinite(catalogue.ra_deg))
    return measure_extents(locate_sources(catalogue, wanted, mosaics), mosaics, len(catalogue))


def islands(folder: Path) -> Catalogue:
    """Find clear islands in a mosaic, with their extents beyond those of point sources."""
    found = detect_catalogue([folder], _THRESHOLD)
    snr = found.columns.column("snr").to_numpy()
    with Mosaic.open(find_mosaics([folder])[0]) as mosaic:
        beam = 0.0 if mosaic.beam is None else mosaic.beam.major_arcsec
    assert found.extent_arcsec is not None
    extent = np.maximum(found.extent_arcsec - beam * np.sqrt(np.log2(snr / _THRESHOLD)), 0.5 * beam)
    clear = np.flatnonzero(snr > _CLEAR)
    columns = found.columns.take(clear)
    return Catalogue(found.name, found.ids[clear], found.ra_deg[clear], found.dec_deg[clear], extent[clear], columns)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    first = read_catalogue(options.data / "first" / "catalogue.csv", id="name")
    scorpio = islands(options.data / "scorpio")
    rows = []
    for name, folder, catalogue in (("FIRST", "first/tiles", first), ("SCORPIO", "scorpio", scorpio)):
        assert catalogue.extent_arcsec is not None
        measured = measure(options.data / folder, catalogue)
        rows.append(compare(name, measured, catalogue.extent_arcsec))
        for part in (0, 1):
            half = np.arange(len(catalogue)) % 2 == part
            rows.append(compare(f"{name}, half {part + 1}", measured[half], catalogue.extent_arcsec[half]))
    for row in rows:
        print(
            f"{row.name}: {row.sources} sources, rank correlation {row.rank_correlation:.3f}, "
            f"within a factor 1.5 {row.within_1_5:.3f}, median ratio {row.median_ratio:.2f}"
        )
    if options.json:
        write_rows(options.json, rows)


if __name__ == "__main__":
    main()
