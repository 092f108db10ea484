"""Writing a simulated survey: FITS mosaics and the catalogue of what is in them."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file, read_json, write_json
from radiossl.io.progress import track
from radiossl.survey.simulation.sky import add_background, add_labelled_sources
from radiossl.survey.simulation.spec import MOST_TILES, SurveySpec
from radiossl.survey.simulation.telescope import draw_pointings, observed_area, sidelobes, unit_noise

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.table import Table
    from astropy.wcs import WCS

FREQUENCY_HZ = 1.4e9


def simulate_survey(out: str | Path, spec: SurveySpec | None = None) -> list[Path]:
    """Write the mosaics `tile_000.fits`, ... and the catalogue `truth.csv` into a folder.

    Run again after an interruption, it keeps the mosaics that are there and makes the rest.

    Parameters
    ----------
    out
        Folder; made if missing.
    spec
        What to simulate; by default four mosaics like those of VLA FIRST.

    Returns
    -------
    list of Path
        The mosaics (float32, Jy/beam). Those with an even number have frequency and Stokes axes of length one.

    Raises
    ------
    RadiosslError
        If the folder holds anything but this very survey.

    See Also
    --------
    radiossl.survey.sources.cut_sources : Cut boxes around the sources of `truth.csv`.

    Examples
    --------
    >>> from radiossl.survey.simulation import SurveySpec, simulate_survey
    >>> [path.name for path in simulate_survey(folder / "survey", SurveySpec(tiles=1, size=256, sources=20))]
    ['tile_000.fits']
    """
    from astropy.io import fits
    from astropy.table import vstack

    out, spec = Path(out), spec or SurveySpec()
    _claim(out, spec)
    truth = out / "truth.csv"
    paths = [out / f"tile_{index:03d}.fits" for index in range(spec.tiles)]
    tables = []
    for index, path in track(list(enumerate(paths)), "Simulating mosaics"):
        if path.exists() and truth.exists():
            continue
        image, wcs, table = simulate_tile(spec, index)
        if not path.exists():
            header = _header(spec, wcs, index)
            data = image.reshape((1,) * (header["WCSAXES"] - 2) + image.shape)
            with atomic_file(path) as temporary:
                fits.PrimaryHDU(data, header).writeto(temporary, overwrite=True)
        tables.append(table)
    if not truth.exists():
        with atomic_file(truth) as temporary:
            vstack(tables).write(temporary, format="ascii.csv", overwrite=True)
    return paths


def simulate_tile(spec: SurveySpec, index: int) -> tuple[NDArray[np.float32], WCS, Table]:
    """Simulate one mosaic; the answer depends on the specification and the index, from 0, only.

    Returned are the image in Jy/beam, shape (size, size), NaN where the sky was not observed, its coordinates (SIN
    projection), and a table with one row per labelled source: `x` and `y` are pixels (0-based, integers at pixel
    centres) of the flux centroid, `extent_arcsec` the largest angular size at three times the local noise less the
    wings of the beam, `peak_jybeam` the brightest pixel without noise, `snr` the same over the local noise, `pa_deg`
    the direction of the largest extent, north through east. Everything else in the image is fainter than
    `SNR_RANGE[0]`.
    """
    rng = np.random.default_rng([spec.seed, index])
    rms, clearance = observed_area(rng, spec)
    sky = np.zeros((spec.size, spec.size))
    rows = add_labelled_sources(sky, rng, spec, rms, clearance)
    add_background(sky, rng, spec)
    pointings = draw_pointings(rng, spec)
    image = sky + sidelobes(sky, spec, pointings) + rms * unit_noise(rng, spec, pointings)
    image[clearance == 0] = np.nan
    wcs = _tile_wcs(spec, index)
    return image.astype(np.float32), wcs, _truth_table(rows, wcs, spec.seed, index)


def _claim(out: Path, spec: SurveySpec) -> None:
    """Make the folder this survey's by writing its specification there, or check that it is."""
    record = out / "survey.json"
    if not record.exists():
        if out.exists() and not out.is_dir():
            raise RadiosslError(f"{out}: is a file, a folder was expected")
        # Hidden files are what an interrupted write may leave.
        if out.exists() and any(not path.name.startswith(".") for path in out.iterdir()):
            raise RadiosslError(f"{out}: holds other files; choose a new or empty folder")
        write_json(record, asdict(spec))
    elif read_json(record) != asdict(spec):
        raise RadiosslError(f"{out}: holds a survey made with other settings (see {record}); choose another folder")


def _tile_wcs(spec: SurveySpec, index: int) -> WCS:
    """Coordinates of a tile; the centres follow a low-discrepancy sequence, which keeps tiles far apart."""
    from astropy.wcs import WCS

    index += MOST_TILES * spec.seed  # surveys of other seeds are elsewhere on the sky: they share no source
    wcs = WCS(naxis=2)
    dec = math.degrees(math.asin(0.1 + 0.8 * ((0.5 + 0.5698402910 * index) % 1)))
    wcs.wcs.ctype, wcs.wcs.cunit = ["RA---SIN", "DEC--SIN"], ["deg", "deg"]
    wcs.wcs.crval = [(165.0 + 360 * 0.7548776662 * index) % 360, dec]
    wcs.wcs.crpix = [(spec.size + 1) / 2] * 2
    wcs.wcs.cdelt = [-spec.pixel_scale_arcsec / 3600, spec.pixel_scale_arcsec / 3600]
    wcs.wcs.radesys, wcs.wcs.equinox = "FK5", 2000.0
    wcs.wcs.set()
    return wcs


def _header(spec: SurveySpec, wcs: WCS, index: int) -> Header:
    header = wcs.to_header()
    if index % 2 == 0:
        header["WCSAXES"] = 4
        for axis, *values in ((3, "FREQ", FREQUENCY_HZ, 1e8, 1.0, "Hz"), (4, "STOKES", 1.0, 1.0, 1.0, "")):
            for keyword, value in zip(("CTYPE", "CRVAL", "CDELT", "CRPIX", "CUNIT"), values, strict=True):
                header[f"{keyword}{axis}"] = value
    header["BUNIT"] = "JY/BEAM"
    header["BMAJ"], header["BMIN"] = spec.beam_major_arcsec / 3600, spec.beam_minor_arcsec / 3600
    header["BPA"] = spec.beam_pa_deg
    header["RESTFRQ"] = FREQUENCY_HZ
    header["OBJECT"] = f"tile_{index:03d}"
    header["TELESCOP"] = "SIMULATED"
    return header


def _truth_table(rows: list[dict[str, Any]], wcs: WCS, seed: int, index: int) -> Table:
    from astropy.table import Table

    table = Table(rows)
    ra, dec = wcs.wcs_pix2world(table["x"], table["y"], 0)
    ids = [f"sim{seed}_{index:03d}_{n:05d}" for n in range(len(table))]
    new = {"source_id": ids, "tile": [f"tile_{index:03d}.fits"] * len(table), "ra_deg": ra, "dec_deg": dec}
    table.add_columns(list(new.values()), [0] * len(new), list(new))
    formats = {"ra_deg": ".7f", "dec_deg": ".7f", "x": ".3f", "y": ".3f", "extent_arcsec": ".2f", "flux_jy": ".6g"}
    for name, digits in (formats | {"peak_jybeam": ".6g", "snr": ".2f", "pa_deg": ".2f"}).items():
        table[name].format = digits
    return table
