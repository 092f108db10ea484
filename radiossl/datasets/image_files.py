"""Image files: which of them a path, a pattern or a table names, and where on the sky each is."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike
from pydantic import Field

from radiossl.datasets.published import Options, Reader, part_ranges, part_slice
from radiossl.io.errors import RadiosslError, counted, listed
from radiossl.io.files import files_among, files_below, path_list
from radiossl.io.progress import track
from radiossl.io.tables import ENDINGS, TableContent, read_table_content, table_content
from radiossl.store.cutout import Beam, Cutout
from radiossl.store.schema import PARTIAL
from radiossl.store.store import CutoutStore
from radiossl.survey.catalogue import positions_in, without_clashes
from radiossl.survey.image_file import FITS_SUFFIXES, PICTURE_SUFFIXES, image_shape, read_image

PathLike: TypeAlias = str | os.PathLike[str]

IMAGE_SUFFIXES = (*FITS_SUFFIXES, ".npy", *PICTURE_SUFFIXES)
_TABLE_SUFFIXES = tuple(end for ends in ENDINGS.values() for end in ends if end not in (".fits", ".fit", ".fts"))
#: Files of a shard of a store.
FILES_PER_PART = 500
#: Columns that name files; those after the first five may mean something else.
_FILE_COLUMNS = ("file", "filename", "file_name", "path", "image", "name", "objid", "id")
_SURE = 5
#: Keys of a row under which its place goes; they are columns of every store.
_SKY = ("ra_deg", "dec_deg", "pixel_scale_arcsec", "beam_major_arcsec", "beam_minor_arcsec", "beam_pa_deg")
#: First folders of these names are splits, the classes lie below.
_SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}


class FolderOptions(Options):
    """What image files do not say themselves."""

    #: Table with one row per image, in any format that `read_table` takes; its columns become columns of the store, and
    #: its positions, pixel sizes and beams are those of the images. Without one, the subfolders are the classes, in
    #: column ``label``.
    table: str | None = None
    #: Column of the table with the name of the file, as it is below the folder, with or without ending; without it, the
    #: first that is called file, filename, path, image, name, objid or id.
    file_column: str | None = None
    #: Of images that do not say so themselves.
    pixel_scale_arcsec: float | None = Field(default=None, gt=0)
    #: Brightness unit of images that do not say so themselves.
    unit: str = ""
    #: Whether the first row of a picture is the ``top`` of the sky, as pictures are usually made, or the ``bottom``, as
    #: where the rows of a FITS array were written one after the other (MiraBest, CRUMB).
    first_row: Literal["top", "bottom"] = "top"


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Image files to be read one by one."""

    paths: tuple[Path, ...]
    #: What each is called in a store, such as its path below a folder.
    names: tuple[str, ...]
    #: A unique name for each.
    ids: tuple[str, ...]
    #: Further columns of each, such as those of the table that lists them, and their schema.
    rows: tuple[Mapping[str, Any], ...]
    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))
    #: What holds where neither a header nor a row says it.
    options: FolderOptions = field(default_factory=FolderOptions)
    #: What to know about the list, one sentence each.
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def cutout(self, index: int) -> Cutout:
        """Read one of the files with its place on the sky, pixel size, unit and beam as far as they are known."""
        path, row = self.paths[index], self.rows[index]
        pixels = read_image(path)
        if self.options.first_row == "bottom" and path.name.lower().endswith(PICTURE_SUFFIXES):
            pixels = np.ascontiguousarray(pixels[::-1])
        extra = {name: row.get(name) for name in self.schema.names}
        facts = sky_facts(path, row, self.options)
        return Cutout.whole_image(self.ids[index], pixels, self.names[index], extra=extra, **facts)

    def cutouts(self, part: str | None = None) -> Iterator[Cutout]:
        """Read one file after the other, of all or of a part of `part_ranges`."""
        return map(self.cutout, range(len(self))[part_slice(part) if part else slice(None)])

    @property
    def table(self) -> pa.Table:
        """What is known of the images before their pixels are read, one row per file.

        Columns ``cutout_id``, ``file``, the further ones, and where any file knows it ``height``, ``width``,
        ``ra_deg``, ``dec_deg``, ``pixel_scale_arcsec``, ``unit``, ``beam_major_arcsec``, ``beam_minor_arcsec`` and
        ``beam_pa_deg``.
        """
        facts = [sky_facts(path, row, self.options) for path, row in zip(self.paths, self.rows, strict=True)]
        beams = [fact["beam"] for fact in facts]
        sky: dict[str, Any] = {key: [fact[key] for fact in facts] for key in _SKY[:3]}
        sky |= {
            f"beam_{k}": [getattr(beam, k, None) for beam in beams] for k in ("major_arcsec", "minor_arcsec", "pa_deg")
        }
        columns = {name: pa.array(values, pa.float64(), from_pandas=True) for name, values in sky.items()}
        shapes = [image_shape(path) or (None, None) for path in self.paths]
        sides = zip(("height", "width"), zip(*shapes, strict=True), strict=True)
        columns |= {name: pa.array(side, pa.int32()) for name, side in sides}
        columns["unit"] = pa.array([fact["unit"] or None for fact in facts], pa.string())
        columns = {name: known for name, known in columns.items() if known.null_count < len(self)}
        own = {"cutout_id": self.ids, "file": [str(path.absolute()) for path in self.paths]}
        further = {one.name: pa.array([row.get(one.name) for row in self.rows], one.type) for one in self.schema}
        return pa.table(own | columns | further)

    def select_ids(self, ids: Sequence[str], *_: ArrayLike) -> CutoutStore:
        """Read the images of these ids, in their order, as `CutoutStore.select_ids` does."""
        place = {one: index for index, one in enumerate(self.ids)}
        if missing := next((one for one in ids if one not in place), None):
            raise RadiosslError(f"there is no image {missing!r}; give the store of the features (--store)")
        return CutoutStore.from_cutouts([self.cutout(place[one]) for one in ids], self.schema)

    def store(self) -> CutoutStore:
        """Read all images into memory."""
        return CutoutStore.from_cutouts(track(self.cutouts(), "reading images", total=len(self)), self.schema)


