"""The result folder of a search for sources: measured catalogue, regions, label images and pictures."""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from radiossl.detection.merging import islands
from radiossl.detection.network import Detector
from radiossl.detection.objects import Detection
from radiossl.evaluation.confidence import prediction_sets, set_texts
from radiossl.features.exporting import write_astropy
from radiossl.io.csv_cells import write_table
from radiossl.io.errors import counted
from radiossl.io.files import PathLike, atomic_file
from radiossl.io.results import writes_result_folder
from radiossl.report.figures import FONT, GREEN, ORANGE, PURPLE, drawn_axes
from radiossl.report.html import Report
from radiossl.report.sheets import Picture, as_rgb
from radiossl.report.sky_links import write_outline_regions
from radiossl.sky.positions import match_sky
from radiossl.store.statistics import PixelStatistics
from radiossl.survey.catalogue import position_ids, unique_ids
from radiossl.survey.finding import mosaic_stem
from radiossl.survey.islands import extents_arcsec
from radiossl.survey.mosaic import Box, Mosaic

#: Local background and noise are measured around an object, out to half its size and at least this far.
_LEAST_MARGIN_PX = 15
#: Fewer pixels give no background or noise.
_LEAST_PIXELS = 50
_JANSKY = re.compile(r"(?P<prefix>[mun]?)Jy/(?P<per>beam|pixel)")
_PREFIXES = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

#: Units of the columns in the FITS catalogue.
UNITS = {"ra_deg": "deg", "dec_deg": "deg", "extent_arcsec": "arcsec", "flux_jy": "Jy", "flux_error_jy": "Jy"}


def label_image(found: Sequence[Detection], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Return an image of the objects' numbers, from 1 on, 0 elsewhere; shared pixels belong to the first object."""
    labels = np.zeros(shape, dtype=np.int32)
    for number in range(len(found), 0, -1):
        item = found[number - 1]
        x0, y0, width, height = item.extent
        labels[y0 : y0 + height, x0 : x0 + width][item.mask] = number
    return labels


def beam_area_px(mosaic: Mosaic) -> float:
    """Return the solid angle of the beam, a Gaussian, in pixels; NaN if the header has none."""
    if mosaic.beam is None:
        return math.nan
    area_arcsec2 = math.pi * mosaic.beam.major_arcsec * mosaic.beam.minor_arcsec / (4 * math.log(2))
    return area_arcsec2 / mosaic.pixel_scale_arcsec**2


def measure(found: Sequence[Detection], mosaic: Mosaic, labels: NDArray[np.int32]) -> pd.DataFrame:
    """Measure the objects of an open mosaic, a row each; `labels` is their `label_image`.

    - ``ra_deg``, ``dec_deg`` (ICRS), ``x``, ``y`` (0-based): centroid of the brightness above the background, to which
      pixels of other objects do not belong;
    - ``class``, ``score`` (of the class), ``source_score`` (of any class of sources), ``islands``;
    - ``x_min``, ``y_min``, ``x_max``, ``y_max``: first and last column and row; ``area_px``; ``extent_arcsec``: largest
      extent in any direction;
    - ``peak``, ``background``, ``rms`` in the mosaic's unit; ``snr``: peak above the background in rms;
    - ``flux_jy``, ``flux_error_jy``: sum above the background over the beam's area, and rms times the square root of
      the number of beams in it; NaN unless the mosaic is in jansky per beam, with a beam, or per pixel;
    - ``at_edge``: touches the mosaic's edge; ``near_blank``: has or touches a blank pixel; ``cut``: seen in no tile as
      a whole; ``merged``: merged from several;
    - ``mosaic``, ``label`` (number in the label image).
    """
    order = sorted(range(len(found)), key=lambda number: found[number].y0)
    boxes = [_around(found[number]) for number in order]
    rows: list[dict[str, Any]] = [{}] * len(found)
    for number, box, pixels in zip(order, boxes, mosaic.read_boxes(boxes), strict=True):
        others = box.cut_out(labels, -1)  # beyond the mosaic
        rows[number] = {"label": number + 1} | _one(found[number], box, pixels, others, mosaic)
    frame = pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in ("ra_deg", "dec_deg")])
    ra_deg, dec_deg = mosaic.pixel_to_sky(frame["x"].to_numpy(float), frame["y"].to_numpy(float))
    return frame.assign(ra_deg=ra_deg, dec_deg=dec_deg)[list(COLUMNS)]


