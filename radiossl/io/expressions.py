"""Conditions over the columns of a table, such as ``las_arcsec > 20 and rms < 2e-4``, in a language that runs nothing.

An expression is parsed, checked against a list of what is allowed, and only then evaluated, column by column.
It consists of

- names of columns (in backticks where a name has blanks or signs), numbers, texts in quotes, True, False, null;
- comparisons ``== != < <= > >=``, chained ones too, ``in`` and ``not in`` with a list, ``is null``, ``is not null``
  (or ``x.isnull()``, ``x.notnull()``);
- ``and or not`` (or ``& | ~``), and ``+ - * / // % **`` of numbers.

Nothing can be called, and no attribute or element be taken: files of settings and recipes hold expressions.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import keyword
import operator
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError, reason_of

if TYPE_CHECKING:
    import pandas as pd

#: What an expression may be at most; the longest that people have written have some hundred characters.
_MOST_CHARACTERS, _DEEPEST = 10_000, 60

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    # Of floats: powers of whole numbers grow without limit.
    ast.Pow: lambda base, exponent: base.astype(np.float64) ** exponent.astype(np.float64),
}
_NULL_TESTS = {"isnull": True, "isna": True, "notnull": False, "notna": False}
_WORDS = {"and", "or", "not", "in", "is", "True", "False", "None"}
_NULL_NAMES = {"null", "NULL"}
#: What is renamed in an expression; texts in quotes and comments stay as they are.
_PIECES = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\#.*)|`(?P<name>[^`]*)`|(?P<open>['"`])|(?P<sign>[&|])"""
    r"""|(?<![\w.])(?P<word>[^\W\d]\w*)"""
)
_NOT_CLOSED = "invalid syntax: a bracket or quote is not closed"
#: What is refused, in words.
_KINDS: dict[type[ast.AST], str] = {
    ast.Call: "a call",
    ast.Attribute: "an attribute",
    ast.Subscript: "an element in brackets",
    ast.Lambda: "a function",
    ast.NamedExpr: "an assignment",
}


class Columns(Protocol):
    """A table whose columns are read as they are needed: a `pyarrow.Table`, or one on disk."""

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""

    def column(self, name: str) -> Any:
        """Return a column as a `pyarrow.ChunkedArray`."""


class _Refused(Exception):
    """What is wrong with an expression, to be said with the expression before it."""


def rows_where(table: Columns, expression: str) -> NDArray[np.bool_]:
    """Return for which rows of a table an expression holds, shape (n,); only the columns that it names are read.

    A comparison with a missing value is false, but for ``!=``, which is true. A missing truth value does not hold, nor
    does ``not`` of it. Raises `RadiosslError` if the expression is not one of this language (see the top of this
    module), names an unknown column, compares text with numbers, or is not true or false for every row.

    Examples
    --------
    >>> import pyarrow as pa
    >>> table = pa.table({"flux": [1.0, 3.0, None], "label": ["FRI", "FRII", None]})
    >>> rows_where(table, "flux > 2 or label == 'FRI'").tolist()
    [True, True, False]
    >>> rows_where(table, "label is null").tolist()
    [False, False, True]
    """
    names = list(table.column_names)
    try:
        tree, meant = _parse(expression, names)
        columns = {key: _series(table.column(name)).rename(name) for key, name in meant.items()}
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            return _mask(_value(tree, columns))
    except (_Refused, TypeError, ValueError, ArithmeticError, NotImplementedError) as error:  # of numpy and pandas, too
        reason = reason_of(error)
    shown = expression if len(expression) <= 200 else f"{expression[:199]}…"
    raise RadiosslError(f"--where {shown!r}: {reason}; columns are {', '.join(names)}")


def quote_name(column: str) -> str:
    """Return the name of a column as it is written in an expression."""
    return column if column.isidentifier() and not keyword.iskeyword(column) else f"`{column}`"


# Parsing --------------------------------------------------------------------------------------------------------------


