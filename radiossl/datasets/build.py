"""Building a batched set of 8-bit images from a catalogue and FITS images, as CRUMB was built.

Section 2.3 of Porter & Scaife (2023) gives the steps: an image of 300 pixels around each source, noise to zero, the
central 150 pixels, a circular mask, and the range of brightness to 0 to 255. Section 2.5 gives the batches.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

import radiossl
from radiossl.datasets.batches import TEST, batch_name, deal_batches, write_batches
from radiossl.datasets.crumb import ABSENT, PRIORITY
from radiossl.io.csv_cells import write_csv_rows
from radiossl.io.errors import RadiosslError, check_number, check_seed
from radiossl.io.files import atomic_folder, check_folder, write_json
from radiossl.survey.catalogue import Catalogue, read_catalogue
from radiossl.survey.cutting import Mosaics
from radiossl.survey.placement import best_places, locate_sources, read_places, source_boxes

PNG, BATCHES, LABELS, MISSING, RECORD = "PNG", "batches", "labels.csv", "missing.csv", "build.json"
NO_POSITION, NO_LABEL, OUTSIDE = "no position", "no label", "outside"

#: The authors' code leaves these without a mask, which would cut into them.
UNMASKED = ("161.634_+054.600", "176.113_+037.142")
#: The authors' code keeps this one, which has an artefact, out of the training batches.
TEST_ONLY = ("222.036_+016.578",)


class BuiltSet(NamedTuple):
    """A set that was built: its folder, its images, those of each class, and those missing for each reason."""

    path: Path
    images: int
    classes: dict[str, int]
    missing: dict[str, int]


def build_set(
    mosaics: Sequence[str | os.PathLike[str]],
    catalogue: Catalogue | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    label: str = "basic_label",
    parents: Sequence[str] | None = None,
    recipe: ImageRecipe | None = None,
    batches: int = 7,
    seed: int = 0,
    unmasked: Collection[str] = UNMASKED,
    test_only: Collection[str] = TEST_ONLY,
) -> BuiltSet:
    """Build a batched set of 8-bit images.

    Parameters
    ----------
    mosaics
        FITS files, folders of them, or glob patterns. A source is cut from the one in which it is farthest from an
        edge. Where the field of a source reaches beyond it, the noise is that of what there is.
    catalogue
        The sources, or a file for `read_catalogue`, such as `convert_catalogue` or `merge_catalogues` writes.
    out
        Folder of the set: the images in ``PNG``, ``labels.csv``, ``missing.csv`` with the sources that have no image,
        ``build.json`` and the batches, pickled like the official ones, in ``batches``. Rows of the images are those of
        the FITS arrays, lowest declination first, as in the official ones, so a viewer shows them upside down.
    label
        Column of the class.
    parents
        Columns of the complete label, whole numbers; by default CRUMB's four, and with them the columns that the
        ``parents`` of the sources name.
    recipe
        How images are made; as in the paper by default.
    batches
        How many; the last is the test batch.
    seed
        Random seed for assigning sources to batches.
    unmasked, test_only
        Ids of sources without a mask, and of those that belong into the test batch.

    Raises
    ------
    RadiosslError
        If a column is missing or no source has an image, or a mosaic cannot be read.
    """
    from PIL import Image

    check_folder(out, "data set")
    check_number("--batches", batches, 1, whole=True)
    check_seed(seed)
    recipe = recipe or ImageRecipe()
    if not isinstance(catalogue, Catalogue):
        catalogue = read_catalogue(catalogue)
    if recipe.mask == "extent" and catalogue.extent_arcsec is None:
        raise RadiosslError(f"{catalogue.name}: no column of largest angular sizes, use the mask circle")
    columns = catalogue.columns.column_names
    if label not in columns:
        where = "CRUMB's list gets it by `datasets catalogue`, merged catalogues by `datasets merge --classes`"
        raise RadiosslError(f"{catalogue.name}: no column {label!r}; there are {', '.join(columns)}. {where}")
    classes = catalogue.columns.column(label).to_pylist()
    names, complete = _complete(catalogue, parents)
    reasons = np.full(len(catalogue), "", dtype=object)
    reasons[[name is None for name in classes]] = NO_LABEL
    reasons[~(np.isfinite(catalogue.ra_deg) & np.isfinite(catalogue.dec_deg))] = NO_POSITION
    images = _images(Mosaics.find(mosaics), catalogue, recipe, reasons, unmasked)
    rows = sorted(images)
    if not rows:
        listed = ", ".join(f"{count} {reason}" for reason, count in Counter(reasons.tolist()).items())
        raise RadiosslError(f"{catalogue.name}: no source has an image ({listed})")
    chosen = [str(classes[row]) for row in rows]
    wanted = [index for index, row in enumerate(rows) if catalogue.ids[row] in test_only]
    dealt = deal_batches(chosen, batches, seed, wanted)
    batch_of = {row: batch_name(int(number), batches) for row, number in zip(rows, dealt, strict=True)}
    with atomic_folder(out, "data set") as folder:
        (folder / PNG).mkdir()
        for row, image in images.items():
            path = folder / PNG / _file_name(catalogue, row)
            if path.exists():
                what = f"two sources would have the picture {path.name}; change their ids"
                raise RadiosslError(f"{catalogue.name}: {what}")
            Image.fromarray(image.pixels).save(path)
        _write_labels(folder / LABELS, catalogue, images, batch_of)
        missing = zip(catalogue.ids, catalogue.ra_deg, catalogue.dec_deg, reasons, strict=True)
        write_csv_rows(folder / MISSING, ("id", "ra_deg", "dec_deg", "reason"), [one for one in missing if one[-1]])
        pictures = [images[row].pixels for row in rows]
        files = [f"{PNG}/{_file_name(catalogue, row)}" for row in rows]
        write_batches(folder / BATCHES, dealt, chosen, complete[rows], pictures, files, names)
        record = {
            "command": "datasets build",
            "radiossl_version": radiossl.__version__,
            "catalogue": {"name": catalogue.name, "sources": len(catalogue), "sha256": catalogue.fingerprint()},
            **{"label": label, "parents": names, "recipe": asdict(recipe), "batches": batches, "seed": seed},
            **{"unmasked": sorted(unmasked), "test_only": sorted(test_only)},
        }
        write_json(folder / RECORD, record)
    return BuiltSet(Path(out), len(rows), dict(Counter(chosen)), dict(Counter(reasons[reasons != ""].tolist())))


class _Image(NamedTuple):
    """The image of a source and where it is from; `field_fraction` is the part of the field that the mosaic covers."""

    pixels: NDArray[np.uint8]
    mosaic: str
    field_fraction: float


def _complete(catalogue: Catalogue, parents: Sequence[str] | None) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names and the values of the complete labels, shape (n, m), -1 where absent."""
    columns = catalogue.columns.column_names
    if parents is None:
        listed = catalogue.columns.column("parents").to_pylist() if "parents" in columns else []
        named = dict.fromkeys(name for text in listed if text for name in text.split(","))
        parents = [*PRIORITY, *(name for name in named if name in columns and name not in PRIORITY)]
    values = []
    for name in parents:
        if name not in columns:
            values.append(np.full(len(catalogue), ABSENT, dtype=np.int64))
            continue
        column = catalogue.columns.column(name)
        try:
            values.append(column.fill_null(ABSENT).to_numpy().astype(np.int64, casting="same_kind"))
        except (TypeError, ValueError):
            what = f"column {name!r} is {column.type}, complete labels are whole numbers"
            raise RadiosslError(f"{catalogue.name}: {what}") from None
    return list(parents), np.stack(values, axis=1)