def is_store(source: Any) -> bool:
    """Return whether this is the folder of a cutout store, also of one whose writing was interrupted."""
    return isinstance(source, (str, os.PathLike)) and any(
        (Path(source) / name).is_file() for name in ("store.json", PARTIAL)
    )


def is_image_file(path: Path) -> bool:
    """Return whether this is a file with the name of an image."""
    return path.name.lower().endswith(IMAGE_SUFFIXES) and path.is_file()


def list_images(source: Any, options: FolderOptions | None = None) -> ImageFiles:
    """Return the image files that something names; raise `RadiosslError` if there is none, or one is missing.

    It is an image file, a list of them, a folder, whose subfolders become the columns ``label`` and ``split``, a
    pattern, or a table that names files, relative to itself or to the working folder, with or without their endings.
    With `FolderOptions.table`, only the images of a folder that the table names are listed.
    """
    options = options or FolderOptions()
    if isinstance(source, str):
        path_list(source)  # raises if it is empty
    if isinstance(source, (list, tuple)) and all(isinstance(item, (str, os.PathLike)) for item in source):
        if len(source) != 1:
            return _listed([path for item in source for path in _expanded(item)], options)
        source = source[0]
    if not isinstance(source, (str, os.PathLike)):
        return _files_of_table(table_content(source), "table", options)
    if Path(source).is_dir():
        return _files_of_folder(Path(source), options)
    if _is_table(Path(source)):
        try:
            content = read_table_content(source)
        except RadiosslError as error:
            raise RadiosslError(f"{source}: not an image, and {str(error).removeprefix(f'{source}: ')}") from None
        return _files_of_table(content, str(source), options, Path(source).parent)
    return _listed(_expanded(source), options)


def _listed(paths: Sequence[Path], options: FolderOptions) -> ImageFiles:
    if not paths:
        raise RadiosslError("no image was given")
    names = tuple(path.name for path in paths)
    return ImageFiles(tuple(paths), names, _ids(names, paths), tuple({} for _ in paths), options=options)


def _ids(names: Sequence[str], otherwise: Sequence[Any]) -> tuple[str, ...]:
    """Return the names if they are all different, else what distinguishes the files."""
    return tuple(names if len(set(names)) == len(names) else map(str, otherwise))


def _files_of_folder(folder: Path, options: FolderOptions) -> ImageFiles:
    if options.table is not None:
        return _files_of_table(read_table_content(options.table), options.table, options, folder, among=True)
    paths = _expanded(folder)
    names = tuple(path.relative_to(folder).as_posix() for path in paths)
    schema = pa.schema([("label", pa.string()), ("split", pa.string())])
    rows = tuple(map(_classes_by_folder, names))
    return ImageFiles(tuple(paths), names, _ids(list(map(_stem, names)), names), rows, schema, options)


def _stem(name: str) -> str:
    return next((name[: -len(end)] for end in IMAGE_SUFFIXES if name.lower().endswith(end)), name)


