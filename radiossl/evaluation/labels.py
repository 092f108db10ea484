"""Labels for a task: a column of the store, its values grouped into classes on request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.datasets.grouping import Grouping
from radiossl.io.errors import RadiosslError


@dataclass(frozen=True)
class Labels:
    """Class labels of some of the rows of a table.

    Attributes
    ----------
    rows
        Numbers of the rows that have a label, shape (n,).
    names
        Their classes, shape (n,), str.
    """

    rows: NDArray[np.int64]
    names: NDArray[np.str_]

    @property
    def classes(self) -> list[str]:
        """Names of the classes, sorted."""
        return sorted(set(self.names.tolist()))


def read_labels(
    values: NDArray[Any], column: str, groups: Sequence[str] = (), grouping: Grouping | None = None
) -> Labels:
    """Turn a column into labels.

    Parameters
    ----------
    values
        The column; missing values have no label.
    column
        Its name, for messages.
    groups
        ``NAME=VALUE,VALUE...`` each: these values become class NAME, all others have no label. Without groups every
        value is a class.
    grouping
        The same from a file; some of its values need not occur.

    Raises
    ------
    RadiosslError
        If a group is malformed, names a value that does not occur or is in another group, both kinds of groups are
        given, or fewer than two classes result.
    """
    if groups and grouping is not None:
        raise RadiosslError("--group and --grouping: give one of the two")
    present = ~pd.isna(values)
    texts = np.array([_text(value) if ok else "" for value, ok in zip(values, present, strict=True)], dtype=str)
    class_of = _class_of(groups) if grouping is None else grouping.class_of
    absent = [member for member in class_of if member not in set(texts[present])]
    if absent and (grouping is None or len(absent) == len(class_of)):
        source = "--group" if grouping is None else f"grouping {grouping.name}"
        raise RadiosslError(
            f"{source}: {absent[0]!r} does not occur in column {column!r}; its values are {_some(texts[present])}"
        )
    if class_of:
        present &= np.isin(texts, list(class_of))
        texts = np.array([class_of.get(text, "") for text in texts], dtype=str)
    labels = Labels(np.flatnonzero(present), texts[present])
    if len(labels.classes) < 2:
        raise RadiosslError(f"column {column!r}: {len(labels.classes)} class is left, at least two are needed")
    return labels


def _class_of(groups: Sequence[str]) -> dict[str, str]:
    """The class of every value that ``NAME=VALUE,VALUE...`` texts name."""
    class_of: dict[str, str] = {}
    for group in groups:
        name, equals, members = group.partition("=")
        if not equals or not name or not members:
            raise RadiosslError(f"--group {group}: expected NAME=VALUE,VALUE..., such as FRI=100,102,104")
        for member in map(str.strip, members.split(",")):
            if class_of.setdefault(member, name) != name:
                raise RadiosslError(f"--group {group}: {member!r} is in group {class_of[member]} already")
    return class_of


def _text(value: Any) -> str:
    """Write a label; whole numbers that a missing neighbour turned into floats are written without their ".0"."""
    return str(int(value)) if isinstance(value, (float, np.floating)) and float(value).is_integer() else str(value)


def _some(texts: NDArray[np.str_]) -> str:
    values = sorted(set(texts.tolist()))
    return ", ".join(values[:20]) + (", ..." if len(values) > 20 else "")
