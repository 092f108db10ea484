"""Features of many images into a table on disk, in parts that any number of processes and machines can make."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from radiossl.datasets.image_files import ImageFiles
from radiossl.datasets.image_sources import Images, find_images, open_images
from radiossl.features.embedding import batch_features, table_metadata
from radiossl.features.exporting import ENDINGS, check_no_other_file, export_table
from radiossl.features.feature_file import FeatureFile
from radiossl.features.table import FeatureTable, check_no_other_table, check_parquet_name, part_name, regrouped
from radiossl.images.preprocess import Preprocessing
from radiossl.io.errors import RadiosslError, check_number
from radiossl.io.files import PathLike, atomic_file, check_writable, existing_file, put_in_place, remove_strays
from radiossl.io.locks import only_writer
from radiossl.io.parquet import parquet_writer
from radiossl.io.parts import write_parts
from radiossl.store.store import CutoutStore, open_store
from radiossl.weights.backbone import Backbone, load_backbone
from radiossl.weights.readout import Embedding

#: A table has about this many parts, within the limits below: some for every worker, none too small.
_PARTS = 512
_LEAST_ROWS = 128
_MOST_ROWS = 16384
#: Rows of a row group of the single file.
_ROW_GROUP = 65536


@dataclass(frozen=True)
class WrittenFeatures:
    """The finished table, and how many of its parts `write_features` made now: the others were there before."""

    table: FeatureFile
    parts: int
    made: int


@dataclass(frozen=True)
class _Work:
    """What every process needs to know to make any part; the same in all of them, so that it names what it opened."""

    weights: str
    preprocessing: Preprocessing
    embedding: Embedding
    images: tuple[str, ...] | ImageFiles
    batch_size: int
    device: str
    bfloat16: bool


class _Opened:
    def __init__(self, work: _Work) -> None:
        self.work = work
        adapted = load_backbone(work.weights, work.device).adapted(**work.preprocessing.model_dump())
        self.backbone = adapted.with_embedding(work.embedding)
        self.images = work.images if isinstance(work.images, ImageFiles) else open_store(*work.images)
        self.columns: pa.Table = self.images.table
        self.metadata = table_metadata(self.backbone, self.images)
        if work.bfloat16:
            self.metadata["precision"] = "bfloat16"

    @cached_property
    def identity(self) -> str:
        """Stands for everything that the table depends on."""
        digest = hashlib.sha256(json.dumps([self.metadata, self.backbone.identity]).encode())
        # The columns hold shapes and statistics of the pixels, which identify the pixels.
        columns = pa.BufferOutputStream()
        with pa.ipc.new_stream(columns, self.columns.schema) as stream:
            stream.write_table(self.columns.combine_chunks())
        digest.update(columns.getvalue())
        for path in self.images.paths if isinstance(self.images, ImageFiles) else ():
            file = existing_file(path).stat()
            digest.update(f"{file.st_size} {file.st_mtime_ns}".encode())
        return digest.hexdigest()

    @cached_property
    def network(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The network in the form that is quickest for the whole table, so that all parts are made alike."""
        passes = self.columns.num_rows * self.backbone.config.preprocessing.views
        return self.backbone.inference_network(passes, self.work.bfloat16)

    @torch.inference_mode()
    def part(self, start: int, stop: int) -> FeatureTable:
        """Make the features of these rows."""
        step = self.work.batch_size
        batches = [range(first, min(first + step, stop)) for first in range(start, stop, step)]
        made = [batch_features(self.backbone, self.images, rows, self.network) for rows in batches]
        columns = self.columns.slice(start, stop - start)
        return FeatureTable(columns, np.concatenate(made), self.metadata | {"identity": self.identity})


