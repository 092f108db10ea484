"""Parquet tables with checksums: in every page, which reading checks, and one of the metadata."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiossl.io.errors import RadiosslError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

#: Key of the metadata's own checksum.
_SEAL = b"radiossl_checksum"


def sealed_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema with the checksum of its columns and metadata in its metadata."""
    metadata = {key: value for key, value in (schema.metadata or {}).items() if key != _SEAL}
    return schema.with_metadata({**metadata, _SEAL: _digest(schema, metadata)})


def _digest(schema: pa.Schema, metadata: dict[bytes, bytes]) -> bytes:
    columns = repr([(field.name, str(field.type)) for field in schema])
    rest = repr(sorted((key, value) for key, value in metadata.items() if key not in (_SEAL, b"pandas")))
    return hashlib.sha256((columns + rest).encode()).hexdigest().encode()


def parquet_writer(path: str | os.PathLike[str], schema: pa.Schema, **options: Any) -> pq.ParquetWriter:
    """Return a `pyarrow.parquet.ParquetWriter` whose file has checksums."""
    import pyarrow.parquet as pq

    return pq.ParquetWriter(path, sealed_schema(schema), write_page_checksum=True, **options)


def write_parquet(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Write a table with checksums."""
    with parquet_writer(path, table.schema) as writer:
        writer.write_table(table)


def open_parquet(path: str | os.PathLike[str], **options: Any) -> pq.ParquetFile:
    """Open a Parquet file whose pages are checked as they are read, if they have checksums.

    Raises
    ------
    RadiosslError
        If it is missing, no Parquet file, or its metadata are not as they were written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, page_checksum_verification=True, **options)
        schema = file.schema_arrow
    except FileNotFoundError:
        raise RadiosslError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise RadiosslError(f"{path}: not a readable Parquet file ({' '.join(str(error).split())})") from None
    if _has_seal(schema) and not _seal_holds(schema):
        raise RadiosslError(f"{path}: its metadata are not as they were written; make or copy it again")
    return file


def read_parquet(path: str | os.PathLike[str], columns: list[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns; raises as `open_parquet`, and if a page is not as it was written."""
    import pyarrow as pa

    with open_parquet(path) as file:
        try:
            return file.read(columns=columns)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise RadiosslError(f"{path}: damaged Parquet file ({' '.join(str(error).split())})") from None


def json_metadata(schema: pa.Schema, key: bytes, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a file's metadata hold as JSON under a key; nothing without it."""
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
            sealed = _has_seal(file.schema_arrow)
        read_parquet(path)
    except RadiosslError:
        return False
    return True if sealed else None


def _has_seal(schema: pa.Schema) -> bool:
    return _SEAL in (schema.metadata or {})


def _seal_holds(schema: pa.Schema) -> bool:
    metadata = schema.metadata or {}
    return bool(metadata[_SEAL] == _digest(schema, metadata))
