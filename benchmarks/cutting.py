"""Cutouts of 10,000 sources on one mosaic: how fast beside astropy's Cutout2D for each source, and in how much memory.

    python benchmarks/cutting.py [--side 8192] [--sources 10000] [--box 64] [--repeats 3] [--json FILE]

Two mosaics of simulated noise, plain and tile-compressed. Their pixels alone are read as Cutout2D does; then a whole
store is made, statistics of every cutout included, of which Cutout2D does nothing. The peak memory is that of a process
that makes the store.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from measuring import Ratio, in_child, measure, print_ratios, write_rows
from radiossl.survey.mosaic import Box, Mosaic
from radiossl.survey.sources import cut_sources

PIXEL_DEG = 1.5 / 3600
#: Sources cut one by one for the baseline: its time per source does not depend on how many there are.
BASELINE_SOURCES = 1000


@dataclass(frozen=True)
class Memory:
    """What a process took that made a store of one mosaic."""

    name: str
    seconds: float
    peak_gb: float


def write_mosaics(folder: Path, side: int) -> dict[str, Path]:
    """Write one image of noise twice."""
    from astropy.io import fits

    header = fits.Header()
    header.update(CTYPE1="RA---SIN", CTYPE2="DEC--SIN", CRVAL1=180.0, CRVAL2=-30.0, CRPIX1=side / 2, CRPIX2=side / 2)
    header.update(CDELT1=-PIXEL_DEG, CDELT2=PIXEL_DEG, BUNIT="Jy/beam", BMAJ=6 / 3600, BMIN=6 / 3600, BPA=0.0)
    rng = np.random.default_rng(0)
    image = rng.standard_normal((side, side), dtype=np.float32) * np.float32(2e-5)
    paths = {"plain": folder / "plain.fits", "tile-compressed": folder / "compressed.fits.fz"}
    fits.PrimaryHDU(image, header).writeto(paths["plain"])
    fits.CompImageHDU(image, header, compression_type="RICE_1").writeto(paths["tile-compressed"])
    return paths


def write_catalogue(path: Path, mosaic: Path, count: int, margin: int) -> tuple[NDArray[np.float64], ...]:
    """Write sources at random places; return their right ascension and declination."""
    with Mosaic.open(mosaic) as opened:
        x, y = np.random.default_rng(1).uniform(margin, opened.shape[0] - margin, (2, count))
        ra, dec = opened.pixel_to_sky(x, y)
    rows = "".join(f"s{i},{a:.9f},{d:.9f}\n" for i, (a, d) in enumerate(zip(ra, dec, strict=True)))
    path.write_text("name,ra,dec\n" + rows)
    return ra, dec


def with_cutout2d(path: Path, ra: NDArray[np.float64], dec: NDArray[np.float64], box: int) -> None:
    """Cut one source after the other."""
    from astropy.coordinates import SkyCoord
    from astropy.io import fits
    from astropy.nddata import Cutout2D
    from astropy.wcs import WCS

    with fits.open(path, memmap=True) as hdus:
        image = next(hdu for hdu in hdus if hdu.is_image and hdu.header["NAXIS"] == 2)
        wcs, pixels = WCS(image.header), image.data
        for position in SkyCoord(ra, dec, unit="deg"):
            Cutout2D(pixels, position, box, wcs=wcs, mode="partial", fill_value=np.nan, copy=True)


def pixels_alone(path: Path, ra: NDArray[np.float64], dec: NDArray[np.float64], box: int) -> None:
    """Read the boxes of all sources."""
    with Mosaic.open(path) as mosaic:
        corners = np.floor(np.stack(mosaic.sky_to_pixel(ra, dec)) - (box - 1) / 2 + 0.5).astype(int)
        order = np.argsort(corners[1])
        for _ in mosaic.read_boxes([Box(int(x), int(y), box, box) for x, y in corners[:, order].T]):
            pass


def whole_store(path: Path, catalogue: Path, box: int, out: Path) -> None:
    """Make a store, anew each time."""
    shutil.rmtree(out, ignore_errors=True)
    cut_sources([path], catalogue, out, size=box)


def bench_cutting(
    repeats: int, side: int = 8192, sources: int = 10_000, box: int = 64
) -> tuple[list[Ratio], list[Memory]]:
    """All rows for the two mosaics."""
    ratios, memory = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for kind, path in write_mosaics(folder, side).items():
            catalogue = folder / "catalogue.csv"
            ra, dec = write_catalogue(catalogue, path, sources, box)
            # Decompressing is paid once for the whole image, so there the baseline cuts them all.
            some = BASELINE_SOURCES if kind == "plain" else sources
            for what, ours in (
                ("pixels", partial(pixels_alone, path, ra, dec, box)),
                ("store with statistics", partial(whole_store, path, catalogue, box, folder / "store")),
            ):
                row = measure(
                    f"{sources} cutouts of {box} px, {kind}, {what}, against Cutout2D",
                    baseline=partial(with_cutout2d, path, ra[:some], dec[:some], box),
                    ours=ours,
                    images=sources,
                    baseline_images=some,
                    repeats=repeats if kind == "plain" else 1,
                    goal=20 if kind == "plain" else 15,
                )
                ratios.append(row)
            run = in_child(whole_store, path, catalogue, box, folder / "store")
            memory.append(Memory(f"{sources} cutouts of a mosaic of {side} px, {kind}", run.seconds, run.peak_gb))
    return ratios, memory


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    ratios, memory = bench_cutting(options.repeats, options.side, options.sources, options.box)
    print_ratios(ratios)
    for row in memory:
        print(f"{row.name}: {row.seconds:.1f} s, peak memory {row.peak_gb:.2f} GB")
    if options.json:
        write_rows(options.json, [*ratios, *memory])


if __name__ == "__main__":
    main()
