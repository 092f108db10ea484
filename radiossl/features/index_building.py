"""Building a similarity index from feature tables, and adding to it, in a memory that does not grow with them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

import radiossl
from radiossl.features.feature_file import FeatureFile
from radiossl.features.neighbours import unit
from radiossl.features.stored_index import (
    FORMAT,
    MANIFEST,
    TRAINED,
    VERSION,
    StoredKind,
    promoted,
    read_faiss,
    read_manifest,
    write_faiss,
)
from radiossl.features.vector_index import FLAT_UP_TO, empty_index, sample_size, train_clusters
from radiossl.io.checksums import FILES, file_checksum
from radiossl.io.errors import RadiosslError, check_choice, check_seed
from radiossl.io.files import PathLike, atomic_file, atomic_folder, path_list, remove_strays, write_json
from radiossl.io.locks import only_writer
from radiossl.io.parquet import open_parquet, parquet_writer
from radiossl.io.progress import track
from radiossl.sky.angles import angles_arcsec, unit_vectors

if TYPE_CHECKING:
    import pyarrow.parquet as pq

#: Vectors of a block, which is held in memory while it is written.
BLOCK_BYTES = 2**30
#: Cutouts of one id whose centres are no farther apart are the same.
SAME_ARCSEC = 1.0
_IDENTITY = {"cutout_id": pa.large_string(), "ra_deg": pa.float64(), "dec_deg": pa.float64()}
_ROW_GROUP = 16384
#: Rows of a block that are compared with new ones at a time.
_PROBED = 1 << 20
#: Names of the files of a block, with its number.
_VECTORS, _COLUMNS = "vectors-{}.faiss", "columns-{}.parquet"


@dataclass(frozen=True)
class Indexed:
    """The cutouts that `build_index` added, those that the index had already (id and position), and all it has now."""

    kind: StoredKind
    added: int
    skipped: int
    total: int


def build_index(tables: Sequence[PathLike], folder: PathLike, kind: StoredKind | None = None, seed: int = 0) -> Indexed:
    """Make a similarity index of feature tables, or add them to one.

    The tables are streamed: besides their ids, no more than a block of `BLOCK_BYTES` is in memory. An index that is
    being made appears only when it is complete, and one that is added to changes all at once.

    Parameters
    ----------
    tables
        Parquet files as `FeatureTable.write` writes them, of the same weights and preprocessing.
    folder
        The index; made if it does not exist.
    kind
        See `VectorIndex`; by default ``flat`` for up to `FLAT_UP_TO` vectors. An index keeps its kind and its clusters
        when it is added to.
    seed
        For the sample that the clusters are learnt from, and where they start.

    Raises
    ------
    RadiosslError
        If a file is no feature table, was made with other weights or preprocessing, the folder is something else, or
        another process is adding to it.
    """
    if kind is not None:
        check_choice("--kind", kind, StoredKind)
    check_seed(seed)
    sources = [FeatureFile(path) for path in path_list(tables)]
    if not sources:
        raise RadiosslError("no feature table was given")
    for source in sources[1:]:
        _same_features(source, sources[0].dimension, sources[0].metadata, str(sources[0].path))
    with only_writer(folder):
        return _make_or_extend(sources, Path(folder), kind, seed)


def _make_or_extend(sources: Sequence[FeatureFile], folder: Path, kind: StoredKind | None, seed: int) -> Indexed:
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        if kind not in (None, manifest["kind"]):
            raise RadiosslError(f"{folder}: is an index of kind {manifest['kind']}, not {kind}; make a new one")
        _same_features(sources[0], manifest["dimension"], manifest["metadata"], str(folder))
        return _add(sources, folder, manifest)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RadiosslError(f"{folder}: exists and is not a similarity index; give another folder")
    total = sum(len(source) for source in sources)
    manifest = {"format": FORMAT, "version": VERSION, "radiossl_version": radiossl.__version__}
    manifest |= {"kind": kind or ("flat" if total <= FLAT_UP_TO else "ivf-sq8"), "dimension": sources[0].dimension}
    manifest |= {"count": 0, "metadata": sources[0].metadata | {"stores": []}, "blocks": []}
    with atomic_folder(folder, checksums=False) as temporary:
        if manifest["kind"] != "flat":
            write_faiss(train_clusters(_sample(sources, total, seed), total, seed), temporary / TRAINED)
        return _add(sources, temporary, manifest)


def _same_features(source: FeatureFile, dimension: int, metadata: dict[str, Any], other: str) -> None:
    if source.dimension != dimension:
        raise RadiosslError(f"{source.path}: features of {source.dimension} dimensions, {other} has {dimension}")
    for key, what in (("weights_sha256", "weights"), ("preprocessing", "preprocessing"), ("embedding", "read-out")):
        if source.metadata.get(key) != metadata.get(key):
            raise RadiosslError(
                f"{source.path}: made with other {what} than {other}; features of one index must come from the same"
            )


def _fresh(sources: Sequence[FeatureFile], known: Sequence[Path]) -> NDArray[np.bool_]:
    """Return which rows of the tables, one after the other, the index and the rows before do not have.

    Two rows are the same cutout if they have one id and, where both have a position, lie within `SAME_ARCSEC`:
    catalogues that are numbered from 0 in every field have the same ids for other sources.
    """
    new = pa.concat_tables([_identities(source.columns(list(_IDENTITY))) for source in sources])
    ids = new.column("cutout_id")
    ordered = pc.unique(ids).drop_null().sort()
    older = pa.concat_tables([new[:0], *(rows for path in known for rows in _rows_called(path, ordered))])
    shared = ids.to_pandas().duplicated(keep=False).to_numpy()
    shared = shared | pc.is_in(ids, value_set=older.column("cutout_id").combine_chunks()).to_numpy()
    fresh = ~shared
    if not shared.any():
        return fresh
    frame = pa.concat_tables([older, new.filter(pa.array(shared))]).to_pandas()
    repeated = frame.duplicated().to_numpy(copy=True)  # in every digit, as where a table is added again
    left = frame[~repeated]
    left = left[left["cutout_id"].duplicated(keep=False)]
    vectors = unit_vectors(*left[["ra_deg", "dec_deg"]].to_numpy(float).T)
    for places in left.groupby("cutout_id", sort=False).indices.values():
        for number, place in enumerate(places[1:], 1):
            angles = angles_arcsec(vectors[places[:number]], np.broadcast_to(vectors[place], (number, 3)))
            repeated[left.index[place]] = bool((np.isnan(angles) | (angles <= SAME_ARCSEC)).any())
    fresh[shared] = ~repeated[older.num_rows :]
    return fresh


def _rows_called(path: Path, ids: pa.Array) -> Iterator[pa.Table]:
    """Yield the identities in a block that have one of some ids, which are sorted, reading what may hold them."""
    with open_parquet(path, memory_map=True) as file:
        groups = [group for group in range(file.num_row_groups) if _may_hold(file.metadata.row_group(group), ids)]
        for batch in file.iter_batches(_PROBED, row_groups=groups, columns=list(_IDENTITY)):
            rows = _identities(pa.Table.from_batches([batch]))
            yield rows.filter(pc.is_in(rows.column("cutout_id"), value_set=ids))


def _may_hold(group: pq.RowGroupMetaData, ids: pa.Array) -> bool:
    """Tell by the first and the last id of a row group whether it may hold one of some ids, which are sorted."""
    columns = (group.column(number) for number in range(group.num_columns))
    known = next((column.statistics for column in columns if column.path_in_schema == "cutout_id"), None)
    if known is None or not known.has_min_max or not isinstance(known.min, str):
        return True
    place = bisect_left(range(len(ids)), known.min, key=lambda number: ids[number].as_py())
    return place < len(ids) and ids[place].as_py() <= known.max


def _identities(columns: pa.Table) -> pa.Table:
    """What tells cutouts apart: id and position, null where unknown."""
    missing = pa.nulls(columns.num_rows, pa.float64())
    named = {n: columns.column(n).cast(kind) if n in columns.column_names else missing for n, kind in _IDENTITY.items()}
    return pa.table(named)


def _add(sources: Sequence[FeatureFile], folder: Path, manifest: dict[str, Any]) -> Indexed:
    """Write new blocks, then the manifest that names them; until then nobody reads them."""
    _remove_unlisted(folder)
    empty = empty_index("flat", manifest["dimension"]) if manifest["kind"] == "flat" else read_faiss(folder / TRAINED)
    entries = list(manifest["blocks"])
    fresh = _fresh(sources, [folder / entry["columns"] for entry in entries])
    for source, part in zip(sources, np.split(fresh, np.cumsum([len(source) for source in sources])[:-1]), strict=True):
        source.leave_out(~part)
    schema = pa.unify_schemas([source.schema for source in sources], promote_options="permissive")
    rows = max(1, BLOCK_BYTES // empty.sa_code_size())
    stream = _batches(sources, schema)
    try:
        for first in stream:
            entries.append(_write_block(folder, len(entries), chain([first], stream), empty, schema, rows))
        metadata = dict(manifest["metadata"])
        stores = [*metadata.get("stores", []), *(store for s in sources for store in s.metadata.get("stores", []))]
        metadata["stores"] = list(dict.fromkeys(stores))
        total = manifest["count"] + int(fresh.sum())
        checksums = manifest.get(FILES, {}) | {
            file.name: file_checksum(file)
            for file in map(folder.joinpath, [TRAINED, *(e[what] for e in entries for what in ("vectors", "columns"))])
            if file.is_file() and file.name not in manifest.get(FILES, {})
        }
        manifest = manifest | {"count": total, "metadata": metadata, "blocks": entries, FILES: checksums}
        write_json(folder / MANIFEST, manifest, seal=True)
    except BaseException:
        _remove_unlisted(folder)
        raise
    return Indexed(manifest["kind"], int(fresh.sum()), int((~fresh).sum()), total)


def _remove_unlisted(folder: Path) -> None:
    """Remove blocks that the manifest does not name: those of a call that failed or was killed."""
    remove_strays(folder)
    blocks = read_manifest(folder)["blocks"] if (folder / MANIFEST).is_file() else []
    listed = {entry[what] for entry in blocks for what in ("vectors", "columns")}
    for pattern in (_VECTORS, _COLUMNS):
        for file in folder.glob(pattern.format("?????")):
            if file.name not in listed:
                file.unlink(missing_ok=True)


#: Columns and unit vectors, row by row.
_Batches = Iterator[tuple[pa.Table, NDArray[np.float32]]]


def _batches(sources: Sequence[FeatureFile], schema: pa.Schema) -> _Batches:
    batches = (batch for source in sources for batch in source.batches_with_columns())
    for columns, vectors in track(batches, "indexing", total=sum(source.batch_count for source in sources)):
        yield promoted(columns, schema), unit(vectors)


def _write_block(
    folder: Path, number: int, batches: _Batches, empty: Any, schema: pa.Schema, rows: int
) -> dict[str, Any]:
    """Fill one block from the batches; return what the manifest says of it."""
    import faiss

    index: Any = faiss.clone_index(empty)
    entry = {"vectors": _VECTORS.format(f"{number:05d}"), "columns": _COLUMNS.format(f"{number:05d}")}
    with ExitStack() as stack:
        temporary = stack.enter_context(atomic_file(folder / entry["columns"]))
        writer = stack.enter_context(parquet_writer(temporary, schema))
        for columns, vectors in batches:
            writer.write_table(columns, row_group_size=_ROW_GROUP)
            index.add(vectors)
            if index.ntotal >= rows:
                break
    if hasattr(index, "nlist"):  # the centres are in the file of the trained index, once for all blocks
        centres, nothing = index.quantizer, faiss.IndexFlatL2(index.d)
        index.own_fields, index.quantizer = False, nothing
        centres.this.own(True)  # or they would stay in memory
    write_faiss(index, folder / entry["vectors"])
    return {"count": index.ntotal, "bytes": (folder / entry["vectors"]).stat().st_size, **entry}


def _sample(sources: Sequence[FeatureFile], total: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors drawn from all tables without replacement, in their order, to learn clusters from."""
    rows = np.sort(np.random.default_rng(seed).choice(total, min(sample_size(total), total), replace=False))
    sample = np.empty((len(rows), sources[0].dimension), np.float32)
    start = 0
    batches = (vectors for source in sources for vectors in source.batches())
    for vectors in track(batches, "drawing a sample", total=sum(source.batch_count for source in sources)):
        low, high = np.searchsorted(rows, [start, start + len(vectors)])
        sample[low:high] = unit(vectors[rows[low:high] - start])
        start += len(vectors)
    return sample
