"""Whatever holds images as a cutout store: files, folders, patterns, arrays, tables, catalogues beside mosaics."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.datasets.image_folder import (
    FILE_COLUMNS,
    IMAGE_SUFFIXES,
    FolderOptions,
    classes_by_folder,
    image_cutout,
    image_stem,
    sky_facts,
)
from radiossl.datasets.published import import_set
from radiossl.io.errors import RadiosslError
from radiossl.io.progress import track
from radiossl.io.tables import ENDINGS, TableContent, read_table_content, table_content
from radiossl.store.cutout import Cutout
from radiossl.store.schema import PARTIAL
from radiossl.store.store import CutoutStore, open_store
from radiossl.survey.catalogue import Catalogue, positions_in, read_catalogue, without_clashes
from radiossl.survey.image_file import image_of_array, is_colour
from radiossl.survey.sources import cut_sources

if TYPE_CHECKING:
    import astropy.table
    import pandas as pd

    PathLike: TypeAlias = str | os.PathLike[str]
    Images: TypeAlias = (
        CutoutStore
        | PathLike
        | NDArray[Any]
        | Catalogue
        | pd.DataFrame
        | pa.Table
        | astropy.table.Table
        | Sequence[PathLike | NDArray[Any]]
    )

_TABLE_SUFFIXES = tuple(end for ends in ENDINGS.values() for end in ends if end not in (".fits", ".fit", ".fts"))


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Image files to be read one by one.

    Attributes
    ----------
    paths
        The files.
    ids
        A name for each that no other has.
    rows
        Further columns of each, such as those of the table that lists them.
    schema
        Of the further columns.
    """

    paths: tuple[Path, ...]
    ids: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))

    def __len__(self) -> int:
        return len(self.paths)

    def cutout(self, index: int, options: FolderOptions | None = None) -> Cutout:
        """Read one of the files with its place on the sky, pixel size, unit and beam as far as they are known."""
        row, path = dict(self.rows[index]), self.paths[index]
        return image_cutout(path, path.name, row, options or FolderOptions(), self.ids[index])

    def table(self, options: FolderOptions | None = None) -> pa.Table:
        """Return what is known of the images before their pixels are read, one row per file.

        Columns ``cutout_id``, ``file``, ``ra_deg``, ``dec_deg``, ``pixel_scale_arcsec``, ``unit``,
        ``beam_major_arcsec``, ``beam_minor_arcsec``, ``beam_pa_deg`` (null where unknown) and the further ones.
        """
        facts = [
            sky_facts(path, dict(row), options or FolderOptions())
            for path, row in zip(self.paths, self.rows, strict=True)
        ]
        own: dict[str, Any] = {"cutout_id": self.ids, "file": [str(path) for path in self.paths]}
        for key in ("ra_deg", "dec_deg", "pixel_scale_arcsec"):
            own[key] = pa.array([fact[key] for fact in facts], pa.float64(), from_pandas=True)
        own["unit"] = [fact["unit"] for fact in facts]
        beams = [fact["beam"] for fact in facts]
        for key in ("major_arcsec", "minor_arcsec", "pa_deg"):
            own[f"beam_{key}"] = pa.array([getattr(beam, key) if beam else None for beam in beams], pa.float64())
        further = {one.name: pa.array([row.get(one.name) for row in self.rows], one.type) for one in self.schema}
        return pa.table(own | further)

    def cutouts(self, options: FolderOptions | None = None) -> Iterator[Cutout]:
        """Read one file after the other."""
        for index in track(range(len(self)), "reading images"):
            yield self.cutout(index, options)


