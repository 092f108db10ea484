"""How much memory and time a map of a million sources takes.

    python benchmarks/map_million.py [--sources 1000000] [--dimension 512] [--sample 100000] [--json FILE]

Simulated features (groups in random directions) are written as Parquet piece by piece, then mapped and drawn in a
process of its own, so that its peak memory is that of `radiossl map` alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from measuring import peak_gb, print_facts

GROUPS, PIECE = 40, 20_000


def write_features(path: Path, count: int, dimension: int) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(GROUPS, dimension)).astype(np.float32)
    schema = pa.schema(
        [
            ("cutout_id", pa.string()),
            ("ra_deg", pa.float64()),
            ("dec_deg", pa.float64()),
            ("rms", pa.float64()),
            ("group", pa.string()),
            ("features", pa.list_(pa.float32(), dimension)),
        ],
        metadata={b"radiossl": b"{}"},
    )
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=["group"]) as writer:
        for start in range(0, count, PIECE):
            size = min(PIECE, count - start)
            group = rng.integers(0, GROUPS, size)
            vectors = centres[group] + rng.normal(0, 0.7, (size, dimension)).astype(np.float32)
            arrays = [
                pa.array([f"s{row}" for row in range(start, start + size)]),
                pa.array(rng.uniform(0, 360, size)),
                pa.array(rng.uniform(-90, 90, size)),
                pa.array(10.0 ** (-4 + 0.05 * group) * rng.lognormal(0, 0.2, size)),
                pa.array([f"g{number % 8}" for number in group]),
                pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).ravel()), dimension),
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def measure(features: Path, out: Path, method: str, sample: int, results: multiprocessing.Queue) -> None:
    from radiossl.features.feature_file import FeatureFile
    from radiossl.maps.layout import make_map, map_columns
    from radiossl.maps.report import write_map

    start, used = time.perf_counter(), time.process_time()
    file = FeatureFile(features)
    made = make_map(file, method, sample=sample)
    mapped, mapped_cpu = time.perf_counter() - start, time.process_time() - used
    write_map(made, map_columns(file, ["rms", "group"]), out, ["rms", "group"])
    results.put(
        {
            "method": method,
            "sources": len(file),
            "dimension": file.dimension,
            "fitted": int(made.fitted.sum()),
            "map_s": mapped,
            "map_cpu_s": mapped_cpu,
            "all_s": time.perf_counter() - start,
            "all_cpu_s": time.process_time() - used,
            "peak_memory_gb": peak_gb(),
            "trustworthiness": made.quality["trustworthiness"],
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--sample", type=int, default=100_000)
    parser.add_argument("--method", choices=["umap", "pca"], default="umap")
    parser.add_argument("--folder", type=Path, help="keep features and results here")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        features = folder / "features.parquet"
        if not features.exists():
            write_features(features, options.sources, options.dimension)
        context = multiprocessing.get_context("spawn")
        results = context.Queue()
        job = (features, folder / "map", options.method, options.sample, results)
        process = context.Process(target=measure, args=job)
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"the map ended with status {process.exitcode}")
        found = results.get()
    print_facts(found, options.json)


if __name__ == "__main__":
    main()
