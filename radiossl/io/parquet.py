"""Parquet tables with checksums: in every page and of the metadata, which reading checks, and of the whole file."""

from __future__ import annotations

import functools
import hashlib
import json
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiossl.io.errors import RadiosslError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

#: Key of the metadata's own checksum.
_SEAL = b"radiossl_checksum"
_DAMAGED = "damaged, make or copy it again"
#: Key of the whole file's checksum, and the text in place of its value while it is calculated.
_WHOLE, _BLANK = b"radiossl_sha256", b"of-the-file-with-this-text-here".ljust(64, b".")
#: Metadata that are written by pyarrow, not by us.
_NOT_SEALED = (_SEAL, _WHOLE, b"pandas", b"ARROW:schema")


def _digest(schema: pa.Schema, metadata: dict[bytes, bytes]) -> bytes:
    columns = repr([(field.name, _kind(field.type)) for field in schema])
    rest = repr(sorted((key, value) for key, value in metadata.items() if key not in _NOT_SEALED))
    return hashlib.sha256((columns + rest).encode()).hexdigest().encode()


def _kind(kind: pa.DataType) -> str:
    """Return a type without the names that change when it is read back: units of time and inner names change."""
    import pyarrow.types as types

    for name in ("boolean", "integer", "floating", "string", "large_string", "binary", "nested"):
        if getattr(types, f"is_{name}")(kind):
            return "string" if name == "large_string" else name
    return "other"


def parquet_writer(path: str | os.PathLike[str], schema: pa.Schema, **options: Any) -> pq.ParquetWriter:
    """Return a `pyarrow.parquet.ParquetWriter` whose file has checksums."""
    import pyarrow.parquet as pq

    class SealingWriter(pq.ParquetWriter):
        """Writes the checksum of the file into it when it is closed."""

        def close(self) -> None:
            was_open = self.is_open
            super().close()
            # Without the file or a place in it, something went wrong before, which will be reported.
            if was_open and Path(path).exists() and (place := _place_of(Path(path), _BLANK)) is not None:
                digest = _file_digest(Path(path), place)
                with Path(path).open("r+b") as file:
                    file.seek(place)
                    file.write(digest)

    metadata = {key: value for key, value in (schema.metadata or {}).items() if key not in _NOT_SEALED[:2]}
    sealed = schema.with_metadata({**metadata, _SEAL: _digest(schema, metadata), _WHOLE: _BLANK})
    return SealingWriter(path, sealed, write_page_checksum=True, **options)


def _place_of(path: Path, value: bytes) -> int | None:
    """Return where a value begins in the metadata at the end of a file."""
    start = max(0, path.stat().st_size - _footer_size(path) - 8)
    with path.open("rb") as file:
        file.seek(start)
        found = file.read().find(value)
    return None if found < 0 else start + found


def _file_digest(path: Path, place: int) -> bytes:
    """Return the checksum of a file as if `_BLANK` were at a place."""
    digest = hashlib.sha256()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for part in (memoryview(mapped)[:place], _BLANK, memoryview(mapped)[place + len(_BLANK) :]):
            digest.update(part)
            del part  # a mapping that is looked at cannot be closed
    return digest.hexdigest().encode()


def write_parquet(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Write a table with checksums."""
    with parquet_writer(path, table.schema) as writer:
        writer.write_table(table)


@contextmanager
def _naming(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn pyarrow's errors on damaged files into ones that name the file."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise RadiosslError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise RadiosslError(f"{path}: {what} ({error})") from None


@functools.cache
def _checking_file() -> type[pq.ParquetFile]:
    import pyarrow.parquet as pq

    class CheckingFile(pq.ParquetFile):
        """A Parquet file that names itself when a page turns out to be damaged."""

        def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
            super().__init__(path, page_checksum_verification=True, **options)
            self._path = path

        def read(self, *arguments: Any, **options: Any) -> pa.Table:
            with _naming(self._path, _DAMAGED):
                return super().read(*arguments, **options)

        def read_row_group(self, *arguments: Any, **options: Any) -> pa.Table:
            with _naming(self._path, _DAMAGED):
                return super().read_row_group(*arguments, **options)

        def iter_batches(self, *arguments: Any, **options: Any) -> Iterator[pa.RecordBatch]:
            with _naming(self._path, _DAMAGED):
                yield from super().iter_batches(*arguments, **options)

    return CheckingFile


def open_parquet(path: str | os.PathLike[str], **options: Any) -> pq.ParquetFile:
    """Open a Parquet file whose pages are checked as they are read, if they have checksums.

    Raises `RadiosslError` if it is missing, no Parquet file, or its metadata are not as they were written; and whenever
    something is read of it that is not.
    """
    with _naming(path, "not a readable Parquet file"):
        file = _checking_file()(path, **options)
        whole = file.metadata.serialized_size == _footer_size(Path(path))
        known = file.metadata.metadata or {}  # of the file: the schema's may come from a copy of it
        if not whole or (_SEAL in known and known[_SEAL] != _digest(file.schema_arrow, known)):
            raise RadiosslError(f"{path}: its metadata are not as they were written; make or copy it again")
    return file


def _footer_size(path: Path) -> int:
    """Return the size of the metadata as the end of a Parquet file has it; what a flipped bit hides is beyond it."""
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        return int.from_bytes(file.read(4), "little")


def read_parquet(path: str | os.PathLike[str], columns: list[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns; raises as `open_parquet`."""
    with open_parquet(path) as file:
        return file.read(columns=columns)


def json_metadata(schema: pa.Schema, key: bytes, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the JSON object under a key of a file's metadata, empty if there is none."""
    try:
        content = json.loads((schema.metadata or {}).get(key, b"{}"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RadiosslError(f"{path}: its metadata {key.decode()!r} are not readable; make or copy it again")
    return content


def verify_parquet(path: Path) -> bool | None:
    """Read all of a table; None if it has no checksums, else whether it is as it was written."""
    try:
        with open_parquet(path) as file:
            metadata = file.metadata.metadata or {}
            sealed = _SEAL in metadata
        if (value := metadata.get(_WHOLE)) is not None:
            place = _place_of(path, value)
            return place is not None and _file_digest(path, place) == value
        read_parquet(path)
    except RadiosslError:
        return False
    return True if sealed else None
