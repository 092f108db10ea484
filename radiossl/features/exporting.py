"""Feature tables for other programs, as files.

FITS has fewer types than Arrow and Parquet; so that every value is read back as it was:

- A missing whole number needs a number that stands for it (TNULL): one that the column does not hold. Unsigned numbers
  and truth values with gaps are written in the next larger signed type (true is 1).
- Texts are ASCII: other letters become backslash escapes as in Python (``Mädler`` is ``M\\xe4dler``). In the names of
  columns accents are dropped and µ becomes u; every name that had to change is given in a COMMENT of the header.
- Names of columns have at most 68 characters and differ by more than upper and lower case.

VOTable takes all letters, but no unsigned numbers beyond 8 bits: they become larger signed ones there too.
"""

from __future__ import annotations

import itertools
import json
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radiossl.datasets.image_files import ImageFiles
from radiossl.datasets.image_sources import Images, open_images
from radiossl.features.feature_file import FeatureFile, feature_images
from radiossl.features.hats import write_hats
from radiossl.features.table import FEATURES, FeatureTable, vector_column
from radiossl.io.csv_cells import guarded_frame
from radiossl.io.errors import RadiosslError, check_choice
from radiossl.io.files import PathLike, atomic_file
from radiossl.io.locks import only_writer
from radiossl.io.parquet import parquet_writer
from radiossl.io.progress import track
from radiossl.io.replacing import check_replaceable
from radiossl.store.pictures import png_thumbnail
from radiossl.store.store import CutoutStore

if TYPE_CHECKING:
    from astropy.table import Table as AstropyTable

    AnyTable: TypeAlias = FeatureTable | pd.DataFrame | pa.Table | AstropyTable

_LONGEST_NAME = 68
_SIGNED = {"u1": np.int16, "u2": np.int32, "u4": np.int64, "i1": np.int16}


