"""Whatever holds images as a cutout store: files, folders, patterns, arrays, tables, catalogues beside mosaics."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.datasets.image_columns import images_of_table
from radiossl.datasets.image_files import FILES_PER_PART, FolderOptions, ImageFiles, PathLike, is_store, list_images
from radiossl.datasets.published import part_ranges
from radiossl.io.errors import RadiosslError, counted
from radiossl.io.files import path_list
from radiossl.io.settings import apply_settings
from radiossl.store.cutout import Cutout
from radiossl.store.derive import copy_store
from radiossl.store.schema import store_schema
from radiossl.store.store import CutoutStore, open_store
from radiossl.store.writing import FinishedStoreError, write_store
from radiossl.survey.catalogue import Catalogue, read_catalogue
from radiossl.survey.image_file import image_of_array, is_colour
from radiossl.survey.sources import cut_sources

if TYPE_CHECKING:
    import astropy.table
    import pandas as pd

#: Whatever holds images.
Images: TypeAlias = (
    "CutoutStore | ImageFiles | PathLike | NDArray[Any] | Catalogue | pd.DataFrame | pa.Table | astropy.table.Table"
    " | Sequence[PathLike | NDArray[Any]]"
)
#: Files that are read into memory at once where no store is asked for.
_IN_MEMORY = 500
_log = logging.getLogger(__name__)


def find_images(
    source: Images,
    mosaics: Sequence[PathLike] | PathLike | None = None,
    *,
    out: PathLike | None = None,
    size: int | None = None,
    options: FolderOptions | Mapping[str, Any] | None = None,
    **cutting: Any,
) -> CutoutStore | ImageFiles:
    """Decide what something with images is: cutouts, or files to be read one by one.

    All commands and functions that take images take what this takes; see `open_images` for the parameters.
    """
    if isinstance(source, (CutoutStore, ImageFiles)):
        return source
    several: Any = list(source) if isinstance(source, (list, tuple)) else [source]
    if several and all(map(is_store, several)):
        return open_store(*several)
    if mosaics is not None:
        catalogue = source if len(several) != 1 else several[0]
        catalogue = catalogue if isinstance(catalogue, Catalogue) else read_catalogue(catalogue)
        return _written(lambda folder: cut_sources(path_list(mosaics), catalogue, folder, size, **cutting).store, out)
    if isinstance(source, Catalogue):
        raise RadiosslError(f"{source.name}: is a catalogue; give the mosaics that show its sources as well")
    chosen = apply_settings(FolderOptions, options, source="options")
    arrays = _arrays(source)
    if arrays is None:
        held = images_of_table(several[0], chosen) if len(several) == 1 else None
        return list_images(source, chosen) if held is None else held
    known = {"pixel_scale_arcsec": chosen.pixel_scale_arcsec or np.nan, "unit": chosen.unit}
    images = (image_of_array(array, f"array {number}") for number, array in enumerate(arrays))
    cutouts = (Cutout.whole_image(f"array_{number}", image, "", **known) for number, image in enumerate(images))
    return CutoutStore.from_cutouts(cutouts)


def open_images(
    source: Images,
    mosaics: Sequence[PathLike] | PathLike | None = None,
    *,
    out: PathLike | None = None,
    size: int | None = None,
    options: FolderOptions | Mapping[str, Any] | None = None,
    **cutting: Any,
) -> CutoutStore:
    """Return images of any kind as a cutout store, with positions, pixel sizes, units and beams where known.

    Parameters
    ----------
    source
        A cutout store or its folder; an image file (FITS, NPY, PNG, JPEG, TIFF), a list of them, a pattern such as
        ``fields/*.fits`` or a folder of them, whose subfolders become the column ``label``; an array (height, width) or
        a list of arrays; a table with a column of images, arrays of any sizes or encoded files, or one that names files
        in a column such as ``file``, or gives positions of sources beside `mosaics`: a file, a pandas, polars, Arrow or
        astropy table, or a `Catalogue`.
    mosaics
        FITS files, folders of them or patterns, from which the sources of a catalogue are cut.
    out
        Folder in which the store is kept, unless `source` is one; made by an earlier call it is completed or opened.
        Without it the store has no folder of its own.
    size
        Side of the boxes around catalogued sources in pixels; by default 1.5 times their extents.
    options
        See `radiossl.datasets.image_files.FolderOptions`, such as ``pixel_scale_arcsec``.
    cutting
        Further arguments of `radiossl.survey.sources.cut_sources`.

    Raises
    ------
    RadiosslError
        If there is no image, or one cannot be read.

    See Also
    --------
    list_images : the files only, to read them one by one.

    Examples
    --------
    >>> import numpy as np
    >>> store = open_images(np.zeros((40, 50), np.float32))
    >>> store.shapes.tolist()
    [[40, 50]]
    """
    found = find_images(source, mosaics, out=out, size=size, options=options, **cutting)
    if isinstance(found, CutoutStore):
        return found if out is None or found.paths else _written(partial(_keep, found), out)
    return found.store() if out is None and len(found) <= _IN_MEMORY else _written(partial(write_images, found), out)


def _written(write: Callable[[Path], CutoutStore], out: PathLike | None) -> CutoutStore:
    """Return the store that is written to `out`, or to a folder that goes; its mapped files stay readable."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="radiossl-") as folder:
            return write(Path(folder) / "store").without_folder()
    store = write(Path(out))
    _log.warning("%s: %s, kept as a cutout store", out, counted(len(store), "image"))
    return store


def write_images(files: ImageFiles, out: Path, beside: Callable[[Path, list[str]], None] | None = None) -> CutoutStore:
    """Read files into a store in `out`, or open the one that they were read into before."""
    digest = hashlib.sha256()
    for path, *about in zip(files.paths, files.ids, files.names, files.rows, strict=True):
        known = path.stat()
        digest.update(f"{path.absolute()} {known.st_size} {known.st_mtime_ns} {about}".encode())
    provenance = {"command": "images", "files": digest.hexdigest(), "options": files.options.model_dump(mode="json")}
    schema = store_schema(files.schema)
    jobs = part_ranges(len(files), FILES_PER_PART)
    try:
        return write_store(out, jobs, files.cutouts, schema, provenance, description="reading images", beside=beside)
    except FinishedStoreError:
        return open_store(out)


def _keep(store: CutoutStore, out: Path) -> CutoutStore:
    try:
        digest = hashlib.sha256(store.pixel_key() + repr(store.table.to_pydict()).encode()).hexdigest()
        return copy_store(store, out, {"command": "images", "pixels": digest})
    except FinishedStoreError:
        return open_store(out)


def _arrays(source: Any) -> list[Any] | None:
    """Return the arrays of one image or of several; None if it is something else."""
    if isinstance(source, np.ndarray) or (hasattr(source, "ndim") and not hasattr(source, "columns")):
        return [source] if source.ndim == 2 or is_colour(tuple(source.shape)) else list(source)
    if isinstance(source, (list, tuple)) and source and all(hasattr(item, "ndim") for item in source):
        return list(source)
    return None