def write_features(
    backbone: Backbone,
    images: Images,
    out: PathLike,
    batch_size: int = 128,
    partitioned: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    bfloat16: bool = False,
    mosaics: Sequence[PathLike] | PathLike | None = None,
    **options: Any,
) -> WrittenFeatures:
    """Write the feature table of images; the same call completes an interrupted one.

    Memory does not grow with the table. Finished parts wait in a hidden folder beside `out` for the others. Arrays and
    what is cut from mosaics are kept as a cutout store beside `out`, with the ending ``.images``.

    Parameters
    ----------
    backbone
        Loaded from its folder, whose weights every process reads; it may be adapted.
    images
        Cutout stores, image files, folders and patterns of them, arrays, tables that name or hold images, or a
        catalogue beside `mosaics`; see `radiossl.open_images`.
    out
        Parquet file to write, or the folder of a partitioned table. An older table in that file is replaced, unless it
        is the same: then nothing is done. A FITS file, VOTable or CSV is written beside a Parquet file of its name.
    batch_size
        Images at a time.
    partitioned
        Leave the parts as they are, a folder of Parquet files.
    workers, scheduler
        Who makes them; see `write_parts`.
    bfloat16
        Compute in that precision, which the table's metadata records.
    mosaics
        FITS files, folders of them or patterns, from which the sources of a catalogue are cut.
    options
        See `radiossl.open_images`, such as ``size``, the side in pixels of boxes around catalogued sources.

    Raises
    ------
    RadiosslError
        If the weights, a store or a file cannot be read, `out` is taken, or there is no image; see `write_parts` too.
    """
    check_number("--batch-size", batch_size, 1, whole=True)
    out = Path(out)
    if not backbone.sha256:
        raise RadiosslError("weights that were never saved cannot be read by other processes; save_backbone first")
    if not partitioned and (form := ENDINGS.get(out.suffix.lower())):
        parquet = out.with_suffix(".parquet")
        if parquet.exists():
            FeatureFile(parquet)  # raises if it is another table than one of features, which stays
        check_no_other_file(out, form)
        done = write_features(
            backbone, images, parquet, batch_size, False, workers, scheduler, bfloat16, mosaics, **options
        )
        export_table(parquet, out, form)
        return done
    check_writable(out)
    kept = out.with_name(f"{out.stem}.images")
    if not partitioned:
        check_parquet_name(out)
    found = find_images(images, mosaics, out=kept, **options)
    if isinstance(found, CutoutStore):
        found = found if found.paths else open_images(found, out=kept)
        if len(found) != len(open_store(*found.paths)):
            raise RadiosslError(
                "a part of a store cannot be embedded by itself; make it one with radiossl store filter"
            )
    else:
        found = replace(found, paths=tuple(path.absolute() for path in found.paths))
    work = _Work(
        weights=str(Path(backbone.name).absolute()),
        preprocessing=backbone.config.preprocessing,
        embedding=backbone.config.embedding,
        images=found if isinstance(found, ImageFiles) else tuple(str(path.resolve()) for path in found.paths),
        batch_size=batch_size,
        device=str(backbone.device),
        bfloat16=bfloat16,
    )
    with only_writer(out):
        return _write_features(work, out, partitioned, workers, scheduler)


def _write_features(work: _Work, out: Path, partitioned: bool, workers: int, scheduler: str | None) -> WrittenFeatures:
    opened = _Opened(work)
    count, identity = opened.columns.num_rows, opened.identity
    if count == 0:
        raise RadiosslError("no image to embed was given")
    step = min(max(-(-count // _PARTS), _LEAST_ROWS), _MOST_ROWS)  # the same whoever is to make the parts
    ranges = [(start, min(start + step, count)) for start in range(0, count, step)]
    unfinished = out.with_name(f".{out.name}.unfinished")
    if out.exists() and _is_table(out, identity, partitioned):
        shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed after its last step but one
        return WrittenFeatures(FeatureFile(out), len(ranges), 0)
    folder = unfinished / identity[:16]
    for other in unfinished.glob("*"):
        if other != folder:  # of other weights or images
            shutil.rmtree(other)
    parts = [(folder / part_name(number, len(ranges)), rows) for number, rows in enumerate(ranges)]
    missing = sum(not file.exists() for file, _ in parts)
    _held[identity] = opened  # for what this process makes itself
    try:
        write_parts(parts, partial(_write_part, work=work, identity=identity), "embedding", workers, scheduler)
    finally:
        _held.clear()
    if partitioned:
        remove_strays(folder)  # of workers that were killed
        put_in_place(folder, out)
    else:
        whole = FeatureFile(folder)
        with atomic_file(out) as temporary, parquet_writer(temporary, whole.file_schema) as writer:
            for group in regrouped(whole.tables(), _ROW_GROUP):
                writer.write_table(group)
    shutil.rmtree(unfinished)
    return WrittenFeatures(FeatureFile(out), len(ranges), missing)


def _is_table(out: Path, identity: str, partitioned: bool) -> bool:
    """Return whether `out` is the finished table already; raise if it is what must not be replaced."""
    if out.is_dir() and not partitioned:
        raise RadiosslError(f"{out}: is a folder, a Parquet file was to be written; choose another --out")
    if not partitioned:
        check_no_other_table(out)
    try:
        same = out.is_dir() == partitioned and FeatureFile(out).metadata.get("identity") == identity
    except RadiosslError:
        same = False
    if partitioned and not same:
        raise RadiosslError(f"{out}: exists and is not the table of these weights and images; choose another")
    return same


#: What this process has opened, for the one table that it works on.
_held: dict[str, _Opened] = {}


def _write_part(file: Path, rows: tuple[int, int], work: _Work, identity: str) -> None:
    """Write one part; backbone and images are opened once in a process, and anew when they have become others."""
    if identity not in _held:
        opened = _Opened(work)
        if opened.identity != identity:
            raise RadiosslError(
                f"{work.weights} and the images: a worker finds others there than the process that it works for,"
                " or has another version of radiossl"
            )
        _held.clear()
        _held[identity] = opened
    _held[identity].part(*rows).write(file)
