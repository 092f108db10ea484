"""Tables of any origin: their vectors, ids, positions and images, under any names."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radiossl.datasets.image_columns import ImageReader, describe_rows, image_reader, is_list
from radiossl.datasets.image_sources import Images, open_images
from radiossl.features.feature_file import FeatureFile, feature_cutouts
from radiossl.features.table import FEATURES, FeatureTable
from radiossl.io.errors import RadiosslError
from radiossl.io.parquet import open_parquet, write_parquet
from radiossl.io.tables import ENDINGS, arrow_table, is_table
from radiossl.store.store import CutoutStore
from radiossl.survey.image_file import read_image

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import Table as AstropyTable

PARQUET, ARROW = ENDINGS["parquet"], ENDINGS["arrow"]
_LONGEST_PATH = 1024
_log = logging.getLogger(__name__)


class ImageColumn:
    """Images in a column of a table, each read when it is looked at: `read` returns the pixels of a row."""

    def __init__(self, ids: NDArray[Any], read: ImageReader) -> None:
        self.table = pa.table({"cutout_id": pa.array(ids, pa.string())})
        self._read = read

    def pixels(self, row: int) -> NDArray[np.float32] | None:
        """Return the pixels of a row; None if they cannot be read."""
        try:
            return self._read(row)
        except (RadiosslError, ValueError, TypeError) as error:
            _log.warning("image of row %d: %s", row, error)
            return None


def is_feature_table(path: Path) -> bool:
    """Return whether a path is a table as radiossl writes it, a file or a folder of parts."""
    if path.is_dir():
        return any(path.glob("part-*.parquet"))
    if path.suffix not in PARQUET:
        return False
    return {"cutout_id", FEATURES} <= set(open_parquet(path).schema_arrow.names)


def has_vectors(source: Any) -> bool:
    """Return whether something is a table with a column of vectors; if it is none, it may be images."""
    if isinstance(source, FeatureTable):
        return True
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.is_dir() or not path.name.endswith((*PARQUET, *ARROW)):
            return is_feature_table(path)
        schema = open_parquet(path).schema_arrow if path.name.endswith(PARQUET) else arrow_table(path).schema
    elif is_table(source):
        schema = arrow_table(source).schema
    else:
        return False
    return bool(_vector_columns(schema))


def open_table(
    source: str | os.PathLike[str] | FeatureTable | pd.DataFrame | pa.Table | AstropyTable,
    folder: Path,
    vectors: str | None = None,
    ids: str | None = None,
    mosaics: Sequence[Path] = (),
    size: int | None = None,
    images: Images | None = None,
) -> tuple[Path, CutoutStore | ImageColumn | None]:
    """Return a feature table of any table with a column of vectors, and its images if it has any.

    A file may be Parquet, Arrow or Feather; the feature table is written into `folder` if it is not one already.
    `vectors` and `ids` are the columns of the features and of the names of the sources, recognised if not given. Images
    may be a column of encoded files (FITS, PNG, JPEG, TIFF, NPY), also as Hugging Face `datasets` has them, of arrays,
    or of paths, relative to the table or the working folder. Else the sources are cut from FITS `mosaics` by their
    positions, with `size` pixels on a side (default: 1.5 times their extents), or they are `images`, as
    `radiossl.open_images` takes them, if those that the table knows have moved.

    Raises `RadiosslError` if there is no column of vectors, or more than one and none is chosen, or the table cannot be
    read.
    """
    if isinstance(source, (str, os.PathLike)) and not (vectors or ids or mosaics) and is_feature_table(Path(source)):
        file = FeatureFile(source)
        return Path(source), feature_cutouts(file.metadata, file.columns(["cutout_id", "file"]), images)
    if isinstance(source, FeatureTable):
        source.write(folder / "features.parquet")
        return folder / "features.parquet", feature_cutouts(source.metadata, source.columns, images)
    is_file = isinstance(source, (str, os.PathLike))
    name, beside = (Path(source).name, Path(source).parent) if is_file else ("table", Path())
    if is_file and Path(source).is_dir():
        if not is_feature_table(Path(source)):
            raise RadiosslError(
                f"{source}: is a folder without features; --vectors is of a table, leave it out of images"
            )
        table = pa.concat_tables(FeatureFile(source).tables()).replace_schema_metadata()
    else:
        table = arrow_table(source).replace_schema_metadata()
    vectors = _vector_column(table, name, vectors)
    if len(lengths := pc.unique(pc.list_value_length(table.column(vectors)).drop_null())) > 1:
        raise RadiosslError(f"{name}: column {vectors!r} has vectors of {lengths[0]} and of {lengths[1]} features")
    flat, names, catalogue = describe_rows(source, table, name, ids)
    if catalogue is not None:
        flat = _with(flat, {"ra_deg": pa.array(catalogue.ra_deg), "dec_deg": pa.array(catalogue.dec_deg)})
    flat = _with(flat, {"cutout_id": pa.array(names, pa.string()), FEATURES: table.column(vectors)})
    write_parquet(flat, folder / "features.parquet")
    if images is not None:
        return folder / "features.parquet", open_images(images)
    if not mosaics:
        return folder / "features.parquet", _image_column(table.drop_columns([vectors]), names, beside)
    if catalogue is None:
        raise RadiosslError(f"{name}: has no positions, so nothing can be cut from the mosaics (--mosaics)")
    return folder / "features.parquet", open_images(catalogue, list(mosaics), size=size)


def _vector_column(table: pa.Table, name: str, given: str | None) -> str:
    found = _vector_columns(table.schema)
    if given is not None:
        if given not in found:
            raise RadiosslError(f"--vectors {given}: no such column of vectors in {name}; {_listed(found)}")
        return given
    if FEATURES in found:
        return FEATURES
    if len(found) != 1:
        raise RadiosslError(f"{name}: one column of vectors was expected, {_listed(found)}; choose with --vectors")
    _log.warning("%s: column %r is taken for the features", name, found[0])
    return found[0]


def _vector_columns(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if is_list(field.type) and _is_number(field.type.value_type)]


def _listed(names: list[str]) -> str:
    return f"there are {', '.join(names)}" if names else "there is none"


def _image_column(table: pa.Table, ids: NDArray[Any], beside: Path) -> ImageColumn | None:
    """The first column that holds images, if any does."""
    readers = (_reader(table.column(name), beside) for name in table.column_names)
    return next((ImageColumn(ids, read) for read in readers if read is not None), None)


def _reader(column: pa.ChunkedArray, beside: Path) -> ImageReader | None:
    """What reads the images of a column, in it or in the files that it names; None if it has none."""
    if (read := image_reader(column)) is not None:
        return read
    first = column[0].as_py() if len(column) else None
    if not isinstance(first, str) or len(first) > _LONGEST_PATH or not Path(first).suffix:
        return None
    folder = next((folder for folder in (beside, Path()) if (folder / first).is_file()), None)
    return None if folder is None else lambda row: read_image(folder / column[row].as_py())


def _with(table: pa.Table, columns: dict[str, Any]) -> pa.Table:
    """A table with columns added or replaced."""
    kept = [name for name in table.column_names if name not in columns]
    return pa.table({name: table.column(name) for name in kept} | columns)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
