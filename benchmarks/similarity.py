"""How fast, how right and how small the index of many vectors is, beside exact search in the same run.

    python benchmarks/similarity.py [--count 1000000] [--dimension 512] [--threads 2] [--probes 8,16,32] [--json FILE]
    python benchmarks/similarity.py --rivals [--count 200000]      # other indexes beside ours; needs usearch

The vectors are simulated after the features that a trained ResNet18 gives for FIRST cutouts, of which this was
measured: all lie around one direction, so that the mean of the unit vectors is 0.85 long; clusters of very different
sizes (log-normal) hold a fifth of the variance around that mean; and inside a cluster the variance falls along its axes
as (1 + (k / 6)^2)^-1.25, k = 1, 2, ..., so that 8 axes of 512 hold three quarters of it. Axes are turned, and differ
between clusters. Queries are further vectors of the same kind, which are not in the index.

The feature table is written in parts, indexed in a process of its own, and searched from its files, as a user would;
then a hundredth of as many rows is added. Exact search is faiss's IndexFlatIP in memory, timed in turns with ours,
since a busy machine slows both alike; beyond a million vectors, which would not fit, the exact neighbours are gathered
part by part and nothing is timed beside ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from measuring import peak_gb
from radiossl.features import vector_index
from radiossl.features.index_building import build_index
from radiossl.features.neighbours import unit
from radiossl.features.stored_index import open_index

K = 10
_STEP = 50_000
_EXACT_UP_TO = 1_000_000


def simulated(count: int, dimension: int = 512, clusters: int = 500, seed: int = 0) -> Iterator[NDArray[np.float32]]:
    """Yield unit vectors, shape (up to 50,000, dimension), as the module's docstring describes."""
    rng = np.random.default_rng(seed)
    variances = (1 + (np.arange(1, dimension + 1) / 6) ** 2) ** -1.25
    variances *= (1 - 0.85**2) / variances.sum()
    axes = [np.linalg.qr(rng.normal(size=(dimension, dimension)))[0].astype(np.float32) for _ in range(9)]
    mean = np.abs(rng.normal(size=dimension))
    mean *= 0.85 / np.linalg.norm(mean)
    centres = (mean + (rng.normal(size=(clusters, dimension)) * np.sqrt(0.8 * variances)) @ axes[8]).astype(np.float32)
    shares = rng.lognormal(0.0, 1.0, clusters)
    for start in range(0, count, _STEP):
        members = rng.choice(clusters, min(_STEP, count - start), p=shares / shares.sum())
        shape = (len(members), dimension)
        part = rng.standard_normal(shape, dtype=np.float32) * np.sqrt(0.2 * variances).astype(np.float32)
        for turn in range(8):
            chosen = members % 8 == turn
            part[chosen] = part[chosen] @ axes[turn]
        yield unit(part + centres[members])


def write_table(parts: Iterable[NDArray[np.float32]], dimension: int, path: Path, first: int = 0) -> None:
    """Write parts of vectors as a feature table, its ids counted from `first`."""
    schema = pa.schema([("cutout_id", pa.string()), ("features", pa.list_(pa.float32(), dimension))])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for part in parts:
            flat = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), dimension)
            ids = pa.array([f"c{first + row:08d}" for row in range(len(part))])
            writer.write_table(pa.table({"cutout_id": ids, "features": flat}))
            first += len(part)