def open_images(
    source: Images,
    mosaics: Sequence[PathLike] | PathLike | None = None,
    *,
    size: int | None = None,
    options: FolderOptions | Mapping[str, Any] | None = None,
    **cutting: Any,
) -> CutoutStore:
    """Return whatever holds images as a cutout store, with positions, pixel sizes, units and beams where known.

    Parameters
    ----------
    source
        A cutout store or its folder; an image file (FITS, NPY, PNG, JPEG, TIFF), a list of them, a pattern such as
        ``fields/*.fits`` or a folder of them, whose subfolders become the column ``label``; an array (height, width) or
        a list of arrays; a table that names files in a column such as ``file``, or gives positions of sources beside
        `mosaics`: a file, a pandas, polars, Arrow or astropy table, or a `Catalogue`.
    mosaics
        FITS files, folders of them or patterns, from which the sources of a catalogue are cut.
    size
        Side of the boxes around catalogued sources in pixels; by default 1.5 times their extents.
    options
        See `radiossl.datasets.image_folder.FolderOptions`, such as ``pixel_scale_arcsec``.
    cutting
        Further arguments of `radiossl.survey.sources.cut_sources`.

    Returns
    -------
    CutoutStore
        Of no folder of its own, unless `source` is a store: to keep it, use `import_set` or `cut_sources`.

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
    if isinstance(source, CutoutStore):
        return source
    stores: Any = list(source) if isinstance(source, (list, tuple)) else [source]
    if stores and all(map(is_store, stores)):
        return open_store(*stores)
    chosen = options if isinstance(options, FolderOptions) else FolderOptions(**dict(options or {}))
    if mosaics is not None:
        catalogue = source if isinstance(source, Catalogue) else read_catalogue(source)
        given = [mosaics] if isinstance(mosaics, (str, os.PathLike)) else list(mosaics)
        return _unnamed(lambda out: cut_sources(given, catalogue, out, size, **cutting).store)
    if isinstance(source, Catalogue):
        raise RadiosslError(f"{source.name}: is a catalogue; give the mosaics that show its sources as well")
    if isinstance(source, (str, os.PathLike)) and Path(source).is_dir():
        _expanded(source)  # raises if there is no image
        return _unnamed(lambda out: import_set("images", source, out, options=chosen).store)
    arrays = _arrays(source)
    if arrays is not None:
        return CutoutStore.from_cutouts(_cutouts_of_arrays(arrays, chosen))
    files = list_images(source)
    return CutoutStore.from_cutouts(files.cutouts(chosen), files.schema)


def is_store(source: Any) -> bool:
    """Return whether this is the folder of a cutout store, be it one that was interrupted while it was written."""
    return isinstance(source, (str, os.PathLike)) and any(
        (Path(source) / name).is_file() for name in ("store.json", PARTIAL)
    )


def names_files(source: Any) -> bool:
    """Return whether something names image files, which `list_images` lists: paths, but not that of a store."""
    if isinstance(source, (str, os.PathLike)):
        return not is_store(source)
    paths = isinstance(source, (list, tuple)) and all(isinstance(item, (str, os.PathLike)) for item in source)
    return paths and not (source and all(map(is_store, source)))


def list_images(source: Any) -> ImageFiles:
    """Return the image files that something names.

    Parameters
    ----------
    source
        An image file, a list of them, a folder, whose subfolders become the columns ``label`` and ``split``, a pattern,
        or a table that names files, relative to itself or to the working folder, with or without their endings.

    Raises
    ------
    RadiosslError
        If there is none, or a file that is named is missing.

    Examples
    --------
    >>> list_images("nowhere/*.fits")
    Traceback (most recent call last):
        ...
    radiossl.io.errors.RadiosslError: nowhere/*.fits: no such file or folder
    """
    if isinstance(source, (str, os.PathLike)):
        if _is_table(source):
            return _files_of_table(read_table_content(source), str(source), Path(source).parent)
        if Path(source).is_dir():
            return _files_of_folder(Path(source))
        paths = _expanded(source)
    elif isinstance(source, Sequence) and all(isinstance(item, (str, os.PathLike)) for item in source):
        paths = [path for item in source for path in _expanded(item)]
    else:
        return _files_of_table(table_content(source), "table", Path())
    if not paths:
        raise RadiosslError("no image was given")
    return ImageFiles(tuple(paths), _names(paths), tuple({} for _ in paths))


def _files_of_folder(folder: Path) -> ImageFiles:
    paths = _expanded(folder)
    names = [path.relative_to(folder).as_posix() for path in paths]
    stems = [image_stem(name) for name in names]
    schema = pa.schema([("label", pa.string()), ("split", pa.string())])
    ids = stems if len(set(stems)) == len(stems) else names
    return ImageFiles(tuple(paths), tuple(ids), tuple(classes_by_folder(name) for name in names), schema)


def _unnamed(write: Callable[[Path], CutoutStore]) -> CutoutStore:
    """A store that is written to a temporary folder: its mapped files stay readable after they have been removed."""
    with tempfile.TemporaryDirectory(prefix="radiossl-") as folder:
        store = write(Path(folder) / "store")
        return store.without_folder()


def _is_table(path: PathLike) -> bool:
    name = Path(path).name.lower().removesuffix(".gz")
    if name.endswith(_TABLE_SUFFIXES):
        return Path(path).is_file()
    return name.endswith((".fits", ".fit", ".fts")) and Path(path).is_file() and not _has_image(Path(path))


def _has_image(path: Path) -> bool:
    from radiossl.survey.fits_image import find_image

    try:
        find_image(path)
    except RadiosslError as error:
        return "no image" not in str(error)
    return True


def _expanded(source: PathLike) -> list[Path]:
    path = Path(source)
    if path.is_file():
        return [path]
    candidates = path.rglob("*") if path.is_dir() else map(Path, glob.glob(str(source), recursive=True))  # noqa: PTH207
    found = sorted(file for file in candidates if file.name.lower().endswith(IMAGE_SUFFIXES) and file.is_file())
    found = [file for file in found if not file.name.startswith(".")]
    if not found:
        what = "not a cutout store, and no image is in it" if path.is_dir() else "no such file or folder"
        raise RadiosslError(f"{source}: {what}")
    return found


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    """File names where they are all different, else whole paths."""
    names = [path.name for path in paths]
    return tuple(names if len(set(names)) == len(names) else map(str, paths))


def _files_of_table(content: TableContent, name: str, folder: Path) -> ImageFiles:
    table = content.table
    column = next((known for known in FILE_COLUMNS if known in table.column_names and _names_files(table, known)), None)
    if column is None:
        raise RadiosslError(
            f"{name}: not an image, and it names none in a column such as file; if it is a catalogue of positions, "
            f"give the mosaics that show its sources as well (its columns are {', '.join(table.column_names)})"
        )
    paths = [_existing(str(text), folder, name) for text in table.column(column).to_pylist()]
    further = without_clashes(table.drop_columns([column]))
    rows = further.to_pylist() if further.num_columns else [{} for _ in paths]
    positions = positions_in(name, content)
    if positions is not None:
        for row, ra, dec in zip(rows, positions.ra_deg.tolist(), positions.dec_deg.tolist(), strict=True):
            row |= {"ra_deg": ra, "dec_deg": dec}
    return ImageFiles(tuple(paths), _names(paths), tuple(rows), further.schema)


def _names_files(table: pa.Table, column: str) -> bool:
    """Whether a column that could be one of names looks like one of files."""
    first = next((text for text in table.column(column).to_pylist() if text), None)
    sure = column in ("file", "filename", "file_name", "path", "image")
    return isinstance(first, str) and (sure or first.lower().endswith(IMAGE_SUFFIXES))


def _existing(text: str, folder: Path, name: str) -> Path:
    for base in (folder, Path()):
        if (base / text).is_file():
            return base / text
        found = [base / f"{text}{end}" for end in IMAGE_SUFFIXES if (base / f"{text}{end}").is_file()]
        if len(found) == 1:
            return found[0]
    raise RadiosslError(f"{name}: the image {text!r} is neither beside the table nor in the working folder")


def _arrays(source: Any) -> list[Any] | None:
    """The arrays of one image or of several; None if it is something else."""
    if isinstance(source, np.ndarray) or (hasattr(source, "ndim") and not hasattr(source, "columns")):
        return [source] if source.ndim == 2 or is_colour(tuple(source.shape)) else list(source)
    if isinstance(source, (list, tuple)) and source and all(hasattr(item, "ndim") for item in source):
        return list(source)
    return None


def _cutouts_of_arrays(arrays: Sequence[Any], options: FolderOptions) -> Iterator[Cutout]:
    scale = np.nan if options.pixel_scale_arcsec is None else options.pixel_scale_arcsec
    for number, array in enumerate(arrays):
        pixels = image_of_array(array, f"array {number}")
        y, x = (np.array(pixels.shape) - 1) / 2
        yield Cutout(f"array_{number}", pixels, "", np.nan, np.nan, x, y, scale, options.unit)