def write_astropy(
    columns: pa.Table,
    path: PathLike,
    form: Literal["fits", "votable"],
    vectors: Mapping[str, NDArray[Any]] | None = None,
    metadata: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
) -> None:
    """Write columns of scalars, and of vectors (n, length), for TOPCAT, astropy and their kind, atomically.

    Metadata go as JSON into the header, under RADIOSSL; `units` are those of columns by name.
    """
    made = astropy_table(columns, form)
    for name, array in (vectors or {}).items():
        made[name] = array
    for name, unit in (units or {}).items():
        made[name].unit = unit
    if metadata is not None:
        made.meta["RADIOSSL"] = json.dumps(metadata)
    with atomic_file(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keywords longer than a FITS card's
        options: dict[str, Any] = {} if form == "fits" else {"tabledata_format": "binary2"}
        made.write(temporary, format=form, overwrite=True, **options)


def astropy_table(columns: pa.Table, form: Literal["fits", "votable"]) -> AstropyTable:
    """The columns as a table of astropy that can be written in such a file."""
    from astropy.table import Column, MaskedColumn, Table

    names = fits_names(columns.column_names) if form == "fits" else columns.column_names
    made = Table()
    for name, own in zip(names, columns.column_names, strict=True):
        values, missing = _values(columns.column(own), ascii_only=form == "fits")
        kind: Any = MaskedColumn(values, mask=missing) if missing.any() else Column(values)
        if missing.any() and values.dtype.kind in "iu":
            kind.fill_value = unused_value(values, missing)
        made[name] = kind
    changed = [(name, own) for name, own in zip(names, columns.column_names, strict=True) if name != own]
    if changed:
        made.meta["comments"] = [f"column {name} is called {escaped(own)}" for name, own in changed]
    return made


def _values(column: pa.ChunkedArray, ascii_only: bool) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The values of a column in a type that both formats have, and which are missing."""
    kind = column.type
    missing = column.is_null().to_numpy()
    if pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        column, kind = column.cast(pa.float64() if pa.types.is_decimal(kind) else pa.float32()), pa.float64()
    if pa.types.is_floating(kind):  # NaN is the missing number of both formats
        return column.to_numpy(), np.zeros(len(column), bool)
    if pa.types.is_boolean(kind):
        values = column.fill_null(False).to_numpy().astype(bool)
        return (values.astype(np.int16) if missing.any() else values), missing
    if pa.types.is_integer(kind):
        values = column.fill_null(0).to_numpy()
        if values.dtype == np.uint64:
            fits = not values.size or values.max() <= np.iinfo(np.int64).max
            return (values.astype(np.int64), missing) if fits else (_texts(column, ascii_only), missing)
        small = values.dtype.str[1:]
        unsigned_byte = small == "u1" and not missing.any()
        return (values if unsigned_byte or small not in _SIGNED else values.astype(_SIGNED[small])), missing
    return _texts(column, ascii_only), missing


def _texts(column: pa.ChunkedArray, ascii_only: bool) -> NDArray[Any]:
    if pa.types.is_temporal(column.type):
        column = pc.cast(column, pa.string())
    texts = [_text(value) for value in column.to_pylist()]
    return np.array([escaped(text) for text in texts] if ascii_only else texts, dtype=str)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def unused_value(values: NDArray[np.integer], missing: NDArray[np.bool_]) -> int:
    """Return the lowest number that a column of whole numbers does not hold, used for its missing values."""
    held = set(values[~missing].tolist())
    return next(number for number in itertools.count(int(np.iinfo(values.dtype).min)) if number not in held)


def escaped(text: str) -> str:
    """Return a text in ASCII, other letters as backslash escapes; `unescaped` undoes it.

    >>> escaped("Mädler 5 µJy")
    'M\\\\xe4dler 5 \\\\xb5Jy'
    """
    return text.encode("ascii", "backslashreplace").decode("ascii")


def fits_names(names: Sequence[str]) -> list[str]:
    """Return names of columns that FITS can hold, all different.

    >>> fits_names(["µJy", "Größe", "flux", "Flux", "太"])
    ['uJy', 'Grosse', 'flux', 'Flux_2', 'x592a']
    """
    taken: set[str] = set()
    found = []
    for number, name in enumerate(names, 1):
        letters = [
            one for one in unicodedata.normalize("NFKD", name.translate(_LETTERS)) if not unicodedata.combining(one)
        ]
        base = "".join(one if " " <= one <= "~" else f"x{ord(one):x}" for one in letters).strip() or f"column_{number}"
        text, again = base[:_LONGEST_NAME], 1
        while text.lower() in taken:
            again += 1
            text = f"{base[: _LONGEST_NAME - len(str(again)) - 1]}_{again}"
        taken.add(text.lower())
        found.append(text)
    return found


_LETTERS = str.maketrans(
    {"µ": "u", "μ": "u", "ß": "ss", "°": "deg", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "ł": "l"}
)


Format = Literal["fits", "votable", "csv", "hats", "embedding-atlas", "spotlight"]
#: The column of features, as CSV, FITS and VOTable name it within so many bytes.
_OF_FEATURES = r"\bfeature_0\b|= 'features *'|name=\"features\""
#: The same in the schema of Parquet, behind the column of pictures.
_OF_PICTURES = "image.{0,200}features"
#: Endings of files for other programs, and what is in them.
ENDINGS: Mapping[str, Format] = {".fits": "fits", ".vot": "votable", ".xml": "votable", ".csv": "csv"}
#: Side of the pictures beside the features, in pixels.
_PICTURE_SIDE = 128


def check_no_other_file(out: Path, form: Format) -> None:
    """Raise `RadiosslError` where something else than an earlier table of features is, such as an image."""
    with_pictures = form in ("embedding-atlas", "spotlight")
    check_replaceable(out, _OF_PICTURES if with_pictures else _OF_FEATURES, "table of features")


def export_table(
    features: PathLike,
    out: PathLike,
    form: Format,
    images: Images | None = None,
    margin_arcsec: float = 0.0,
    with_images: bool = False,
) -> int:
    """Write a feature table in another format.

    Parameters
    ----------
    features
        Parquet file, or folder of such, from `radiossl embed`.
    out
        FITS, VOTable or CSV file to write, or the folder of a HATS catalogue (see `write_hats`).
    form
        ``fits`` or ``votable``: all columns, the features as a column of vectors; the table is read into memory.
        ``csv``: all columns, then feature_0, feature_1 and so on. ``hats``: partitioned by position.
        ``embedding-atlas`` and ``spotlight``: Parquet with a column ``image`` of PNG pictures beside the features.
    images
        Those pictures' pixels, if the images that the features were made of have moved.
    margin_arcsec, with_images
        Of a HATS catalogue: a margin cache so wide, and a column of images; see `write_hats`.

    Returns
    -------
    int
        How many rows were left out: those without a position in a HATS catalogue.

    Raises
    ------
    RadiosslError
        If the table cannot be read, `form` is unknown, or `out` cannot be written.
    """
    check_choice("--format", form, Format)
    out = Path(out)
    if out.resolve() == Path(features).resolve():
        raise RadiosslError(f"{out}: is the table that is read; choose another --out")
    with only_writer(out):
        if form == "hats":
            table = FeatureFile(features)
            cutouts = open_images(_images_of(table, images)) if with_images else None
            return write_hats(table, out, margin_arcsec, cutouts)
        if margin_arcsec or with_images:
            raise RadiosslError(f"--margin and --images are for HATS catalogues, not for {form}")
        check_no_other_file(out, form)
        if form == "csv":
            _write_csv(FeatureFile(features), out)
        elif form == "embedding-atlas" or form == "spotlight":
            _write_with_pictures(FeatureFile(features), out, form, images)
        else:
            whole = FeatureTable.read(features)
            write_astropy(whole.columns, out, form, {FEATURES: whole.features}, whole.metadata)
    return 0


def _write_csv(features: FeatureFile, out: Path) -> None:
    """Write the columns, then the features as feature_0, feature_1 and so on, batch by batch."""
    names = [f"feature_{number}" for number in range(features.dimension)]
    with atomic_file(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        batches = track(features.batches_with_columns(), "writing", total=features.batch_count)
        for number, (columns, vectors) in enumerate(batches):
            frame = columns.to_pandas(types_mapper=pd.ArrowDtype)
            whole = pd.concat([frame, pd.DataFrame(vectors, columns=names)], axis=1)
            guarded_frame(whole).to_csv(stream, index=False, header=number == 0)


def _write_with_pictures(features: FeatureFile, out: Path, form: str, images: Images | None) -> None:
    """Write Parquet with pictures: bytes for Spotlight, for Embedding Atlas as Hugging Face stores images."""
    found = _images_of(features, images)
    kind = pa.binary() if form == "spotlight" else pa.struct({"bytes": pa.binary(), "path": pa.string()})
    vectors = pa.list_(pa.float32(), features.dimension)
    schema = features.schema.append(pa.field("image", kind)).append(pa.field(FEATURES, vectors))
    with atomic_file(out) as temporary, parquet_writer(temporary, schema) as writer:
        for columns, values in track(features.batches_with_columns(), "writing", total=features.batch_count):
            names = [name for name in ("ra_deg", "dec_deg") if name in columns.column_names]
            ids, *place = (columns.column(name).to_pylist() for name in ("cutout_id", *names))
            cutouts = found.select_ids(ids, *(np.array(column, float) for column in place))
            pictures = [png_thumbnail(cutouts.pixels(row), _PICTURE_SIDE) for row in range(len(cutouts))]
            shown = pictures if form == "spotlight" else [{"bytes": picture, "path": None} for picture in pictures]
            table = columns.append_column("image", pa.array(shown, kind))
            writer.write_table(table.append_column(FEATURES, vector_column(values)).cast(schema))


def _images_of(features: FeatureFile, images: Images | None) -> CutoutStore | ImageFiles:
    found = feature_images(features.metadata, features.columns(["cutout_id", "file"]), images)
    if found is None:
        raise RadiosslError(f"{features.path}: the images that it was made of are gone; give them with --store")
    return found