def _images(
    mosaics: Mosaics, catalogue: Catalogue, recipe: ImageRecipe, reasons: NDArray[Any], unmasked: Collection[str]
) -> dict[int, _Image]:
    wanted = np.flatnonzero(reasons == "")
    if wanted.size == 0:
        raise RadiosslError(f"{catalogue.name}: no source has a position and a label")
    places = locate_sources(catalogue, wanted, mosaics)
    reasons[np.setdiff1d(wanted, places.source)] = OUTSIDE
    boxes = source_boxes(places, None, recipe.field_px, box_factor=1.0, min_size=1)
    rows = best_places(places, boxes, mosaics)
    places, boxes = places.take(rows), boxes[rows]
    images: dict[int, _Image] = {}
    for place, field in read_places(places, boxes, mosaics, "making images"):
        row = int(places.source[place])
        id_ = str(catalogue.ids[row])
        extent = None if catalogue.extent_arcsec is None else float(catalogue.extent_arcsec[row])
        try:
            radius = recipe.radius_px(extent, masked=id_ not in unmasked)
            pixels = image_8bit(field, recipe, radius)
        except NoImageError as error:
            reasons[row] = str(error)
        except RadiosslError as error:
            raise RadiosslError(f"{catalogue.name}, {id_}: {error}") from None
        else:
            images[row] = _Image(pixels, mosaics.labels[places.mosaic[place]], float(np.isfinite(field).mean()))
    return images


def _file_name(catalogue: Catalogue, row: int) -> str:
    return "".join(char if char.isalnum() or char in "+-._" else "_" for char in str(catalogue.ids[row])) + ".png"


