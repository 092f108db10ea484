"""Names, labels and numbers in the columns of tables: one reading of text and of missing values for all commands."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError

#: How tables spell a missing number.
MISSING_NUMBERS = (
    *("", "nan", "NaN", "NAN", "-nan", "-NaN", "NA", "#NA", "n/a", "N/A", "#N/A", "#N/A N/A", "null", "NULL", "Null"),
    *("None", "none", "<NA>", "\\N", "-", "--", "---", "masked", "1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND"),
)
#: Texts that programs write for a missing value and that are not used as names.
_MISSING_TEXTS = frozenset(("", "nan", "NaN", "NaT", "<NA>", "--"))
#: What is taken off both ends of a text: white space and invisible characters.
_AROUND = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\0\u200b\u2060\ufeff"
_WHOLE = r"^[+-]?[0-9]+$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eEdD][+-]?[0-9]+)?$|^[+-]?(inf|Inf|INF|Infinity|infinity)$"
#: Looks like a number but is a source's name: 00123, 1E0657.
_LEADING_ZERO = r"^[+-]?0[0-9]+$"
_NAME_LIKE = r"[eE]0[0-9]{2,}$|^[+-]?[0-9]{17,}$"
_TRUTH = r"^(true|false|True|False|TRUE|FALSE)$"
_SAMPLE = 200
#: Above this some whole numbers have no float of their own.
_LARGEST_WHOLE = 2.0**53


def as_text(value: Any) -> str | None:
    """Return a name or label as text, None where it is missing.

    White space around it does not count, equal letters are equal however Unicode composes them (NFC), bytes are
    decoded, and whole numbers that a missing neighbour turned into floats are written without their ".0". Raises
    `RadiosslError` if a float is beyond the whole numbers that floats can hold: its last digits are lost.

    Examples
    --------
    >>> as_text(" FRI "), as_text(b"FRI"), as_text(2.0), as_text(float("nan")), as_text("")
    ('FRI', 'FRI', '2', None, None)
    """
    if value is None or value is np.ma.masked:
        return None
    if isinstance(value, bytes):
        value = decoded(value)
    if not isinstance(value, str):
        if str(value) in _MISSING_TEXTS:  # NaN, NaT, pandas' NA
            return None
        whole = isinstance(value, (float, np.floating, Decimal)) and float(value).is_integer()
        if whole and abs(value) >= _LARGEST_WHOLE and not isinstance(value, Decimal):
            what = "was stored as a floating-point number, which cannot hold all of its digits"
            raise RadiosslError(f"name {float(value):.0f}: {what}; store names as text or whole numbers")
        return str(int(value)) if whole else str(value)
    text = unicodedata.normalize("NFC", value).strip(_AROUND)
    return None if text in _MISSING_TEXTS else text


def as_texts(values: Iterable[Any] | pa.Array | pa.ChunkedArray) -> NDArray[np.object_]:
    """Return names or labels, a column of any kind, as `as_text` does, shape (n,), dtype object."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            column = clean_texts(pa.chunked_array([values]) if isinstance(values, pa.Array) else values)
            missing = pc.is_in(column, pa.array(sorted(_MISSING_TEXTS), column.type))
            return np.array(pc.if_else(missing, pa.scalar(None, column.type), column).to_pylist() or [], dtype=object)
        values = values.to_pylist()
    elif isinstance(values, np.ma.MaskedArray):
        hidden = np.ma.getmaskarray(values)
        values = [None if missing else value for value, missing in zip(values.data, hidden, strict=True)]
    known: dict[tuple[type, Any], str | None] = {}
    result = []
    for value in values:
        key = (type(value), value)
        try:
            if key not in known:
                known[key] = as_text(value)
            result.append(known[key])
        except TypeError:  # pandas' NA, which is neither equal nor unequal to anything
            result.append(as_text(value) if isinstance(value, (str, bytes)) else None)
    return np.array([*result, None], dtype=object)[:-1]  # with None: of no result an array of objects, too


def unique_names(names: Iterable[str]) -> list[str]:
    """Number the repetitions among names, so that they are all different.

    Examples
    --------
    >>> unique_names(["a", "b", "a"])
    ['a', 'b', 'a_2']
    """
    given = list(names)
    taken, seen = set(given), Counter[str]()
    result = []
    for name in given:
        seen[name] += 1
        new, count = name, seen[name]
        while count > 1 and new in taken:
            new, count = f"{name}_{count}", count + 1
        taken.add(new)
        result.append(new)
    return result


