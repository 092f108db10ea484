"""What all published data sets share: a description, a reader of parts, and the way into a cutout store."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import yaml

from radiossl.datasets.download import Download
from radiossl.io.errors import RadiosslError
from radiossl.io.expressions import rows_where
from radiossl.io.files import files_below
from radiossl.io.schema import Settings
from radiossl.io.settings import apply_settings
from radiossl.store.cutout import Cutout
from radiossl.store.schema import store_schema
from radiossl.store.store import CutoutStore, open_store
from radiossl.store.writing import EmptyStoreError, FinishedStoreError, write_store


class Options(Settings):
    """Choices that a set leaves to its user; sets with any define their own."""


@dataclass(frozen=True)
class Reader:
    """How the files of a set become cutouts. All functions take the source and the options of the set."""

    #: Lists the parts of the source in a fixed order; each becomes a shard of the store.
    parts: Callable[[Path, Any], Sequence[str]]
    #: Takes one of the parts as well, after the source, and makes its cutouts.
    read: Callable[[Path, str, Any], Iterable[Cutout]]
    options: type[Options] = Options
    #: Schema of the set's own columns, for sets whose columns depend on the source.
    columns: Callable[[Path, Any], pa.Schema] | None = None
    #: What a user should know about this copy of the set, such as what it lacks.
    remarks: Callable[[Path, Any], Sequence[str]] = lambda source, options: ()


@dataclass(frozen=True)
class PublishedSet:
    """A data set as its authors publish it, described in ``sets.yaml``."""

    name: str
    reader: Reader
    #: What it is, which paper to cite, and the terms of its use as far as they are published.
    title: str
    reference: str
    terms: str
    #: What `import_set` is to be given, in a few words.
    source: str
    #: Columns of its store beside those that every store has; None if they depend on the source.
    columns: pa.Schema | None = None
    #: Named expressions over the columns, for the subsets that papers use.
    selections: Mapping[str, str] = field(default_factory=dict)
    #: What a user should know, one sentence each.
    notes: tuple[str, ...] = ()
    #: Where it is published; empty if there is no stable address.
    downloads: tuple[Download, ...] = ()
    #: MD5 of its parts, for a set without an address.
    checksums: Mapping[str, str] = field(default_factory=dict)


@cache
def _descriptions() -> dict[str, dict[str, Any]]:
    text = (files("radiossl.datasets") / "sets.yaml").read_text(encoding="utf-8")
    described: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return described


def set_names() -> list[str]:
    """Return the names of all sets, in the order in which they are listed."""
    return list(_descriptions())


def published_set(name: str) -> PublishedSet:
    """Return a set by name; raise `RadiosslError` if there is none."""
    if name not in _descriptions():
        raise RadiosslError(f"no data set {name!r}; there are {', '.join(_descriptions())}")
    known = dict(_descriptions()[name])
    module, attribute = known.pop("reader").split(":")
    columns = known.pop("columns", None)
    known["downloads"] = tuple(Download(**download) for download in known.get("downloads", ()))
    known["notes"] = tuple(known.get("notes", ()))
    reader = getattr(import_module(f"radiossl.datasets.{module}"), attribute)
    return PublishedSet(name, reader, columns=None if columns is None else pa.schema(list(columns.items())), **known)


def part_ranges(count: int, step: int) -> list[str]:
    """Return parts of a source with a list of this many images: ``start:stop``, see `part_slice`."""
    return [f"{start}:{min(start + step, count)}" for start in range(0, count, step)]


def part_slice(part: str) -> slice:
    """Return the slice of images that a part of `part_ranges` means."""
    return slice(*map(int, part.split(":")))


class ImportedSet(NamedTuple):
    """A store made of a published set, and sentences on what to know about the set and this copy of it.

    `again` says that the same import was finished before, so that the store was opened and nothing imported.
    """

    store: CutoutStore
    remarks: tuple[str, ...]
    again: bool = False


def import_set(
    name: str,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    select: str | None = None,
    where: str | None = None,
    options: Options | Mapping[str, Any] | None = None,
    changes: Sequence[str] | None = None,
    workers: int = 1,
) -> ImportedSet:
    """Turn a published set into a cutout store.

    Parameters
    ----------
    name
        One of `set_names`.
    source
        The file or folder of the set.
    out
        Folder of the new store.
    select
        One of the set's named selections.
    where
        Expression over the columns that cutouts must satisfy, as in `CutoutStore.where`.
    options, changes
        The set's own options by name, and changes to them such as ``labels=cdl1``.
    workers
        Processes of this machine that share the work.

    Returns
    -------
    ImportedSet
        The store and what to know about it.

    Raises
    ------
    RadiosslError
        If anything named is unknown, the source is not what was expected, or nothing is selected.

    See Also
    --------
    radiossl.datasets.fetch.fetch_set : download a set.
    """
    dataset = published_set(name)
    reader = dataset.reader
    chosen = apply_settings(reader.options, options, changes, source=name)
    if select is not None and select not in dataset.selections:
        known = ", ".join(dataset.selections) or "it has none"
        raise RadiosslError(f"{name}: no selection {select!r}; there are {known}")
    expressions = [text for text in (dataset.selections[select] if select else None, where) if text]
    source = Path(source)
    if not source.exists():
        raise RadiosslError(f"{source}: no such file or folder; expected {dataset.source}")
    jobs = list(reader.parts(source, chosen))
    schema = store_schema(reader.columns(source, chosen) if reader.columns else dataset.columns)
    provenance = {
        **{"command": "datasets import", "dataset": dataset.name, "title": dataset.title},
        **{"reference": dataset.reference, "terms": dataset.terms, "source": source.name},
        "source_sha256": _fingerprint(source, chosen, Path(out)),
        "options": chosen.model_dump(mode="json"),
        "where": " and ".join(f"({text})" for text in expressions) or None,
    }
    cutouts = partial(_cutouts, name=name, source=source, options=chosen, expressions=expressions, schema=schema)
    again = False
    try:
        store = write_store(out, jobs, cutouts, schema, provenance, workers=workers, description=f"importing {name}")
    except EmptyStoreError:
        raise RadiosslError(f"{source}: no cutout of {name} satisfies {provenance['where']}") from None
    except FinishedStoreError:
        store, again = open_store(out), True
    return ImportedSet(store, (*dataset.notes, *reader.remarks(source, chosen)), again)


def _fingerprint(source: Path, options: Options, out: Path) -> str:
    """Return a hash of what is imported: of the file and those that options name, of a folder what its files are."""
    digest = hashlib.sha256()
    named = [Path(value) for value in options.model_dump().values() if isinstance(value, str)]
    for path in (source, *named):
        if path.is_file():
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    for file in files_below(source) if source.is_dir() else ():
        if out.resolve() not in file.resolve().parents:
            known = file.stat()
            digest.update(f"{file.relative_to(source)} {known.st_size} {known.st_mtime_ns};".encode())
    return digest.hexdigest()


def _cutouts(
    part: str, *, name: str, source: Path, options: Options, expressions: Sequence[str], schema: pa.Schema
) -> Iterable[Cutout]:
    cutouts: Iterable[Cutout] = published_set(name).reader.read(source, part, options)
    if not expressions:
        return cutouts
    cutouts = list(cutouts)
    known = _known_columns(cutouts, schema)
    return itertools.compress(cutouts, np.all([rows_where(known, text) for text in expressions], axis=0))


def _known_columns(cutouts: Sequence[Cutout], schema: pa.Schema) -> pa.Table:
    own = ("cutout_id", "mosaic", "ra_deg", "dec_deg", "x", "y", "pixel_scale_arcsec", "unit")
    extra = [field for field in schema if any(field.name in cutout.extra for cutout in cutouts)]
    columns = {name: pa.array([getattr(cutout, name) for cutout in cutouts]) for name in own}
    columns |= {field.name: pa.array([c.extra.get(field.name) for c in cutouts], field.type) for field in extra}
    shapes = [cutout.pixels.shape for cutout in cutouts]
    return pa.table(columns | {"height": [height for height, _ in shapes], "width": [width for _, width in shapes]})
