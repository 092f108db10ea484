"""Cost against size: cutting, embedding and indexing 1,000, 10,000 and 100,000 cutouts, each in a process of its own.

    python benchmarks/scaling.py [--counts 1000,10000,100000] [--box 32] [--json FILE]

Sources at random places on one simulated mosaic, boxes of 32 pixels, features of a ResNet18 with random weights and one
view. What is linear shows the same time per cutout in every row, what is flat the same peak memory.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cutting import write_catalogue, write_mosaics
from measuring import in_child, write_rows
from radiossl.images.preprocess import Preprocessing
from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone, save_backbone

SIDE = 4096


@dataclass(frozen=True)
class Cost:
    """One step on so many cutouts."""

    step: str
    cutouts: int
    seconds: float
    peak_gb: float


def cut(folder: Path, count: int, box: int) -> None:
    """Cut a box around every source."""
    from radiossl.survey.sources import cut_sources

    cut_sources([folder / "plain.fits"], folder / f"{count}.csv", folder / f"store{count}", size=box)


def embed(folder: Path, count: int, box: int) -> None:
    """Make the feature table, as `radiossl embed` does."""
    from radiossl.features.parts import write_features
    from radiossl.store.store import open_store
    from radiossl.weights.backbone import load_backbone

    store, out = open_store(folder / f"store{count}"), folder / f"features{count}.parquet"
    write_features(load_backbone(folder / "backbone"), store, out)


def index(folder: Path, count: int, box: int) -> None:
    """Index the features by the way made for many, whatever their number."""
    from radiossl.features.index_building import build_index

    build_index([folder / f"features{count}.parquet"], folder / f"index{count}", kind="ivf-sq8")


STEPS: dict[str, Callable[[Path, int, int], None]] = {"cutting": cut, "embedding": embed, "indexing": index}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="1000,10000,100000", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--box", type=int, default=32)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        mosaic = write_mosaics(folder, SIDE)["plain"]
        preprocessing = Preprocessing(mode="floor-stretch", size=options.box, views=1)
        backbone = Backbone.random(Architecture(), preprocessing, seed=0)
        save_backbone(folder / "backbone", backbone.network, backbone.config)
        print(f"{'':10s} {'cutouts':>8s} {'seconds':>8s} {'ms each':>8s} {'peak GB':>8s}")
        for count in options.counts:
            write_catalogue(folder / f"{count}.csv", mosaic, count, options.box)
            for step, function in STEPS.items():
                run = in_child(function, folder, count, options.box)
                rows.append(Cost(step, count, run.seconds, run.peak_gb))
                print(f"{step:10s} {count:8d} {run.seconds:8.1f} {1e3 * run.seconds / count:8.3f} {run.peak_gb:8.2f}")
    if options.json:
        write_rows(options.json, rows)


if __name__ == "__main__":
    main()
