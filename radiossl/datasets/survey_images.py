"""Cutouts of public surveys around the sources of a catalogue, from services that cut: hips2fits, SIA and SODA."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import numpy as np

import radiossl
from radiossl.datasets.download import SCHEMES
from radiossl.datasets.image_files import FolderOptions, ImageFiles
from radiossl.datasets.image_sources import write_images
from radiossl.datasets.transfer import is_passing
from radiossl.io.cache import cache_folder
from radiossl.io.errors import RadiosslError, check_number
from radiossl.io.extras import require
from radiossl.io.files import atomic_file
from radiossl.io.progress import track
from radiossl.store.store import CutoutStore
from radiossl.survey.catalogue import Catalogue, read_catalogue
from radiossl.survey.cutting import write_rows
from radiossl.survey.image_file import read_image

NOT_FETCHED = "not_fetched.csv"
_HIPS2FITS = "https://alasky.cds.unistra.fr/hips-image-services/hips2fits"
_WAIT_S, _TIMEOUT_S, _TRIES = 0.5, 60, 5
_MOST_BYTES = 2**28
#: Surveys grow: that there is no image of a place is asked again after a week.
_NOTHING_S = 7 * 86400


@dataclass(frozen=True)
class Survey:
    """Where a survey's images are and what they are."""

    #: Identifier of its HiPS, for hips2fits; empty for `sia`.
    hips: str = ""
    #: Address of its Simple Image Access service, version 2 where `collection` is given, else 1.
    sia: str = ""
    #: Its name in that service.
    collection: str = ""
    #: Of its images, where they do not say so themselves.
    beam_arcsec: float = np.nan
    pixel_scale_arcsec: float = 1.8
    unit: str = "Jy/beam"


#: Beams and pixels as the surveys' papers give them: Becker et al. 1995, Condon et al. 1998, Lacy et al. 2020,
#: McConnell et al. 2020, Shimwell et al. 2022, Norris et al. 2021.
SURVEYS = {
    "first": Survey(sia="https://skyview.gsfc.nasa.gov/cgi-bin/vo/sia.pl?survey=first&", beam_arcsec=5.4),
    "nvss": Survey(hips="CDS/P/NVSS", beam_arcsec=45.0, pixel_scale_arcsec=15.0),
    "vlass": Survey("", "https://ws.cadc-ccda.hia-iha.nrc-cnrc.gc.ca/argus/v2query", "VLASS", 2.5, 1.0),
    "racs": Survey(hips="CSIRO/P/RACS/low/I", beam_arcsec=25.0, pixel_scale_arcsec=2.5),
    "lotss": Survey(hips="astron.nl/P/lotss_dr2_high", beam_arcsec=6.0, pixel_scale_arcsec=1.5),
    "emu": Survey("", "https://casda.csiro.au/casda_vo_tools/sia2/query", "EMU", 15.0, 2.0),
}


@dataclass
class _Server:
    """Asks politely: not too often, again after passing trouble, and never twice for the same."""

    cache: Path
    wait_s: float = _WAIT_S
    _last: float = field(default=-np.inf)

    def fetch(self, key: str, ask: Callable[[], bytes | None]) -> Path | None:
        """Return the file of a key, from the cache or the service; None where the service has nothing."""
        file = self.cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.fits"
        nothing = file.with_suffix(".none")
        empty = nothing.is_file() and time.time() - nothing.stat().st_mtime < _NOTHING_S
        if not (file.is_file() or empty):
            content = self.patiently(ask)
            self.cache.mkdir(parents=True, exist_ok=True)
            with atomic_file(nothing if content is None else file) as temporary:
                temporary.write_bytes(content or b"")
        return file if file.is_file() else None

    def patiently(self, ask: Callable[[], bytes | None]) -> bytes | None:
        """Ask, and again after trouble that passes, each time after a longer wait."""
        for attempt in range(_TRIES):
            time.sleep(max(0.0, self._last + self.wait_s - time.monotonic()))
            self._last = time.monotonic()
            try:
                return ask()
            except HTTPError as error:
                if not is_passing(error):
                    raise RadiosslError(f"{error.url}: the server refuses ({error.code} {error.reason})") from None
                trouble, named = f"{error.code} {error.reason}", error.headers.get("Retry-After", "")
            except (URLError, HTTPException, OSError) as error:
                trouble, named = str(getattr(error, "reason", error)), ""
            if attempt < _TRIES - 1:
                time.sleep(min(float(named), 60.0) if named.isdigit() else self.wait_s * 2**attempt)
        goes_on = "what was downloaded is kept; run the same command again to continue"
        raise RadiosslError(f"the survey's server cannot be reached ({trouble}); {goes_on}")