def _classes_by_folder(name: str) -> dict[str, Any]:
    folders = list(PurePosixPath(name).parts[:-1])
    split = _SPLITS.get(folders[0].lower()) if folders else None
    return {"label": "/".join(folders[1:] if split else folders) or None, "split": split}


def _expanded(source: PathLike) -> list[Path]:
    """Return the images that a path means: itself, those in a folder and below, those of a pattern."""
    path = Path(source)
    if path.is_file():
        return [path]
    if is_store(path):
        raise RadiosslError(f"{path}: is a cutout store; give either cutout stores or images, not both")
    if path.is_dir() and (stores := [file.parent for file in files_below(path, ("store.json",))]):
        raise RadiosslError(f"{path}: not a cutout store itself, but it holds {stores[0]}; give that")
    matches = () if path.is_dir() else map(Path, glob.glob(str(source), recursive=True))  # noqa: PTH207
    named = (file for file in matches if file.name.lower().endswith(IMAGE_SUFFIXES))
    found = files_below(path, IMAGE_SUFFIXES) if path.is_dir() else files_among(named)
    below = len(path.parts) if path.is_dir() else -1  # a pattern may begin in a hidden folder
    found = [file for file in found if not any(part.startswith(".") for part in file.parts[below:])]
    if not found:
        what = "not a cutout store, and no image is in it" if path.is_dir() else "no such file or folder"
        raise RadiosslError(f"{source}: {what}")
    return found


# Tables that name files -----------------------------------------------------------------------------------------------


def _is_table(path: Path) -> bool:
    from radiossl.survey.fits_image import find_image

    name = path.name.lower().removesuffix(".gz")
    if name.endswith(_TABLE_SUFFIXES):
        return path.is_file()
    if not (name.endswith((".fits", ".fit", ".fts")) and path.is_file()):
        return False
    try:
        find_image(path)
    except RadiosslError as error:
        return "no image" in str(error)
    return False


def _files_of_table(
    content: TableContent, name: str, options: FolderOptions, folder: Path = Path(), among: bool = False
) -> ImageFiles:
    table, column = content.table, _file_column(content.table, options.file_column, among)
    if column is None:
        raise RadiosslError(
            f"{name}: not an image, and it names none: it has no column of file names such as file"
            f"{f' or {options.file_column}' if options.file_column else ''}; if it is a catalogue of positions, give "
            f"the mosaics that show its sources as well (its columns are {listed(table.column_names)})"
        )
    if not len(table):
        raise RadiosslError(f"{name}: the table has no rows")
    texts = [None if text is None else str(text) for text in table.column(column).to_pylist()]
    further = without_clashes(table.rename_columns(["image_file" if n == column else n for n in table.column_names]))
    rows: list[dict[str, Any]] = further.to_pylist()
    positions = positions_in(name, content)
    if positions is not None:
        for row, ra, dec in zip(rows, positions.ra_deg.tolist(), positions.dec_deg.tolist(), strict=True):
            row |= {"ra_deg": ra, "dec_deg": dec}
    if among:
        return _chosen_of_folder(folder, texts, rows, further.schema, name, options)
    if None in texts or "" in texts:
        first = next(number for number, text in enumerate(texts, 1) if not text)
        raise RadiosslError(f"{name}: row {first} names no image in its column {column!r}")
    paths = [_existing(str(text), folder, name) for text in texts]
    names = tuple(path.name for path in paths)
    schema = further.schema.remove(further.schema.get_field_index("image_file"))
    return ImageFiles(tuple(paths), names, _ids(names, paths), tuple(rows), schema, options)


def _file_column(table: pa.Table, given: str | None, among: bool) -> str | None:
    """Return the column that names files; with `among`, where a folder has them, names without an ending will do."""
    if given is not None:
        return given if given in table.column_names else None
    for number, name in enumerate(_FILE_COLUMNS):
        if name in table.column_names:
            first = next((text for text in table.column(name).to_pylist() if text), None)
            if among or number < _SURE or (isinstance(first, str) and first.lower().endswith(IMAGE_SUFFIXES)):
                return name
    return None


def _existing(text: str, folder: Path, name: str) -> Path:
    for base in (folder, Path()):
        if (base / text).is_file():
            return base / text
        found = [base / f"{text}{end}" for end in IMAGE_SUFFIXES if (base / f"{text}{end}").is_file()]
        if len(found) == 1:
            return found[0]
    raise RadiosslError(f"{name}: the image {text!r} is neither beside the table nor in the working folder")


