"""Extents measured around given positions beside known ones: rank correlation, and how many are within 1.5 times.

    python benchmarks/extents.py DATA [--json FILE]

DATA holds `first/` (FIRST tiles and the catalogue of their sources, whose sizes are separations of outermost
components) and `scorpio/`. The SCORPIO field has no catalogue: there the islands that `find_islands` finds are
the catalogue, their extents less the width that a point source as bright has; those are compared that are more than 8
and 15 times above the noise.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from measuring import write_rows
from radiossl.survey.catalogue import Catalogue, read_catalogue
from radiossl.survey.cutting import Mosaics
from radiossl.survey.extents import measure_extents
from radiossl.survey.finding import find_mosaics
from radiossl.survey.islands import find_islands
from radiossl.survey.mosaic import Mosaic
from radiossl.survey.placement import locate_sources

_THRESHOLD, _CLEAR = 5.0, (8.0, 15.0)


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


def islands(folder: Path) -> tuple[Catalogue, NDArray[np.float64]]:
    """Find islands in a mosaic; return them with their extents beyond those of point sources, and their S/N."""
    found = find_islands(Mosaics.find([folder]), _THRESHOLD).catalogue
    snr = found.columns.column("snr").to_numpy()
    with Mosaic.open(find_mosaics([folder])[0]) as mosaic:
        beam = 0.0 if mosaic.beam is None else mosaic.beam.major_arcsec
    assert found.extent_arcsec is not None
    extent = np.maximum(found.extent_arcsec - beam * np.sqrt(np.log2(snr / _THRESHOLD)), 0.5 * beam)
    return replace(found, extent_arcsec=extent), snr


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    first = read_catalogue(options.data / "first" / "catalogue.csv", id="name")
    scorpio, snr = islands(options.data / "scorpio")
    measured, known = measure(options.data / "first" / "tiles", first), first.extent_arcsec
    assert known is not None
    rows.append(compare("FIRST", measured, known))
    rows += [compare(f"FIRST, half {part + 1}", measured[part::2], known[part::2]) for part in (0, 1)]
    measured, known = measure(options.data / "scorpio", scorpio), scorpio.extent_arcsec
    assert known is not None
    rows += [compare(f"SCORPIO, above {least:g}", measured[snr > least], known[snr > least]) for least in _CLEAR]
    for row in rows:
        print(
            f"{row.name}: {row.sources} sources, rank correlation {row.rank_correlation:.3f}, "
            f"within a factor 1.5 {row.within_1_5:.3f}, median ratio {row.median_ratio:.2f}"
        )
    if options.json:
        write_rows(options.json, rows)


if __name__ == "__main__":
    main()