def decoded(text: bytes) -> str:
    """Return text in UTF-8, or else in Latin-1, in which every byte is a letter."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def clean_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of strings without white space around them, in one Unicode form (NFC), null where empty."""
    if not pc.all(pc.string_is_ascii(column), min_count=0).as_py():
        # Not by pc.utf8_normalize, which decomposes instead of composing in pyarrow before version 26.
        texts = [text if text is None else unicodedata.normalize("NFC", text) for text in column.to_pylist()]
        column = pa.chunked_array([pa.array(texts, column.type)])
    trimmed = pc.utf8_trim(column, _AROUND)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, trimmed.type), trimmed)


def typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of strings as numbers or truth values if it holds nothing else, else as it is.

    What would not be the same again stays text: ``00123``, ``1E0657``, whole numbers of more than 18 digits.

    Examples
    --------
    >>> import pyarrow as pa
    >>> [str(typed(pa.chunked_array([texts])).type) for texts in (["1", "NA"], ["1.5", "2"], ["007", "12"], ["NA"])]
    ['int64', 'double', 'string', 'string']
    """
    values = _without_missing(column)
    present = values.drop_null()
    sample = present.slice(0, _SAMPLE)  # most columns of text show what they are at once
    if len(present) == 0 or not (_all(sample, _NUMBER) or _all(sample, _TRUTH)):
        return column
    if _all(sample, _TRUTH):
        return pc.equal(pc.utf8_lower(values), "true") if _all(present, _TRUTH) else column
    try:
        found = values.cast(pa.int64())
    except pa.ArrowInvalid:
        pass
    else:
        # The first letter is quicker to look at than a pattern.
        signed = pc.or_(pc.starts_with(present, "-"), pc.starts_with(present, "+"))
        return column if _any(present.filter(pc.or_(pc.starts_with(present, "0"), signed)), _LEADING_ZERO) else found
    if _all(sample, _WHOLE) and _all(present, _WHOLE):  # with a plus sign, or beyond 64 bits: the name of something
        try:
            unsigned = pc.replace_substring_regex(values, r"^\+", "")
            return column if _any(present, _LEADING_ZERO) else unsigned.cast(pa.int64())
        except pa.ArrowInvalid:
            return column
    try:
        found = _floats(values)
    except pa.ArrowInvalid:
        return column
    names = present.filter(pc.invert(pc.match_substring(present, ".")))  # with a point it is a number
    exponents = present.filter(pc.match_substring(present, "e", ignore_case=True))
    if _any(names, _LEADING_ZERO) and len(names) == len(present):
        return column
    if _any(names, _NAME_LIKE) or _any(exponents, _NAME_LIKE):
        return column
    infinite = values.filter(pc.is_inf(found))
    return column if len(infinite) and not _all(infinite, "(?i)inf") else found


def numbers(column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """Return a column as float64, NaN where missing; text too, if it holds only numbers; None if it does not."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        return np.array(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return None
    try:
        return np.array(_floats(_without_missing(clean_texts(column))).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pa.ArrowInvalid:
        return None


def warn_of_marker(values: NDArray[np.floating], column: str, remedy: str) -> None:
    """Warn if a number of nines, such as -999 or 99.99, occurs again and again in a column, far from all others.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as seen:
    ...     warn_of_marker(np.array([17.1, -9999, 18.2, -9999, 19.5]), "u", "give --missing {}")
    >>> str(seen[0].message)
    "column 'u': -9999 occurs 2 times, far from all other values; if it means not measured, give --missing -9999"
    """
    known = values[np.isfinite(values)]
    for found in {known.min(), known.max()} if len(known) else ():
        others = known[known != found]
        count = len(known) - len(others)
        if count < 2 or not len(others) or not re.fullmatch(r"-?99+|-?9+\.9+", f"{found:g}"):
            continue
        if np.abs(others - found).min() > 3 * np.ptp(np.percentile(others, (1, 99))):
            text = f"column {column!r}: {found:g} occurs {count} times, far from all other values"
            warnings.warn(f"{text}; if it means not measured, {remedy.format(f'{found:g}')}", stacklevel=3)


def _without_missing(column: pa.ChunkedArray) -> pa.ChunkedArray:
    missing = pc.is_in(column, pa.array(MISSING_NUMBERS, column.type))
    return pc.if_else(missing, pa.scalar(None, column.type), column)


def _floats(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return numbers, also as Fortran writes them (1D-3)."""
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        return pc.replace_substring_regex(column, "^([+-]?[0-9.]+)[dD]", r"\1e").cast(pa.float64())


def _all(column: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(column, pattern), min_count=0).as_py())


def _any(column: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(column, pattern), min_count=0).as_py())
