"""Groupings of labels: many classes to few, from a small YAML file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from radiossl.io.errors import RadiosslError
from radiossl.io.settings import read_yaml

_SHIPPED = files("radiossl.datasets") / "groupings"


@dataclass(frozen=True)
class Grouping:
    """Classes made of values of a column, as text; values in no class have no label."""

    name: str
    title: str
    groups: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        if len(self.groups) < 2:
            raise RadiosslError(f"grouping {self.name}: {len(self.groups)} class, at least two are needed")
        seen: dict[str, str] = {}
        for group, members in self.groups.items():
            if not members:
                raise RadiosslError(f"grouping {self.name}: class {group!r} has no values")
            for member in members:
                if seen.setdefault(member, group) != group:
                    raise RadiosslError(f"grouping {self.name}: {member!r} is in {seen[member]!r} and in {group!r}")

    @property
    def class_of(self) -> dict[str, str]:
        """The class of every value."""
        return {member: group for group, members in self.groups.items() for member in members}


def grouping_names() -> list[str]:
    """Names of the groupings that come with the package."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _SHIPPED.iterdir() if entry.name.endswith(".yaml"))


def read_grouping(name: str | os.PathLike[str]) -> Grouping:
    """Read a grouping that comes with the package by its name, or one from a YAML file.

    The file has a line ``title: ...`` and a mapping ``groups``, of class names to lists of values::

        title: wide and narrow tails as one class
        groups:
          FRI: [0]
          FRII: [1]
          bent: [3, 4]

    Raises `RadiosslError` if there is no such grouping or file, or it is of another form.
    """
    name = str(name)
    if name in grouping_names():
        file = Path(str(_SHIPPED / f"{name}.yaml"))
    elif name.endswith((".yaml", ".yml")):
        file = Path(name)
    else:
        raise RadiosslError(f"no grouping {name!r}; there are {', '.join(grouping_names())}, or a file ending in .yaml")
    content = read_yaml(file)
    if not isinstance(content, dict) or not isinstance(content.get("groups"), dict):
        raise RadiosslError(f"{name}: expected a mapping with 'title' and 'groups' (class names to lists of values)")
    if unknown := [str(key) for key in content if key not in ("title", "groups")]:
        raise RadiosslError(f"{name}: unknown key {unknown[0]!r}; expected 'title' and 'groups'")
    groups = {}
    for group, members in content["groups"].items():
        if not isinstance(members, list) or any(isinstance(member, (dict, list)) for member in members):
            raise RadiosslError(f"{name}: class {group!r}: expected a list of values")
        groups[str(group)] = tuple(str(member) for member in members)
    return Grouping(Path(name).stem, str(content.get("title", "")), groups)