def _chosen_of_folder(
    folder: Path, texts: Sequence[str | None], rows: Sequence[Any], schema: pa.Schema, name: str, options: FolderOptions
) -> ImageFiles:
    images = [path.relative_to(folder).as_posix() for path in _expanded(folder)]
    known: dict[str | None, list[str]] = {}
    for image in images:
        for called in {image, _stem(image), PurePosixPath(image).name, _stem(PurePosixPath(image).name)}:
            known.setdefault(called, []).append(image)
    chosen: dict[str, dict[str, Any]] = {}
    for text, row in zip(texts, rows, strict=True):
        found = known.get(text, [])
        if len(found) > 1:
            raise RadiosslError(f"{folder}: {text!r} could be {found[0]} or {found[1]}; write its path")
        if found and found[0] in chosen:
            raise RadiosslError(f"{name}: {found[0]} is listed more than once")
        chosen |= dict.fromkeys(found, row)
    if not chosen:
        raise RadiosslError(f"{folder}: no image that {name} names is there")
    lost, left = len(rows) - len(chosen), len(images) - len(chosen)
    remarks = [f"{counted(lost, 'row')} of {name} without an image in {folder}"] if lost else []
    remarks += [f"{counted(left, 'image')} in no row of {name}: left out"] if left else []
    names, paths = tuple(chosen), tuple(folder / image for image in chosen)
    return ImageFiles(
        paths, names, _ids(list(map(_stem, names)), names), tuple(chosen.values()), schema, options, tuple(remarks)
    )


# A folder as a labelled set -------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _listed_once(source: Path, options: FolderOptions) -> ImageFiles:
    return list_images(source, options)


def _parts(source: Path, options: FolderOptions) -> list[str]:
    if not source.is_dir():
        raise RadiosslError(f"{source}: is a file, expected a folder of images")
    _listed_once.cache_clear()  # the files may have changed since they were listed last
    return part_ranges(len(_listed_once(source, options)), FILES_PER_PART)


READER = Reader(
    parts=_parts,
    read=lambda source, part, options: _listed_once(source, options).cutouts(part),
    options=FolderOptions,
    columns=lambda source, options: _listed_once(source, options).schema,
    remarks=lambda source, options: _listed_once(source, options).remarks,
)


# Where an image is ----------------------------------------------------------------------------------------------------


def sky_facts(path: Path, row: Mapping[str, Any], options: FolderOptions) -> dict[str, Any]:
    """Return position, pixel sizes, unit and beam of an image as `Cutout` takes them, without reading its pixels.

    The position of a row holds in any case, its ``pixel_scale_arcsec``, ``cat_pixel_scale_arcsec`` and the like where
    the file's header does not say better, and the options where neither says it.
    """
    ra, dec, scale, major, minor, pa_deg = (_number(row, key) for key in _SKY)
    facts: dict[str, Any] = {
        "ra_deg": ra,
        "dec_deg": dec,
        "pixel_scale_arcsec": scale if np.isfinite(scale) else options.pixel_scale_arcsec or np.nan,
        "unit": options.unit,
        "beam": Beam(major, minor, pa_deg) if major >= minor > 0 else None,
    }
    header = _header_facts(path) if path.name.lower().endswith(FITS_SUFFIXES) else {}
    if np.isfinite([ra, dec]).all():  # the table names the source, the header only the middle of its image
        header = {key: value for key, value in header.items() if key not in ("ra_deg", "dec_deg")}
    return facts | {key: value for key, value in header.items() if value not in (None, "")}


def _number(row: Mapping[str, Any], name: str) -> float:
    found = (row.get(key) for key in (name, f"cat_{name}"))
    return next((float(value) for value in found if isinstance(value, (int, float))), float("nan"))


def _header_facts(path: Path) -> dict[str, Any]:
    """Return position, pixels, unit and beam of a FITS image; nothing if it has no celestial coordinates."""
    from radiossl.survey.mosaic import Mosaic

    try:
        mosaic = Mosaic.open(path)
    except RadiosslError:  # an image without coordinates, or a damaged one, which is reported when its pixels are read
        return {}
    with mosaic:
        y, x = ((side - 1) / 2 for side in mosaic.shape)
        measured = [*mosaic.pixel_to_sky(x, y), *mosaic.pixel_shape(x, y)]
    names = ("ra_deg", "dec_deg", "pixel_width_arcsec", "pixel_height_arcsec", "pixel_pa_deg")
    known = {"pixel_scale_arcsec": mosaic.pixel_scale_arcsec, "unit": mosaic.unit, "beam": mosaic.beam}
    return {**dict(zip(names, map(float, measured), strict=True)), **known}
