"""How much faster the compiled forest is than scikit-learn's own, measured in turns, and what 111 million rows take.

    python benchmarks/forest_predict.py CATALOGUE.csv [--rows 100000] [--stream 10000000] [--json FILE]

The catalogue (columns u, g, r, i, z, class) trains the forest on half of its rows. Rows to classify are drawn from it
with scatter, so that they are like the real ones. All compute on the same number of threads. treelite is measured too
where it is installed, and its compiled form where tl2cgen and a C compiler are.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sklearn.ensemble import RandomForestClassifier

from measuring import peak_gb, print_facts
from radiossl.tables.columns import TableColumns
from radiossl.tables.forest import from_scikit_learn
from radiossl.tables.prediction import predict_table

BANDS = ("u", "g", "r", "i", "z")
COLUMNS = TableColumns(BANDS, tuple(pairwise(BANDS)))
TURNS, CATALOGUE_ROWS, PIECE = 3, 111_000_000, 500_000


def simulated(bands: np.ndarray, count: int, rng: np.random.Generator) -> pa.Table:
    drawn = bands[rng.integers(0, len(bands), count)] + rng.normal(0, 0.05, (count, len(BANDS)))
    return pa.table({name: drawn[:, place].astype(np.float32) for place, name in enumerate(BANDS)})


def rivals(model: RandomForestClassifier, threads: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Other ways to predict by the same forest, as far as they are installed."""
    if not find_spec("treelite"):
        return {}
    import treelite

    converted = treelite.sklearn.import_model(model)
    found = {"treelite": lambda rows: treelite.gtil.predict(converted, rows, nthread=threads).reshape(len(rows), -1)}
    if find_spec("tl2cgen") and shutil.which("gcc"):
        import tl2cgen

        library = Path(tempfile.mkdtemp()) / "forest.so"
        start = time.perf_counter()
        tl2cgen.export_lib(converted, toolchain="gcc", libpath=str(library), params={"parallel_comp": 64})
        print(f"tl2cgen compiled for {time.perf_counter() - start:.0f} s")
        compiled = tl2cgen.Predictor(str(library), nthread=threads)
        shutil.rmtree(library.parent)
        found["tl2cgen"] = lambda rows: compiled.predict(tl2cgen.DMatrix(rows, dtype="float32")).reshape(len(rows), -1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--stream", type=int, default=10_000_000, help="rows that are read from disk and written")
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    frame = pd.read_csv(options.catalogue)
    bands, rng = frame[list(BANDS)].to_numpy(), np.random.default_rng(0)
    values = COLUMNS.matrix(pa.Table.from_pandas(frame))[::2]
    threads = torch.get_num_threads()
    model = RandomForestClassifier(options.trees, class_weight="balanced", random_state=0, n_jobs=threads)
    model.fit(values, frame["class"].to_numpy()[::2])
    forest = from_scikit_learn(model, COLUMNS, [str(name) for name in model.classes_], {})
    asked = COLUMNS.matrix(simulated(bands, options.rows, rng))
    forest.probabilities(asked[:2000])  # compiles
    ways = {"scikit-learn": model.predict_proba, "radiossl": forest.probabilities}
    ways |= rivals(model, threads)
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    said = {}
    for _ in range(TURNS):
        for name, way in ways.items():
            start, used = time.perf_counter(), time.process_time()
            said[name] = way(asked)
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - used)
    best = {name: (min(wall[name]), min(cpu[name])) for name in ways}
    found = {
        "threads": threads,
        "trees": options.trees,
        "nodes_per_tree": len(forest.feature) / options.trees,
        "rows": options.rows,
        **{f"{name}_largest_difference": float(np.abs(said[name] - said["scikit-learn"]).max()) for name in ways},
        **{f"{name}_rows_per_s": options.rows / best[name][0] for name in ways},
        **{f"{name}_rows_per_cpu_s": options.rows / best[name][1] for name in ways},
        **{f"{name}_ratio_wall": best["scikit-learn"][0] / best[name][0] for name in ways},
        **{f"{name}_ratio_cpu": best["scikit-learn"][1] / best[name][1] for name in ways},
    }
    if options.stream:
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder, "rows.parquet")
            writer = None
            for start in range(0, options.stream, PIECE):
                piece = simulated(bands, min(PIECE, options.stream - start), rng)
                writer = writer or pq.ParquetWriter(table, piece.schema)
                writer.write_table(piece)
            assert writer is not None
            writer.close()
            before = peak_gb()
            begin, used = time.perf_counter(), time.process_time()
            predict_table(forest, table, Path(folder, "said.parquet"))
            seconds, busy = time.perf_counter() - begin, time.process_time() - used
        found |= {
            "streamed_rows": options.stream,
            "streamed_s": seconds,
            "streamed_cpu_s": busy,
            "peak_memory_gb": peak_gb(),
            "peak_memory_before_gb": before,
            "hours_for_111_million": seconds / options.stream * CATALOGUE_ROWS / 3600,
        }
    print_facts(found, options.json)


if __name__ == "__main__":
    main()