def _parse(expression: str, columns: Sequence[str]) -> tuple[ast.expr, dict[str, str]]:
    """Return the tree of an expression, in which columns have names of our own, and the columns by these names."""
    if len(expression) > _MOST_CHARACTERS:
        raise _Refused(f"longer than {_MOST_CHARACTERS:,} characters")
    try:
        text, meant = _with_own_names(expression, columns)
        return ast.parse(text.strip(), mode="eval").body, meant
    except SyntaxError as error:
        reason = error.msg if error.msg == "invalid syntax" else f"invalid syntax ({error.msg[:80]})"
        raise _Refused(_NOT_CLOSED if "never closed" in error.msg else reason) from None
    except (ValueError, MemoryError, RecursionError):  # null characters, depth
        raise _Refused("invalid syntax: not readable, or too deeply nested") from None


def _with_own_names(expression: str, columns: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Rename columns, so that any name can be used, and give `&` and `|` the rank of words, as pandas does."""
    prefix = "_column_"
    while any(name.startswith(prefix) for name in columns):
        prefix += "_"
    numbers = {name: number for number, name in enumerate(columns)}
    meant: dict[str, str] = {}

    def piece(found: re.Match[str]) -> str:
        kind, text = found.lastgroup, found[0]
        if kind == "open":
            raise _Refused(_NOT_CLOSED)
        if kind == "sign":
            return " and " if text == "&" else " or "
        if kind == "text" or (kind == "word" and (text in _WORDS or (text in _NULL_NAMES and text not in numbers))):
            return text
        name = found["name"] if kind == "name" else text
        if name not in numbers:
            raise _Refused(f"name {name!r} is not defined")
        key = f"{prefix}{numbers[name]}"
        meant[key] = name
        return f" {key} "

    return _PIECES.sub(piece, re.sub(r"[\r\n]+", " ", expression)), meant


# Evaluation -----------------------------------------------------------------------------------------------------------


def _series(column: Any) -> pd.Series:
    """Return a column of Arrow as numpy has it; decimal numbers as floats, with which they can be compared."""
    import pyarrow as pa

    return (column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column).to_pandas()


def _value(node: ast.AST, columns: Mapping[str, pd.Series], depth: int = 0) -> Any:
    """Return the value of a node: a `pandas.Series`, or a single value as numpy has them, which cannot grow."""
    if depth > _DEEPEST:
        raise _Refused("too deeply nested")

    def inner(part: ast.AST) -> Any:
        return _value(part, columns, depth + 1)

    match node:
        case ast.Name(id=key) if key in columns:
            return columns[key]
        case ast.Name(id=key) if key in _NULL_NAMES:
            return None
        case ast.Constant(value=value):
            return _constant(value)
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            return list(map(inner, elements))
        case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
            return ~_truth(inner(operand))
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            number = _number(inner(operand))
            return number if isinstance(sign, ast.UAdd) else -number
        case ast.BoolOp(op=junction, values=parts):
            join = operator.and_ if isinstance(junction, ast.And) else operator.or_
            return functools.reduce(join, [_truth(inner(part)) for part in parts])
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _ARITHMETIC:
            return _ARITHMETIC[type(sign)](_number(inner(left)), _number(inner(right)))
        case ast.Compare(left=left, ops=signs, comparators=others):
            pairs = pairwise(map(inner, (left, *others)))
            return functools.reduce(
                operator.and_, [_compared(*pair, sign) for pair, sign in zip(pairs, signs, strict=True)]
            )
        case ast.Call(func=ast.Attribute(value=of, attr=name), args=[], keywords=[]) if name in _NULL_TESTS:
            return _is_null(inner(of)) == _NULL_TESTS[name]
    raise _Refused(f"{_KINDS.get(type(node), type(node).__name__)} is not allowed in an expression")


def _compared(left: Any, right: Any, sign: ast.cmpop) -> Any:
    """Return the truth values of one comparison."""
    if isinstance(left, list):
        raise _Refused("a list goes on the right of 'in', after what is looked for")
    if isinstance(sign, ast.Is | ast.IsNot):
        if right is not None:
            raise _Refused("'is' goes with null only: x is null, x is not null; otherwise use ==")
        return _is_null(left) == isinstance(sign, ast.Is)
    if isinstance(right, list):  # as in pandas, x == [1, 2] is x in [1, 2]
        if isinstance(sign, ast.In | ast.Eq):
            return _within(left, right)
        if isinstance(sign, ast.NotIn | ast.NotEq):
            return ~_within(left, right)
    if type(sign) not in _COMPARISONS:
        raise _Refused("'in' goes with a list in brackets, such as ['FRI', 'FRII']")
    if left is None or right is None:
        raise _Refused("nothing is equal to null: use x is null, x is not null")
    _check_kinds(left, right)
    return _compare(_COMPARISONS[type(sign)], left, right)


def _within(left: Any, right: list[Any]) -> Any:
    import pandas as pd

    for one in right:
        if np.ndim(one):
            raise _Refused("the list after 'in' holds numbers and texts only")
        _check_kinds(left, one)
    return pd.Series(left).isin([_plain(one) for one in right]) if np.ndim(left) else _plain(left) in right


def _check_kinds(left: Any, right: Any) -> None:
    """Refuse a comparison of text with numbers, which would only be false for every row."""
    kinds = _kind(left), _kind(right)
    if set(kinds) == {"text", "number"}:
        name = getattr(left if kinds[0] == "text" else right, "name", None)  # of a column
        which = f"column {name!r} is text: " if name else ""
        raise _Refused(f"{which}text is compared with a number; put text in quotes")


def _constant(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise _Refused("a whole number of more than 64 bits")
        return np.int64(value) if value < 2**63 else np.uint64(value)
    if isinstance(value, float):
        return np.float64(value)
    raise _Refused(f"{type(value).__name__} {value!r} is not allowed in an expression")


def _kind(value: Any) -> str:
    """``text``, ``number`` or ``other``."""
    if isinstance(value, str):
        return "text"
    kind = _dtype_kind(value) or "O"
    if kind in "iuf":
        return "number"
    from pandas.api.types import infer_dtype

    return "text" if kind == "O" and np.ndim(value) and infer_dtype(value, skipna=True) == "string" else "other"


def _number(value: Any) -> Any:
    """Return a value to calculate with: numbers and truth values only."""
    value = np.bool_(value) if isinstance(value, bool) else value
    if _dtype_kind(value) not in tuple("biuf"):
        raise _Refused("arithmetic needs numbers")
    return value.astype(np.int64) if value.dtype.kind == "b" else value


def _truth(value: Any) -> Any:
    """Return truth values to combine; of objects, that may be missing, as pandas' own type, which knows "unknown"."""
    import pandas as pd

    if isinstance(value, bool) or _dtype_kind(value) == "b":
        return value if np.ndim(value) else np.bool_(value)
    if np.ndim(value) == 1 and all(one is None or one is pd.NA or one != one or one in (True, False) for one in value):
        return pd.Series([None if pd.isna(one) else bool(one) for one in value], dtype="boolean")
    raise _Refused("and, or, not need true or false values, such as comparisons give")


def _is_null(value: Any) -> Any:
    import pandas as pd

    return pd.isna(value)


def _compare(compare: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """Compare; where text is missing, an order is false rather than an error."""
    if compare in (operator.eq, operator.ne) or "O" not in (_dtype_kind(left), _dtype_kind(right)):
        return compare(left, right)
    known = ~(_is_null(left) | _is_null(right))
    result = known & False
    result[known] = compare(*(one[known] if np.ndim(one) else one for one in (left, right)))
    return result


def _dtype_kind(value: Any) -> str:
    return str(getattr(getattr(value, "dtype", None), "kind", ""))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _mask(value: Any) -> NDArray[np.bool_]:
    """Return the result as one truth value per row, if it is that."""
    if np.ndim(value) == 1 and _dtype_kind(value) in "Ob":
        with contextlib.suppress(_Refused):
            return _truth(value).fillna(False).to_numpy(dtype=bool)
    what = f"{getattr(value, 'dtype', type(value).__name__)} of shape {np.shape(value)}"
    raise _Refused(f"must be true or false for every cutout, got {what}")
