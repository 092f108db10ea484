"""Writing a cutout store: shard by shard, each renamed into place when complete, and `store.json` last of all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

import radiossl
from radiossl.io.checksums import FILES, ChecksumWriter, folder_checksums
from radiossl.io.errors import RadiosslError, UnwritableError
from radiossl.io.files import atomic_file, is_temporary, read_json, remove_strays, sync, write_json
from radiossl.io.locks import only_writer
from radiossl.io.parts import GOES_ON, write_parts
from radiossl.io.signals import on_stop
from radiossl.store.cutout import Cutout, check_unique
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import FORMAT, PARTIAL, VERSION
from radiossl.store.store import CutoutStore, open_store, read_shard

#: Uncompressed pixels per shard: large enough for sequential reads, small enough to lose little on interruption.
SHARD_BYTES = 256 * 2**20
Job = TypeVar("Job")


class EmptyStoreError(RadiosslError):
    """No cutout passed the selection, so that no store was written."""


class OtherStoreError(RadiosslError):
    """The folder holds the store of another command, finished or not."""


class FinishedStoreError(RadiosslError):
    """The very same call has written this store before."""


def write_store(
    path: str | os.PathLike[str],
    jobs: Sequence[Job],
    cutouts: Callable[[Job], Iterable[Cutout | pa.RecordBatch]],
    schema: pa.Schema,
    provenance: dict[str, Any],
    *,
    workers: int | None = 1,
    scheduler: str | None = None,
    description: str = "cutting",
    beside: Callable[[Path, list[str]], None] | None = None,
) -> CutoutStore:
    """Write a store, one shard per job; complete it if the same call was interrupted before.

    `cutouts` makes the cutouts of a job, or record batches of the schema (see `store_schema`), and must be picklable
    for other processes. Jobs must have a stable `repr`, which is compared when an interrupted store is resumed, and so
    is the provenance (as JSON: command, mosaics, parameters). `beside` writes further files, given the folder and the
    ids of the cutouts, before the store counts as finished. For workers and scheduler see `write_parts`.

    Raises `FinishedStoreError` if the same call was finished before, `RadiosslError` if `path` holds something else,
    another process is writing it, or the jobs made no cutout at all or two of one id.
    """
    path = Path(path)
    with only_writer(path), on_stop(GOES_ON):
        identity = hashlib.sha256(repr((provenance, list(jobs), schema.names)).encode()).hexdigest()
        _claim(path, identity)
        remove_strays(path)
        files = [f"data-{index:05d}-of-{len(jobs):05d}.arrow" for index in range(len(jobs))]
        parts = [(path / file, job) for file, job in zip(files, jobs, strict=True)]
        try:
            write = partial(_write_shard, cutouts=cutouts, schema=schema)
            checksums = write_parts(parts, write, description, workers, scheduler)
        except BaseException:
            _withdraw(path)
            raise
        remove_strays(path)  # of workers that were killed
        shards = [read_shard(path / file) for file in files]
        rows = [len(shard) for shard in shards]
        ids = [name for shard in shards for name in shard.column("cutout_id").to_pylist()]
        try:
            if not ids:
                raise EmptyStoreError(f"{path}: no cutout passed the selection, so no store was written")
            check_unique(ids, path)
        except RadiosslError:  # the same call would come to the same end
            for file in (*files, PARTIAL):
                (path / file).unlink()
            path.rmdir()
            raise
        # The two files that `datasets.load_from_disk` reads first; the columns' types are read from the shards.
        write_json(path / "dataset_info.json", {}, part=True)
        state: dict[str, Any] = {"_data_files": [{"filename": file} for file in files], "_fingerprint": identity[:16]}
        nothing = dict.fromkeys(("_format_columns", "_format_type", "_split"))
        state |= {"_format_kwargs": {}, **nothing, "_output_all_columns": False}
        write_json(path / "state.json", state, part=True)
        if beside is not None:
            beside(path, ids)
        sync(path)  # all of them, before the file that says so
        known = zip(files, rows, strict=True)
        manifest = {
            **{"format": FORMAT, "version": VERSION, "radiossl_version": radiossl.__version__, "count": sum(rows)},
            "columns": schema.names,
            "shards": [{"file": f, "rows": n, "bytes": (path / f).stat().st_size} for f, n in known],
            **{"identity": identity, "provenance": provenance},
            FILES: dict(sorted((folder_checksums(path, skip=("store.json", PARTIAL, *checksums)) | checksums).items())),
        }
        write_json(path / "store.json", manifest, seal=True)
        (path / PARTIAL).unlink(missing_ok=True)
        return open_store(path)


def _withdraw(path: Path) -> None:
    """Remove the beginnings of a store that has no finished shard yet; there is nothing to go on with."""
    if any(path.glob("data-*.arrow")):
        return
    remove_strays(path)
    (path / PARTIAL).unlink(missing_ok=True)
    with suppress(OSError):  # a worker may still be writing
        path.rmdir()


def _claim(path: Path, identity: str) -> None:
    """Make `path` the unfinished store `identity`, or raise if it holds anything else."""
    if path.exists() and not path.is_dir():
        raise RadiosslError(f"{path}: is a file, a folder to write the store into was expected")
    if (path / PARTIAL).exists():  # it goes last: a run that was killed just before is completed too
        if read_json(path / PARTIAL).get("identity") == identity:
            return
        raise OtherStoreError(f"{path}: holds an unfinished store of another command; finish it or delete the folder")
    if (path / "store.json").exists():
        same = read_json(path / "store.json").get("identity") == identity
        raise (FinishedStoreError if same else OtherStoreError)(
            f"{path}: holds a finished store already; choose another --out or delete it"
        )
    if path.exists() and not all(map(is_temporary, path.iterdir())):
        raise RadiosslError(f"{path}: is not empty and not a cutout store; choose another --out")
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / PARTIAL, {"format": FORMAT, "version": VERSION, "identity": identity}, part=True)
    except (OSError, RadiosslError) as error:
        with suppress(OSError):
            path.rmdir()
        if isinstance(error, RadiosslError):
            raise
        raise UnwritableError(path, error.strerror) from None


def _write_shard(
    file: Path, job: Job, *, cutouts: Callable[[Job], Iterable[Cutout | pa.RecordBatch]], schema: pa.Schema
) -> str:
    with (
        atomic_file(file, part=True) as temporary,
        ChecksumWriter(temporary) as sink,
        pa.ipc.new_stream(pa.PythonFile(sink, "w"), schema) as writer,
    ):
        for batch in cutout_batches(cutouts(job), schema):
            writer.write_batch(batch)
    return sink.checksum


def shard_jobs(sizes: Sequence[tuple[Job, int]]) -> list[list[Job]]:
    """Group consecutive `(job, number of pixels)` into shards of about `SHARD_BYTES`."""
    shards: list[list[Job]] = []
    room = 0.0
    for job, pixels in sizes:
        if not shards or room < 4 * pixels:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append(job)
        room -= 4 * pixels
    return shards