class Exact:
    """The exact neighbours of queries among vectors that go by in parts; with `keep`, an index of them all."""

    def __init__(self, queries: NDArray[np.float32], keep: bool) -> None:
        import faiss

        self.queries, self.seen = queries, 0
        self.similarities = np.full((len(queries), K), -np.inf, np.float32)
        self.rows = np.zeros((len(queries), K), np.int64)
        self.index: Any = faiss.IndexFlatIP(queries.shape[1]) if keep else None

    def watch(self, parts: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Pass parts on."""
        import faiss

        for part in parts:
            similarities, rows = faiss.knn(self.queries, part, K, metric=faiss.METRIC_INNER_PRODUCT)
            joined = np.hstack([self.similarities, similarities]), np.hstack([self.rows, rows + self.seen])
            best = np.argsort(-joined[0], axis=1, kind="stable")[:, :K]
            self.similarities, self.rows = (np.take_along_axis(array, best, axis=1) for array in joined)
            self.seen += len(part)
            if self.index is not None:
                self.index.add(part)
            yield part

    def search(self, queries: NDArray[np.float32], k: int) -> None:
        """Search the index, if there is one."""
        if self.index is not None:
            self.index.search(queries, k)

    def recall(self, found: NDArray[np.int64]) -> float:
        """Share of the ten nearest that were found."""
        return float(np.mean([len(np.intersect1d(*pair)) / K for pair in zip(self.rows, found, strict=True)]))


def build(tables: list[Path], folder: Path, threads: int) -> tuple[float, float]:
    """Index tables, or add what is new in them; seconds it took and the process's largest memory in MB."""
    import faiss

    faiss.omp_set_num_threads(threads)
    start = time.perf_counter()
    build_index(tables, folder, kind="ivf-sq8")
    return time.perf_counter() - start, 1e3 * peak_gb()


def seconds(search: Any, queries: NDArray[np.float32], at_once: int) -> float:
    """Time per query."""
    start = time.perf_counter()
    for first in range(0, len(queries), at_once):
        search(queries[first : first + at_once], K)
    return (time.perf_counter() - start) / len(queries)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Our index: everything, as numbers."""
    import faiss

    faiss.omp_set_num_threads(options.threads)
    parts = simulated(options.count + options.count // 100 + _STEP, options.dimension)
    queries = next(parts)[: options.queries].copy()
    exact = Exact(queries, options.count <= _EXACT_UP_TO)
    more = options.count // _STEP
    write_table(exact.watch(islice(parts, more)), options.dimension, folder / "features.parquet")
    tables, index = [folder / "features.parquet"], folder / "index"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        build_s, build_mb = pool.submit(build, tables, index, options.threads).result()
    print(f"built in {build_s:.0f} s with at most {build_mb:.0f} MB", flush=True)
    ours = open_index(index).vectors
    sizes = [file.stat().st_size for file in index.glob("*.faiss")]
    result: dict[str, Any] = {
        "vectors": len(ours),
        "dimension": options.dimension,
        "threads": options.threads,
        "build_s": build_s,
        "build_largest_memory_mb": build_mb,
        "bytes_per_vector": sum(sizes) / len(ours),
        "probes": [],
    }
    few = queries[: options.single_queries]
    for probes in options.probes:
        vector_index.PROBES = probes
        row: dict[str, Any] = {"probes": probes, "recall_at_10": exact.recall(ours.search(queries, K)[1])}
        for name, asked, at_once in (("batch", queries, len(queries)), ("single", few, 1)):
            times = [
                (
                    seconds(exact.index.search, asked, at_once) if exact.index else np.nan,
                    seconds(ours.search, asked, at_once),
                )
                for _ in range(options.repeats)
            ]
            exact_s, ours_s = (statistics.median(column) for column in zip(*times, strict=True))
            row |= {f"{name}_exact_ms": 1e3 * exact_s, f"{name}_ms": 1e3 * ours_s}
            row |= {f"{name}_ratio": statistics.median(theirs / own for theirs, own in times)}
        result["probes"].append(row)
        beside = ""
        if exact.index is not None:
            beside = f" ({row['batch_ratio']:.1f} and {row['single_ratio']:.1f} times as fast as exact)"
        print(
            f"{probes:4d} probes: recall@10 {row['recall_at_10']:.4f}; {len(queries)} at once {row['batch_ms']:.3f} ms,"
            f" one at a time {row['single_ms']:.2f} ms{beside}; largest memory {peak_gb():.1f} GB",
            flush=True,
        )
    del ours
    write_table(parts, options.dimension, folder / "more.parquet", first=options.count)
    tables = [folder / "features.parquet", folder / "more.parquet"]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        result["add_s"], _ = pool.submit(build, tables, folder / "index", options.threads).result()
    print(
        f"{len(open_index(folder / 'index').vectors) - more * _STEP} more added in {result['add_s']:.0f} s", flush=True
    )
    return result


def rivals(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Other indexes of the same vectors in memory, beside ours: how big, how quick and how right each is."""
    import faiss
    from usearch.index import Index

    faiss.omp_set_num_threads(options.threads)
    parts = simulated(options.count + _STEP, options.dimension)
    exact = Exact(next(parts)[: options.queries].copy(), keep=False)
    vectors = np.concatenate(list(exact.watch(parts)))
    lists = vector_index.clusters(len(vectors))
    rows = []

    def note(name: str, built: float, size: float, search: Callable[[NDArray[np.float32]], NDArray[np.int64]]) -> None:
        found = search(exact.queries)
        times = []
        for query in exact.queries[: options.single_queries]:
            start = time.perf_counter()
            search(query[None])
            times.append(time.perf_counter() - start)
        row = {"index": name, "build_s": built, "bytes_per_vector": size / len(vectors)}
        rows.append(row | {"single_ms": 1e3 * statistics.median(times), "recall_at_10": exact.recall(found)})
        print(
            " ".join(f"{key} {value:.4g}" if key != "index" else value for key, value in rows[-1].items()), flush=True
        )

    start = time.perf_counter()
    index: Any = vector_index.train_clusters(vectors[: vector_index.sample_size(len(vectors))], len(vectors))
    index.add(vectors)
    ours = vector_index.VectorIndex([index], "ivf-sq8")
    note("ours", time.perf_counter() - start, _faiss_bytes(index), lambda asked: ours.search(asked, K)[1])
    for name, settings in {
        f"IVF{lists},PQ64,Refine(SQ8)": "nprobe=32,k_factor_rf=16",
        "HNSW32_SQ8": "efSearch=128",
    }.items():
        start = time.perf_counter()
        other = faiss.index_factory(options.dimension, name, faiss.METRIC_L2)
        other.train(vectors[: 40 * lists])
        other.add(vectors)
        built = time.perf_counter() - start
        faiss.ParameterSpace().set_index_parameters(other, settings)
        note(f"faiss {name}", built, _faiss_bytes(other), lambda asked, other=other: other.search(asked, K)[1])
    start = time.perf_counter()
    graph = Index(ndim=options.dimension, metric="cos", dtype="i8", expansion_search=128)
    graph.add(np.arange(len(vectors)), vectors, threads=options.threads)
    built = time.perf_counter() - start
    note(
        "usearch, 8 bits",
        built,
        graph.memory_usage,
        lambda asked: np.atleast_2d(graph.search(asked, K, threads=options.threads).keys).astype(np.int64),
    )
    return rows


def _faiss_bytes(index: Any) -> int:
    import faiss

    return len(faiss.serialize_index(index))


def main() -> None:
    """Print the numbers, and write them as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, help="vectors, in steps of 50,000 (default: a million; rivals: 200,000)")
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--rivals", action="store_true", help="compare ours with other indexes")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--single-queries", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--probes", type=lambda text: [int(part) for part in text.split(",")], default=[8, 16, 32])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.count = options.count or (200_000 if options.rivals else 1_000_000)
    if options.rivals:
        result: Any = rivals(options)
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = measure(options, Path(folder))
        print(f"{result['bytes_per_vector']:.0f} bytes a vector")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
