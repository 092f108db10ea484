"""Labels: the one reader of class columns, their values grouped into classes on request."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiossl.datasets.grouping import Grouping, read_grouping
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, one_or_more
from radiossl.io.values import MISSING_NUMBERS, as_text, as_texts
from radiossl.store.store import CutoutStore

#: What two spellings of a class may differ by: separators beside a letter (not the sign of -1, nor 1-2 and 12), and .0.
_SPELLING = re.compile(r"(?<=[^\W\d_])[\s_-]+(?=\w)|(?<=\w)[\s_-]+(?=[^\W\d_])|(?<=\d)\.0+$")

#: Words that are written for no label, besides those for missing numbers.
_UNKNOWN = ("?", "unknown", "unlabelled", "unlabeled", "unclassified", "undefined", "missing")


@dataclass(frozen=True)
class Labels:
    """Class labels of some of the rows of a table: the numbers of those rows and their classes, both of shape (n,)."""

    rows: NDArray[np.int64]
    names: NDArray[np.str_]

    @property
    def classes(self) -> list[str]:
        """Names of the classes, sorted."""
        return sorted(set(self.names.tolist()))

    @property
    def truth(self) -> NDArray[np.int64]:
        """Number of each row's class."""
        return np.searchsorted(self.classes, self.names)


def read_labels(
    values: NDArray[Any], column: str, groups: Sequence[str] = (), grouping: Grouping | PathLike | None = None
) -> Labels:
    """Turn a column into labels.

    Parameters
    ----------
    values
        The column, text as `radiossl.io.values.as_text` reads it; missing values have no label. A class that is called
        as some programs write missing values (None, NA, -) is kept, with a warning.
    column
        Its name, for messages.
    groups
        ``NAME=VALUE,VALUE...`` each: these values become class NAME, all others have no label. Without groups every
        value is a class.
    grouping
        The same from a YAML file, or the name of one of the package's groupings; some of its values need not occur.

    Raises
    ------
    RadiosslError
        If a group is malformed, names a value that does not occur or is in another group, both kinds of groups are
        given, or fewer than two classes result.

    Examples
    --------
    >>> read_labels(np.array([100, 102, 200]), "code", ["FRI=100,102", "FRII=200"]).names.tolist()
    ['FRI', 'FRI', 'FRII']
    """
    if groups and grouping is not None:
        raise RadiosslError("--group and --grouping: give one of the two")
    if grouping is not None and not isinstance(grouping, Grouping):
        grouping = read_grouping(grouping)
    if np.ndim(values) != 1:
        raise RadiosslError(f"column {column!r}: one value in each row was expected, not shape {np.shape(values)}")
    read = as_texts(values)
    present = np.array([text is not None for text in read], dtype=bool)
    texts = np.where(present, read, "").astype(str)
    class_of = _class_of(groups) if grouping is None else {str(as_text(m)): c for m, c in grouping.class_of.items()}
    absent = [member for member in class_of if member not in set(texts[present])]
    if absent and (grouping is None or len(absent) == len(class_of)):
        source = "--group" if grouping is None else f"grouping {grouping.name}"
        values = np.unique(texts[present])
        some = ", ".join(values[:20]) + (", ..." if len(values) > 20 else "")
        raise RadiosslError(f"{source}: {absent[0]!r} does not occur in column {column!r}; its values are {some}")
    if class_of:
        present &= np.isin(texts, list(class_of))
        texts = np.array([class_of.get(text, "") for text in texts], dtype=str)
    labels = Labels(np.flatnonzero(present), texts[present])
    for name in () if class_of else _like_missing(labels.classes):
        count = int((labels.names == name).sum())
        warnings.warn(f"column {column!r}: {name!r} is taken for a class ({count} rows)", stacklevel=2)
    if not class_of:
        _warn_of_spellings(labels.classes, column)
    if len(labels.classes) < 2:
        raise RadiosslError(f"column {column!r}: {len(labels.classes)} class is left, at least two are needed")
    return labels


def store_labels(
    store: CutoutStore,
    column: str,
    groups: Sequence[str] = (),
    grouping: Grouping | PathLike | None = None,
    where: str | None = None,
) -> Labels:
    """Read the labels of the cutouts of a store for which an expression holds; see `read_labels`."""
    labels = read_labels(store.column(column), column, groups, grouping)
    if where is None:
        return labels
    keep = store.holds(where)[labels.rows]
    left = Labels(labels.rows[keep], labels.names[keep])
    if len(left.classes) < 2:
        raise RadiosslError(f"--where {where!r}: leaves {len(left.classes)} class, at least two are needed")
    return left


def _class_of(groups: Sequence[str]) -> dict[str, str]:
    class_of: dict[str, str] = {}
    for group in one_or_more(groups):
        text, equals, members = group.partition("=")
        name = as_text(text)
        if not equals or name is None or not as_text(members):
            raise RadiosslError(f"--group {group}: expected NAME=VALUE,VALUE..., such as FRI=100,102,104")
        for member in filter(None, map(as_text, members.split(","))):
            if class_of.setdefault(member, name) != name:
                raise RadiosslError(f"--group {group}: {member!r} is in group {class_of[member]} already")
    return class_of


def _like_missing(classes: Sequence[str]) -> list[str]:
    """Return the classes that many write where there is no label: NA, unknown, and -1 among numbers that are not."""
    found = [name for name in classes if name in MISSING_NUMBERS or name.casefold() in _UNKNOWN]
    numbers = [name for name in classes if re.fullmatch(r"-?\d+", name)]
    negative = [name for name in numbers if name.startswith("-")]
    return found + negative * (len(negative) == 1 and len(numbers) == len(classes))


def _warn_of_spellings(classes: Sequence[str], column: str) -> None:
    """Warn of classes that may be one, written in two ways: FRII and FR II, Star and STAR, 1 and 1.0."""
    spellings: dict[str, list[str]] = {}
    for name in classes:
        spellings.setdefault(_SPELLING.sub("", name).casefold(), []).append(name)
    for one, other, *_ in (names for names in spellings.values() if len(names) > 1):
        warnings.warn(
            f"column {column!r}: {one!r} and {other!r} are taken for two classes; if they are one, join them:"
            f" --group '{other}={one},{other}' (and a --group for every other class)",
            stacklevel=3,
        )