#: Columns of `measure` in their order.
COLUMNS = (
    *("ra_deg", "dec_deg", "class", "score", "source_score", "x", "y", "x_min", "y_min", "x_max", "y_max", "area_px"),
    *("islands", "extent_arcsec", "peak", "background", "rms", "snr", "flux_jy", "flux_error_jy"),
    *("at_edge", "near_blank", "cut", "merged", "mosaic", "label"),
)


def _around(item: Detection) -> Box:
    x0, y0, width, height = item.extent
    margin = max(_LEAST_MARGIN_PX, max(width, height) // 2)
    return Box(x0 - margin, y0 - margin, width + 2 * margin, height + 2 * margin)


def _one(
    item: Detection, box: Box, pixels: NDArray[np.float32], others: NDArray[np.int32], mosaic: Mosaic
) -> dict[str, Any]:
    own = item.within(box)
    known = np.isfinite(pixels)
    free = pixels[~own & (others == 0) & known]
    background, rms = 0.0, math.nan
    if free.size >= _LEAST_PIXELS:
        around = PixelStatistics.of(free)
        background, rms = around.background, around.rms
    rows, columns = np.nonzero(own & known)
    values = pixels[rows, columns].astype(np.float64) - background
    weights = np.maximum(values, 0)
    if rows.size == 0 or weights.sum() <= 0:  # only blank or dark pixels: the centre of the mask
        rows, columns = np.nonzero(own)
        weights = np.ones(rows.size)
    peak = float(values.max()) + background if values.size else math.nan
    x0, y0, width, height = item.extent
    centre = {"x": box.x0 + float(np.average(columns, weights=weights))}
    centre["y"] = box.y0 + float(np.average(rows, weights=weights))
    extent = extents_arcsec(mosaic, [x0 + width / 2], [y0 + height / 2], [np.nonzero(item.mask)])[0]
    return {
        **{"class": item.label, "score": item.score, "source_score": item.source_score},
        **centre,
        **{"x_min": x0, "y_min": y0, "x_max": x0 + width - 1, "y_max": y0 + height - 1},
        **{"area_px": item.area, "islands": islands(item.mask), "extent_arcsec": float(extent)},
        **{"peak": peak, "background": background, "rms": rms},
        "snr": (peak - background) / rms if rms > 0 else math.nan,
        **_flux(values, rms, mosaic),
        "at_edge": x0 == 0 or y0 == 0 or x0 + width == mosaic.shape[1] or y0 + height == mosaic.shape[0],
        "near_blank": bool((binary_dilation(own, np.ones((3, 3))) & ~known & (others >= 0)).any()),
        **{"cut": item.cut, "merged": item.merged, "mosaic": mosaic.path.name},
    }


def _flux(values: NDArray[np.float64], rms: float, mosaic: Mosaic) -> dict[str, float]:
    unit = _JANSKY.fullmatch(mosaic.unit)
    if unit is None:
        return {"flux_jy": math.nan, "flux_error_jy": math.nan}
    jansky = _PREFIXES[unit["prefix"]]
    beam = beam_area_px(mosaic) if unit["per"] == "beam" else 1.0
    # Noise is correlated within a beam, so that it adds up over beams, not over pixels.
    correlated = 1.0 if math.isnan(beam_area_px(mosaic)) else max(1.0, beam_area_px(mosaic))
    error = rms * math.sqrt(values.size * correlated) / beam
    return {"flux_jy": jansky * float(values.sum()) / beam, "flux_error_jy": jansky * error}


#: Longest side in pixels of the picture of a mosaic: larger ones are averaged.
_PICTURE_SIDE = 1400
_INCHES = 9.0
#: More numbers than this would hide the picture.
_MOST_NUMBERS = 60
#: Rows of the catalogue in the report.
_ROWS = 100
_SHOWN = (
    *("label", "source_id", "class", "source_score", "score", "ra_deg", "dec_deg", "extent_arcsec", "snr", "flux_jy"),
    "islands",
)


@dataclass(frozen=True)
class SearchedMosaic:
    """A mosaic, its label (a unique name), and the objects found in it, the best first."""

    mosaic: Mosaic
    label: str
    found: Sequence[Detection]


def make_catalogue(searched: Sequence[SearchedMosaic], detector: Detector) -> pd.DataFrame:
    """Measure the objects of all mosaics.

    Columns are ``source_id`` (by position, unique), those of `radiossl.detection.report.measure`, and ``repeated``:
    an object of another mosaic with a better source score lies within half the smaller one's extent. Detectors that
    were trained with validation images add ``prediction_set``, the classes that cannot be excluded, such as
    ``FR-I|FR-X`` or ``none``, and ``outlier_score``, above 1 for objects unlike 99 % of those found in the
    validation images.
    """
    frames = [measure(one.found, one.mosaic, label_image(one.found, one.mosaic.shape)) for one in searched]
    number = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
    catalogue = pd.concat(frames, ignore_index=True)
    ra_deg, dec_deg = catalogue["ra_deg"].to_numpy(float), catalogue["dec_deg"].to_numpy(float)
    catalogue.insert(0, "source_id", unique_ids(position_ids(ra_deg, dec_deg))[0])
    repeated = np.zeros(len(catalogue), dtype=bool)
    if len(frames) > 1 and len(catalogue):
        extent, score = catalogue["extent_arcsec"].to_numpy(float), catalogue["source_score"].to_numpy(float)
        pairs = match_sky(ra_deg, dec_deg, ra_deg, dec_deg, float(np.nanmax(extent)) / 2)
        close = pairs.separation_arcsec <= np.minimum(extent[pairs.a], extent[pairs.b]) / 2
        worse = (score[pairs.b] < score[pairs.a]) | ((score[pairs.b] == score[pairs.a]) & (pairs.b > pairs.a))
        repeated[pairs.b[close & worse & (number[pairs.a] != number[pairs.b])]] = True
    if repeated.any():
        what = f"{repeated.sum()} of {counted(len(catalogue), 'object')}"
        warnings.warn(f"{what} were found in another mosaic, too; column repeated", stacklevel=2)
    catalogue["repeated"] = repeated
    if detector.confidence is not None:
        classes, found = detector.config.classes, [item for one in searched for item in one.found]
        chances = np.array([[item.probabilities[name] for name in classes] for item in found]).reshape(-1, len(classes))
        catalogue["prediction_set"] = set_texts(prediction_sets(chances, detector.confidence.thresholds), classes)
        catalogue["outlier_score"] = [item.outlier_score for item in found]
    return catalogue


@writes_result_folder
def write_detections(
    searched: Sequence[SearchedMosaic], catalogue: pd.DataFrame, detector: Detector, out: PathLike
) -> Path:
    """Write the catalogue as CSV and FITS, for every mosaic regions, a label image and a picture, and report.html."""
    out = Path(out)
    colours = class_colours(detector.config.classes)
    report = Report("Detected sources").verdict(_verdict(catalogue, len(searched)))
    report.text(f"Found by {detector.name}, with {detector.config.preprocessing.size} pixels on a side of a tile.")
    for one in searched:
        stem = mosaic_stem(one.label)
        _write_label_image(label_image(one.found, one.mosaic.shape), one.mosaic, out / f"{stem}_labels.fits")
        _write_regions(one, colours, out / f"{stem}.reg")
        draw_overview(one, colours, out / f"{stem}_overview.png")
        report.section(one.label)
        scale = Picture((), pixel_arcsec=one.mosaic.pixel_scale_arcsec, beam=one.mosaic.beam).scale_text
        text = f"Outlines by class, numbers as in the label image and catalogue; {scale}."
        report.figure(out / f"{stem}_overview.png", text)
        report.link(out / f"{stem}.reg").link(out / f"{stem}_labels.fits")
    write_table(catalogue, out / "catalogue.csv")
    write_astropy(pa.Table.from_pandas(catalogue, preserve_index=False), out / "catalogue.fits", "fits", units=UNITS)
    counts = Counter(catalogue["class"])
    metrics: dict[str, Any] = {"objects": len(catalogue), "mosaics": len(searched)}
    metrics |= {f"objects[{name}]": counts[name] for name in detector.config.classes}
    metrics |= {name: int(catalogue[name].sum()) for name in ("at_edge", "near_blank", "cut", "merged", "repeated")}
    if "outlier_score" in catalogue:
        metrics["unlike_training"] = int((catalogue["outlier_score"] > 1).sum())
    report.section("Catalogue")
    report.table(catalogue[list(_SHOWN)].head(_ROWS), f"The first {counted(min(_ROWS, len(catalogue)), 'row')}.")
    return report.finish(out, metrics, ["catalogue.csv", "catalogue.fits"])


def _verdict(catalogue: pd.DataFrame, mosaics: int) -> str:
    found = f"{counted(len(catalogue), 'object')} in {counted(mosaics, 'mosaic')}"
    counts = catalogue["class"].value_counts()
    return f"{found}: {', '.join(f'{count} {name}' for name, count in counts.items())}." if len(counts) else f"{found}."


#: Of Okabe & Ito (2008), the brightest first: outlines lie on a dark sky, on the page as in DS9.
_OUTLINES = ("#56B4E9", "#E69F00", GREEN, PURPLE, ORANGE, "#F0E442")


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """Return a colour for each class."""
    return {name: _OUTLINES[number % len(_OUTLINES)] for number, name in enumerate(classes)}


def _write_label_image(labels: NDArray[np.int32], mosaic: Mosaic, path: Path) -> None:
    from astropy.io import fits

    header = mosaic.wcs.to_header(relax=True)
    header["OBJECT"] = ("labels", "0 where nothing was found, else column label")
    with atomic_file(path) as temporary:
        fits.PrimaryHDU(labels, header).writeto(temporary, overwrite=True)


def _write_regions(one: SearchedMosaic, colours: dict[str, str], path: Path) -> None:
    on_sky = one.mosaic.pixel_to_sky
    outlines = [[np.stack(on_sky(*line.T), axis=1) for line in item.outlines()] for item in one.found]
    names = [f"{number} {item.label} {item.source_score:.2f}" for number, item in enumerate(one.found, start=1)]
    write_outline_regions(outlines, names, [colours[item.label] for item in one.found], path)


def draw_overview(one: SearchedMosaic, colours: dict[str, str], out: PathLike) -> None:
    """Draw a mosaic with the outlines of its objects as PNG, the first row at the bottom."""
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    image, factor = _thumbnail(one.mosaic)
    height, width = image.shape
    inches = max(2.0, _INCHES * height / width) + 0.5
    extent = (-0.5, factor * width - 0.5, -0.5, factor * height - 0.5)
    with drawn_axes(out, _INCHES, inches, xlabel="x (pixels)", ylabel="y (pixels)") as axes:
        axes.spines[:].set_visible(True)
        shown = as_rgb(image, how="asinh", colour_map="gray")
        axes.imshow(shown, origin="lower", extent=extent, interpolation="nearest")
        for name, colour in colours.items():
            lines = [line for item in one.found if item.label == name for line in item.outlines()]
            axes.add_collection(LineCollection(lines, colors=colour, linewidths=1.0))
        for number, item in enumerate(one.found if len(one.found) <= _MOST_NUMBERS else (), start=1):
            x0, y0, across, along = item.extent
            style: dict[str, Any] = {"fontsize": FONT - 3, "color": colours[item.label], "clip_on": True}
            axes.annotate(f"{number}", (x0 + across, y0 + along), (1, 1), textcoords="offset points", **style)
        axes.set(xlim=(-0.5, one.mosaic.shape[1] - 0.5), ylim=(-0.5, one.mosaic.shape[0] - 0.5))
        counts = Counter(item.label for item in one.found)
        handles = [Line2D([], [], color=colour, label=f"{name} ({counts[name]})") for name, colour in colours.items()]
        where: dict[str, Any] = {"loc": "outside upper left", "title": one.label, "ncols": 6, "alignment": "left"}
        axes.figure.legend(handles=handles, **where)


def _thumbnail(mosaic: Mosaic) -> tuple[NDArray[np.float32], int]:
    """Average a mosaic in squares, read band by band; return it with the side of the squares."""
    height, width = mosaic.shape
    factor = -(-max(height, width) // _PICTURE_SIDE)
    columns = -(-width // factor)
    step = factor * max(1, 2**22 // (width * factor))
    bands = []
    for y0 in range(0, height, step):
        rows = -(-min(step, height - y0) // factor)
        pixels = mosaic.read(0, y0, columns * factor, rows * factor)  # blank beyond the edges
        with warnings.catch_warnings(action="ignore"):  # all-NaN squares
            bands.append(np.nanmean(pixels.reshape(rows, factor, columns, factor), axis=(1, 3)))
    return np.concatenate(bands).astype(np.float32), factor