def _write_labels(path: Path, catalogue: Catalogue, images: dict[int, _Image], batch_of: dict[int, str]) -> None:
    columns = catalogue.columns.to_pylist()
    own = ("file", "id", "ra_deg", "dec_deg", "batch", "split", "mosaic", "field_fraction")
    further = [name for name in catalogue.columns.column_names if name not in (*own, "cat_ra_deg", "cat_dec_deg")]

    def line(row: int) -> list[Any]:
        image, batch = images[row], batch_of[row]
        source = (catalogue.ids[row], float(catalogue.ra_deg[row]), float(catalogue.dec_deg[row]))
        facts = (batch, "test" if batch == TEST else "train", image.mosaic, f"{image.field_fraction:.4f}")
        return [f"{PNG}/{_file_name(catalogue, row)}", *source, *facts, *(columns[row][name] for name in further)]

    write_csv_rows(path, [*own, *further], map(line, sorted(images)))


# 8-bit images: what is above the noise, within a circle, from 0 to 255 ------------------------------------------------


INCOMPLETE, EMPTY = "incomplete", "nothing above the noise"


@dataclass(frozen=True)
class ImageRecipe:
    """How an image is made."""

    #: Side of the image in which the noise is measured.
    field_px: int = 300
    #: Side of the final image, at most `field_px`.
    side_px: int = 150
    #: Pixels up to this many times the noise become 0. The noise is the standard deviation after clipping at 3 sigma,
    #: at most five times; as in the authors' code, the median is not added to it.
    sigma: float = 3.0
    #: ``circle`` keeps the largest circle in the image, as in CRUMB and MiraBest; ``extent`` a circle as wide as the
    #: source's largest angular size, but at most the former; ``none`` keeps everything.
    mask: Literal["circle", "extent", "none"] = "circle"
    #: Pixel size by which ``extent`` is converted to pixels.
    pixel_arcsec: float = 1.8
    #: Largest fraction of blank pixels inside the mask, such as a row at the edge of a mosaic; they become 0.
    max_blank: float = 0.01

    def __post_init__(self) -> None:
        check_number("field_px", self.field_px, 1, whole=True)
        check_number("side_px", self.side_px, 1, self.field_px, whole=True)
        if self.mask not in ("circle", "extent", "none"):
            raise RadiosslError(f"mask {self.mask!r}: expected circle, extent or none")
        check_number("sigma", self.sigma, 0)
        check_number("pixel_arcsec", self.pixel_arcsec, 0, above=True)
        check_number("max_blank", self.max_blank, 0, 1, below=True)

    def radius_px(self, extent_arcsec: float | None = None, *, masked: bool = True) -> float:
        """Return the radius of the mask for a source, in pixels; infinite without a mask."""
        if self.mask == "none" or not masked:
            return math.inf
        largest = self.side_px // 2
        if self.mask == "circle":
            return largest
        if extent_arcsec is None or not math.isfinite(extent_arcsec):
            raise RadiosslError("a mask by extent needs the largest angular size of every source; use the mask circle")
        return min(math.ceil(math.ceil(extent_arcsec / self.pixel_arcsec) / 2), largest)


def image_8bit(
    field: NDArray[np.float32], recipe: ImageRecipe | None = None, radius_px: float | None = None
) -> NDArray[np.uint8]:
    """Turn the surroundings of a source, NaN where blank, into its 8-bit image, in the same order of rows.

    The shapes are (field_px, field_px) and (side_px, side_px); `radius_px` is that of the mask, by default that of the
    recipe's circle. Raises `NoImageError` if too many pixels inside the mask are blank, or none is above the noise.
    """
    from astropy.stats import sigma_clipped_stats

    recipe = recipe or ImageRecipe()
    start = recipe.field_px // 2 - recipe.side_px // 2
    crop = np.s_[start : start + recipe.side_px]
    image = field[crop, crop].copy()
    mask = circle(recipe.side_px, recipe.radius_px() if radius_px is None else radius_px)
    if np.isnan(image[mask]).mean() > recipe.max_blank:
        raise NoImageError(INCOMPLETE)
    noise = sigma_clipped_stats(field[np.isfinite(field)], sigma=3.0, maxiters=5)[2]
    # Written so that blank pixels become 0 as well.
    image[~(image > recipe.sigma * noise)] = 0
    image[~mask] = 0
    low, high = image[mask].min(), image[mask].max()
    if not low < high:
        raise NoImageError(EMPTY)
    # The minimum is 0 unless every pixel of the mask is above the noise, so the corners stay 0.
    image[mask] = (image[mask] - low) / (high - low)
    return (image * np.float32(255)).astype(np.uint8)


class NoImageError(RadiosslError):
    """A source has no image; the message is the reason."""


def circle(side: int, radius: float) -> NDArray[np.bool_]:
    """Return the mask of pixels no farther than `radius` from pixel ``side / 2``, as the authors centre it."""
    offset = np.arange(side) - round(side / 2)
    return offset[:, None] ** 2 + offset**2 <= radius**2
