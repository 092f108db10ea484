"""How fast pretraining is on an accelerator or a CPU: views, steps against the bare model step, a large epoch.

    python benchmarks/accelerator.py [--sizes 64 128 224] [--batch 256] [--seconds 3] [--json FILE]

Prints a Markdown table with the device's name: pairs of views a second of raw 256-pixel cutouts that lie on the device,
training steps a second with the views and without them, their ratio, and what an epoch of 178,057 cutouts would take.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from radiossl.pretraining.recipe import read_recipe
from radiossl.pretraining.trainer import Trainer
from radiossl.store.cutout import Cutout
from radiossl.store.schema import store_schema
from radiossl.store.writing import write_store
from throughput import _batches, cutouts

EPOCH = 178_057  # cutouts of Riggi et al. 2024, section 3


def rate(call: Callable[[], object], seconds: float) -> float:
    """Calls a second, after a warm-up, with the device's queue emptied at both ends."""

    def waited(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start

    waited(3)
    count = max(1, round(seconds / (waited(2) / 2)))
    return count / waited(count)


def measured(recipe_name: str, size: int, batch: int, seconds: float, folder: Path) -> dict[str, float | str]:
    """One row of the table."""
    store = folder / "store"
    if not store.exists():
        schema = store_schema()
        images = cutouts(64)
        made = [Cutout(f"c{i}", images[i % 64], "simulated", 0.0, 0.0, 0.0, 0.0, 1.8) for i in range(4 * batch)]
        write_store(store, [0], partial(_batches, made, schema), schema, {"command": "benchmark"})
    changes = [f"batch_size={batch}", "optimizer.lr=0.001", f"preprocessing.size={size}", "schedule.epochs=1000000"]
    trainer = Trainer(read_recipe(recipe_name, changes)[0], [store], folder / "run")
    parts = trainer.parts()
    views = rate(lambda: next(parts), seconds)
    random = [torch.rand(batch, 3, size, size, device=trainer.device) for _ in range(2)]
    random = [view.contiguous(memory_format=torch.channels_last) for view in random]
    bare = rate(lambda: trainer.optimise([random]), seconds)
    whole = rate(lambda: trainer.train_step(parts), seconds)
    return {
        "recipe": recipe_name,
        "size": size,
        "batch": batch,
        "precision": trainer.precision,
        "pairs_of_views_per_s": views * batch,
        "bare_steps_per_s": bare,
        "steps_per_s": whole,
        "ratio": whole / bare,
        "epoch_s": EPOCH / (whole * batch),
    }


def device_name() -> str:
    """What the numbers were measured on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def main() -> None:
    """Print the table, and write it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128, 224])
    parser.add_argument("--recipes", nargs="+", default=["simclr-hulk", "radiossl"])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.recipes:
            for size in options.sizes:
                rows.append(measured(name, size, options.batch, options.seconds, Path(folder)))
    print(f"On {device_name()}, torch {torch.__version__}, batches of {options.batch} pairs:\n")
    print("| recipe | size, px | pairs of views/s | bare steps/s | steps/s | ratio | epoch of 178,057, s |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        cells = [f"`{row['recipe']}`", row["size"], f"{row['pairs_of_views_per_s']:,.0f}"]
        cells += [f"{row[key]:.1f}" for key in ("bare_steps_per_s", "steps_per_s")]
        print("|", " | ".join(map(str, [*cells, f"{row['ratio']:.2f}", f"{row['epoch_s']:,.0f}"])), "|")
    if options.json:
        options.json.write_text(json.dumps({"device": device_name(), "rows": rows}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
