"""Images in a column of a table: arrays of any sizes, nested lists, or files as Hugging Face `datasets` has them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radiossl.datasets.image_files import FolderOptions, sky_facts
from radiossl.io.errors import RadiosslError
from radiossl.io.parquet import open_parquet
from radiossl.io.progress import track
from radiossl.io.tables import ENDINGS, arrow_table, is_table, table_content
from radiossl.store.cutout import Cutout
from radiossl.store.store import CutoutStore
from radiossl.survey.catalogue import Catalogue, read_catalogue, unique_ids, without_clashes
from radiossl.survey.catalogue.columns import find_id, has_position
from radiossl.survey.image_file import image_of_array, read_image
from radiossl.survey.received import is_image, saved_upload, temporary_folder

#: Returns the image of a row, or raises `RadiosslError`.
ImageReader = Callable[[int], NDArray[np.float32]]
_log = logging.getLogger(__name__)


class Rows(NamedTuple):
    """What a table of any origin says of its rows."""

    #: Its columns of one value each.
    columns: pa.Table
    #: A unique name for each row, shape (n,).
    ids: NDArray[Any]
    #: The same with positions; None if there are none.
    catalogue: Catalogue | None


def describe_rows(source: Any, table: pa.Table, name: str, ids: str | None = None) -> Rows:
    """Find names and positions of a table's rows; `table` is the `source`, with all its columns.

    `ids` is the column of the names, recognised if not given; rows without a name are numbered, or named after their
    positions. Raises `RadiosslError`, which begins with the `name` of the table.
    """
    nested = [field.name for field in table.schema if pa.types.is_nested(field.type) or is_bytes(field.type)]
    flat = table.drop_columns(nested)
    described: Any = flat
    if hasattr(source, "colnames"):  # an astropy table, which has units
        described = cast(Any, source)[[column for column in source.colnames if column not in nested]]
    content = table_content(described) if flat.num_columns else None
    ids = ids or ("cutout_id" if "cutout_id" in flat.column_names else None)
    if content is not None and has_position(content):
        try:
            catalogue = read_catalogue(described, id=ids)
        except RadiosslError as error:  # which calls what has no file a table
            raise RadiosslError(f"{name}: {str(error).removeprefix('table: ')}") from None
        for note in catalogue.notes:
            _log.warning("%s: %s", name, note)
        return Rows(flat, catalogue.ids, catalogue)
    chosen = None if content is None else find_id(name, content, ids, None)
    names = [None] * len(table) if chosen is None else flat.column(chosen).to_pylist()
    return Rows(flat, unique_ids(str(row if one is None else one) for row, one in enumerate(names, 1))[0], None)


def images_of_table(source: Any, options: FolderOptions | None = None, ids: str | None = None) -> CutoutStore | None:
    """Return the images in a column of a table with its other columns, names and positions.

    The table is a pandas, polars, Arrow or astropy one, or a Parquet, Arrow or Feather file; None if it is something
    else, or holds no images. `ids` is the column of the names. Raises `RadiosslError` if a row has no readable image.
    """
    options = options or FolderOptions()
    is_file = isinstance(source, (str, os.PathLike))
    if options.file_column is not None or not (_may_hold_images(Path(source)) if is_file else is_table(source)):
        return None
    name, table = Path(source).name if is_file else "table", arrow_table(source).replace_schema_metadata()
    readers = {column: image_reader(table.column(column)) for column in table.column_names}
    found = {column: read for column, read in readers.items() if read is not None}
    if not found:
        return None
    column, read = next(iter(found.items()))
    if len(found) > 1:
        _log.warning("%s: column %r is taken for the images, not %s", name, column, ", ".join(list(found)[1:]))
    rows = describe_rows(source, table, name, ids)
    further = without_clashes(rows.columns) if rows.catalogue is None else rows.catalogue.columns
    unit = str(getattr(source[column], "unit", None) or "") if hasattr(source, "colnames") else ""

    def cutouts() -> Iterator[Cutout]:
        for row, known in enumerate(further.to_pylist()):
            where = f"{name}: {column} of row {row + 1} ({rows.ids[row]})"
            try:
                pixels = read(row)
            except RadiosslError as error:
                raise RadiosslError(f"{where}: {error}") from None
            if not np.isfinite(pixels).any():
                raise RadiosslError(f"{where}: every pixel is blank")
            if rows.catalogue is not None:
                place = {"ra_deg": float(rows.catalogue.ra_deg[row]), "dec_deg": float(rows.catalogue.dec_deg[row])}
                known = known | place
            facts = sky_facts(Path(), known, options)
            extra = {key: known[key] for key in further.column_names}
            yield Cutout.whole_image(rows.ids[row], pixels, "", extra=extra, **facts | ({"unit": unit} if unit else {}))

    return CutoutStore.from_cutouts(track(cutouts(), "reading images", total=len(table)), further.schema)


def _may_hold_images(path: Path) -> bool:
    """Return whether a file is a table with columns of several values, or of bytes."""
    if not path.is_file() or not path.name.lower().endswith((*ENDINGS["parquet"], *ENDINGS["arrow"])):
        return False
    in_parquet = path.name.lower().endswith(ENDINGS["parquet"])
    schema = open_parquet(path).schema_arrow if in_parquet else arrow_table(path).schema
    return any(pa.types.is_nested(kind) or is_bytes(kind) for kind in schema.types)


def image_reader(column: pa.ChunkedArray) -> ImageReader | None:
    """Return what reads the images of a column of arrays or of encoded files; None if it holds none."""
    kind = column.type
    if is_list(kind) and is_list(kind.value_type) and _of_numbers(kind):
        return lambda row: _array(column[row])
    if not is_bytes(kind) and not (pa.types.is_struct(kind) and "bytes" in {part.name for part in kind}):
        return None
    values = (_bytes_of(value.as_py()) for value in column)
    first = next((value for value in values if value is not None), None)
    return (lambda row: _decoded(_bytes_of(column[row].as_py()))) if first is not None and is_image(first) else None


def _array(value: Any) -> NDArray[np.float32]:
    if not value.is_valid:
        raise RadiosslError("no image")
    return image_of_array(_nested(value.values))


def _of_numbers(kind: pa.DataType) -> bool:
    inner = kind.value_type
    return _of_numbers(inner) if is_list(inner) else pa.types.is_integer(inner) or pa.types.is_floating(inner)


def _nested(values: pa.Array) -> NDArray[Any]:
    """Lists of one length, of lists of one length and so on, as an array; what is null becomes NaN."""
    if not is_list(values.type):
        return values.to_numpy(zero_copy_only=False)
    lengths = pc.unique(pc.list_value_length(values)).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise RadiosslError("rows of different lengths, or of none: expected the numbers of one image")
    inner = _nested(values.flatten())
    return inner.reshape(len(values), lengths[0], *inner.shape[1:])


def _bytes_of(value: Any) -> bytes | None:
    return value["bytes"] if isinstance(value, dict) else value


def _decoded(data: bytes | None) -> NDArray[np.float32]:
    """The pixels of a file in a table; what it unpacks to is limited as for an upload."""
    if data is None:
        raise RadiosslError("no image")
    with temporary_folder() as folder:
        return read_image(saved_upload(data, folder))


def is_list(kind: pa.DataType) -> bool:
    """Return whether a column holds lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether a column holds bytes."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
