"""How fast, how right and how small the index of many vectors is, beside exact search in the same run.

    python benchmarks/similarity.py [--count 1000000] [--threads 2] [--probes 8,16,32] [--repeats 3] [--json FILE]

The vectors are simulated after the features that a trained ResNet18 gives for FIRST cutouts, of which this was
measured: all lie around one direction, so that the mean of the unit vectors is 0.85 long; clusters of very different
sizes (log-normal) hold a fifth of the variance around that mean; and inside a cluster the variance falls along its axes
as (1 + (k / 6)^2)^-1.25, k = 1, 2, ..., so that 8 axes of 512 hold three quarters of it. Axes are turned, and differ
between clusters. Queries are further vectors of the same kind, which are not in the index.

The feature table is written, indexed in a process of its own, and searched from its files, as a user would; exact
search is faiss's IndexFlatIP in memory. Both are timed in turns, since a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
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

DIMENSION = 512
K = 10
_STEP = 50_000


def simulated(count: int, clusters: int = 500, seed: int = 0) -> NDArray[np.float32]:
    """Unit vectors, shape (count, 512), as the module's docstring describes."""
    rng = np.random.default_rng(seed)
    variances = (1 + (np.arange(1, DIMENSION + 1) / 6) ** 2) ** -1.25
    variances *= (1 - 0.85**2) / variances.sum()
    axes = [np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))[0].astype(np.float32) for _ in range(9)]
    mean = np.abs(rng.normal(size=DIMENSION))
    mean *= 0.85 / np.linalg.norm(mean)
    centres = (mean + (rng.normal(size=(clusters, DIMENSION)) * np.sqrt(0.8 * variances)) @ axes[8]).astype(np.float32)
    shares = rng.lognormal(0.0, 1.0, clusters)
    vectors = np.empty((count, DIMENSION), np.float32)
    for start in range(0, count, _STEP):
        part = vectors[start : start + _STEP]
        members = rng.choice(clusters, len(part), p=shares / shares.sum())
        offsets = rng.standard_normal(part.shape, dtype=np.float32) * np.sqrt(0.2 * variances).astype(np.float32)
        for turn in range(8):
            chosen = members % 8 == turn
            part[chosen] = offsets[chosen] @ axes[turn]
        part[:] = unit(part + centres[members])
    return vectors


def write_table(vectors: NDArray[np.float32], path: Path) -> None:
    """Write vectors as a feature table, a part at a time."""
    schema = pa.schema([("cutout_id", pa.string()), ("features", pa.list_(pa.float32(), DIMENSION))])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, len(vectors), _STEP):
            part = vectors[start : start + _STEP]
            flat = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), DIMENSION)
            ids = pa.array([f"c{start + row:08d}" for row in range(len(part))])
            writer.write_table(pa.table({"cutout_id": ids, "features": flat}))


def build(table: Path, folder: Path, threads: int) -> tuple[float, float]:
    """Index a table; seconds it took and the process's largest memory in MB."""
    import faiss

    faiss.omp_set_num_threads(threads)
    start = time.perf_counter()
    build_index([table], folder, kind="ivf-sq8")
    return time.perf_counter() - start, 1e3 * peak_gb()


def seconds(search: Any, queries: NDArray[np.float32], at_once: int) -> float:
    """Time per query."""
    start = time.perf_counter()
    for first in range(0, len(queries), at_once):
        search(queries[first : first + at_once], K)
    return (time.perf_counter() - start) / len(queries)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything, as numbers."""
    import faiss

    every = simulated(options.count + options.queries)
    vectors, queries = every[: options.count], every[options.count :].copy()
    write_table(vectors, folder / "features.parquet")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        build_s, build_mb = pool.submit(build, folder / "features.parquet", folder / "index", options.threads).result()
    print(f"built in {build_s:.0f} s with at most {build_mb:.0f} MB", flush=True)
    faiss.omp_set_num_threads(options.threads)
    exact = faiss.IndexFlatIP(DIMENSION)
    exact.add(vectors)
    del vectors, every
    ours = open_index(folder / "index").vectors
    sizes = [file.stat().st_size for file in (folder / "index").glob("*.faiss")]
    result: dict[str, Any] = {
        "vectors": len(ours),
        "threads": options.threads,
        "build_s": build_s,
        "build_largest_memory_mb": build_mb,
        "memory_fraction": sum(sizes) / exact.sa_code_size() / len(ours),
        "probes": [],
    }
    truth = exact.search(queries, K)[1]
    few = queries[: options.single_queries]
    for probes in options.probes:
        vector_index.PROBES = probes
        found = ours.search(queries, K)[1]
        recall = np.mean([len(np.intersect1d(*pair)) / K for pair in zip(truth, found, strict=True)])
        row: dict[str, Any] = {"probes": probes, "recall_at_10": float(recall)}
        for name, asked, at_once in (("batch", queries, len(queries)), ("single", few, 1)):
            times = [
                (seconds(exact.search, asked, at_once), seconds(ours.search, asked, at_once))
                for _ in range(options.repeats)
            ]
            exact_s, ours_s = (statistics.median(column) for column in zip(*times, strict=True))
            ratios = [theirs / own for theirs, own in times]
            row |= {f"{name}_exact_ms": 1e3 * exact_s, f"{name}_ms": 1e3 * ours_s}
            row |= {f"{name}_ratio": statistics.median(ratios), f"{name}_ratios": ratios}
        result["probes"].append(row)
        print(
            f"{probes:4d} probes: recall@10 {recall:.4f}; {len(queries)} at once {row['batch_ms']:.3f} ms,"
            f" exact {row['batch_exact_ms']:.2f} ms, {row['batch_ratio']:.1f} times faster; one"
            f" at a time {row['single_ms']:.2f} ms, exact {row['single_exact_ms']:.1f} ms,"
            f" {row['single_ratio']:.1f} times faster",
            flush=True,
        )
    return result


def main() -> None:
    """Print the numbers, and write them as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--single-queries", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--probes", type=lambda text: [int(part) for part in text.split(",")], default=[8, 16, 32])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options, Path(folder))
    print(f"memory: {result['memory_fraction']:.3f} of the exact index's")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
