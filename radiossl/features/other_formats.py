"""Tables as FITS, VOTable and CSV, so that every value that is read back is the one that was there.

FITS knows fewer values than Arrow and Parquet do:

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
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radiossl.io.files import PathLike, atomic_file

_LONGEST_NAME = 68
_SIGNED = {"u1": np.int16, "u2": np.int32, "u4": np.int64, "i1": np.int16}


def write_astropy(
    columns: pa.Table,
    path: PathLike,
    form: Literal["fits", "votable"],
    vectors: Mapping[str, NDArray[Any]] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write columns of scalars, and of vectors (n, length), for TOPCAT, astropy and their kind, atomically.

    Metadata go as JSON into the header, under RADIOSSL.
    """
    from astropy.table import Column, MaskedColumn, Table

    names = fits_names(columns.column_names) if form == "fits" else columns.column_names
    made = Table()
    for name, own in zip(names, columns.column_names, strict=True):
        values, missing = _values(columns.column(own), ascii_only=form == "fits")
        kind: Any = MaskedColumn(values, mask=missing) if missing.any() else Column(values)
        if missing.any() and values.dtype.kind in "iu":
            kind.fill_value = unused_value(values, missing)
        made[name] = kind
    for name, array in (vectors or {}).items():
        made[name] = array
    if metadata is not None:
        made.meta["RADIOSSL"] = json.dumps(metadata)
    changed = [(name, own) for name, own in zip(names, columns.column_names, strict=True) if name != own]
    if changed:
        made.meta["comments"] = [f"column {name} is called {escaped(own)}" for name, own in changed]
    with atomic_file(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keywords longer than a FITS card's
        options: dict[str, Any] = {} if form == "fits" else {"tabledata_format": "binary2"}
        made.write(temporary, format=form, overwrite=True, **options)


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
    """Return the lowest number that a column of whole numbers does not hold, to stand for its missing ones."""
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
        text = name.translate(_LETTERS)
        text = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
        text = "".join(letter if " " <= letter <= "~" else f"x{ord(letter):x}" for letter in text).strip()
        base = text or f"column_{number}"
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