def fetch_cutouts(
    catalogue: Catalogue | str | os.PathLike[str] | Any,
    survey: str | Survey,
    out: str | os.PathLike[str],
    *,
    size: int = 150,
    service: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    wait_s: float = _WAIT_S,
) -> CutoutStore:
    """Fetch a cutout of a public survey around every source of a catalogue, and write them as a cutout store.

    What has come is kept in the cache, so that the same call goes on after an interruption and asks for nothing twice,
    but after a week for images that were not there.
    Sources without an image are listed in the store's not_fetched.csv.

    Parameters
    ----------
    catalogue
        The sources: a `Catalogue`, or what `read_catalogue` reads.
    survey
        ``first``, ``nvss``, ``vlass``, ``racs``, ``lotss``, ``emu``; ``hips:`` and the identifier of any HiPS; or a
        `Survey`.
    out
        Folder of the new store.
    size
        Side of the cutouts in pixels of the survey.
    service
        Another address of the service, such as a mirror.
    cache
        Where files are kept; by default in RADIOSSL_CACHE, or ``~/.cache/radiossl``.
    wait_s
        Least seconds between two requests.

    Raises
    ------
    RadiosslError
        If the survey is unknown, the service refuses or cannot be reached, or no source has an image.

    See Also
    --------
    radiossl.cut_sources : from mosaics on disk.
    """
    check_number("--size", size, 8, whole=True)
    check_number("wait_s", wait_s, 0)
    sources = catalogue if isinstance(catalogue, Catalogue) else read_catalogue(catalogue)
    asked, chosen = (str(survey), _survey(survey)) if isinstance(survey, str) else (survey.hips or survey.sia, survey)
    server = _Server(Path(cache) / "surveys" if cache else cache_folder("surveys"), wait_s)
    columns = sources.columns.to_pylist() if sources.columns.num_columns else [{}] * len(sources)
    circular = ("beam_major_arcsec", "beam_minor_arcsec")
    beam = dict.fromkeys(circular, chosen.beam_arcsec) if np.isfinite(chosen.beam_arcsec) else {}
    found, missing = [], []
    places = zip(sources.ids.tolist(), sources.ra_deg.tolist(), sources.dec_deg.tolist(), columns, strict=True)
    for name, ra, dec, known in track(list(places), f"fetching {asked}"):
        path = None
        if placed := np.isfinite(ra + dec):
            key = f"{chosen} {service} {ra:.6f} {dec:.6f} {size}"
            path = server.fetch(key, partial(_image, chosen, service, ra, dec, size))
        if path is None or not np.isfinite(read_image(path)).any():
            missing.append((name, ra, dec, "no image" if placed else "no position"))
        else:
            found.append((path, f"{asked}/{name}", str(name), known | {"ra_deg": ra, "dec_deg": dec} | beam))
    if not found:
        raise RadiosslError(f"{sources.name}: {asked} has no image of any of its {len(sources)} sources")
    options = FolderOptions(pixel_scale_arcsec=chosen.pixel_scale_arcsec, unit=chosen.unit)
    paths, names, ids, rows = zip(*found, strict=True)
    files = ImageFiles(paths, names, ids, rows, sources.columns.schema, options)

    def beside(folder: Path, _: list[str]) -> None:
        write_rows(folder / NOT_FETCHED, ("id", "ra_deg", "dec_deg", "reason"), missing)

    return write_images(files, Path(out), beside)


def _survey(name: str) -> Survey:
    if name.startswith("hips:"):
        return Survey(hips=name.removeprefix("hips:"), unit="")
    if name not in SURVEYS:
        raise RadiosslError(f"--survey {name}: expected one of {', '.join(SURVEYS)}, or hips:ID")
    return SURVEYS[name]


def _image(survey: Survey, service: str | None, ra: float, dec: float, size: int) -> bytes | None:
    """Ask the service for a cutout as FITS; None where it has none."""
    side_deg = size * survey.pixel_scale_arcsec / 3600
    if survey.hips:
        asked = {"hips": survey.hips, "ra": ra, "dec": dec, "fov": side_deg, "width": size, "height": size}
        asked |= {"projection": "TAN", "coordsys": "icrs", "format": "fits"}
        return _content(f"{service or _HIPS2FITS}?{urlencode(asked)}")
    require("pyvo")
    from astropy.units import deg
    from pyvo.dal import SIA2Service, SIAService
    from pyvo.dal.exceptions import DALServiceError

    circle = (ra * deg, dec * deg, side_deg / 2 * deg)
    try:
        if not survey.collection:
            found = SIAService(service or survey.sia).search(pos=(ra, dec), size=side_deg, format="image/fits")
            return _content(str(found[0].getdataurl())) if len(found) else None
        found = SIA2Service(service or survey.sia, check_baseurl=False).search(pos=circle, collection=survey.collection)
        return _fits(found[0].processed(circle=circle).read(_MOST_BYTES + 1)) if len(found) else None  # SODA
    except DALServiceError as error:
        raise URLError(str(error)) from None


def _content(url: str) -> bytes | None:
    if urlsplit(url).scheme not in SCHEMES:  # `urlopen` would read this machine's files, too
        raise RadiosslError(f"{url}: the survey's server names an address that is not on the web")
    request = Request(url, headers={"User-Agent": f"radiossl/{radiossl.__version__}"})
    try:
        with urlopen(request, timeout=_TIMEOUT_S) as answer:
            return _fits(answer.read(_MOST_BYTES + 1))
    except HTTPError as error:
        if error.code == 404:
            return None
        raise


def _fits(content: bytes) -> bytes | None:
    """Return what came if it is a FITS file; services without an image answer with a page or with nothing."""
    if len(content) > _MOST_BYTES:
        raise RadiosslError(f"the survey's server sent more than {_MOST_BYTES / 1e6:.0f} MB, which is not a cutout")
    return content if content.startswith(b"SIMPLE") else None
