"""How fast the hot paths are: ratios to baselines measured in turns with them, in the same run on the same cores.

    python benchmarks/throughput.py [--parts clip views ...] [--repeats 5] [--before FILE] [--json FILE]

1. The clip limits and noise of a 256 x 256 cutout, against the three astropy calls for the clip limits alone.
2. Two random views of raw 256 x 256 cutouts as 224 x 224 three-channel images, against the literal chain of astropy and
   torchvision applied image by image and view by view, in one process for each core; and against lightly's stock
   SimCLR transform of pictures that are 8-bit RGB already; the same with the recipe radiossl, 64 px, zooms of boxes.
3. A pretraining step at 64, 128 and 224 px on cutouts, against the bare step of the model on random tensors.
4. That bare step as it is trained (channels last, bfloat16 where the hardware has it) against plain float32.
5. Features of many images at 48 px, against the float32 network as it is.
6. Cutouts of 10,000 sources on a mosaic, against Cutout2D for each, and their memory: benchmarks/cutting.py.

With --before, the JSON of another checkout is shown beside it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms import v2

from cutting import Memory, bench_cutting
from measuring import Ratio, measure, print_ratios, write_rows
from radiossl.images.preprocess import Preprocessing
from radiossl.images.views import PRESETS, Augmentation, ViewMaker
from radiossl.pretraining.recipe import read_recipe
from radiossl.pretraining.run import Trainer
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.statistics import PixelStatistics
from radiossl.store.writing import write_store
from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone

SIDE, SIZE = 256, 224
OWN_SIZE, BOX = 64, 36.0  # of the recipe radiossl, and the median box of the sources that it was trained on


def cutouts(count: int) -> list[NDArray[np.float32]]:
    """Noise with a few Gaussian sources, as float32 in Jy/beam."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    images = []
    for _ in range(count):
        pixels = rng.normal(0, 1.5e-4, (SIDE, SIDE))
        for _ in range(5):
            cx, cy, width = rng.uniform(20, SIDE - 20), rng.uniform(20, SIDE - 20), rng.uniform(1.5, 6)
            pixels += rng.lognormal(-6, 1.5) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2))
        images.append(pixels.astype(np.float32))
    return images


# Clip limits ----------------------------------------------------------------------------------------------------------


def _astropy_limits(image: NDArray[np.float32]) -> list[tuple[float, float]]:
    from astropy.stats import sigma_clip
    from astropy.visualization import ZScaleInterval

    _, low, high = sigma_clip(image, sigma_lower=5, sigma_upper=30, masked=False, return_bounds=True)
    return [(low, high), *(ZScaleInterval(contrast=contrast).get_limits(image) for contrast in (0.25, 0.4))]


def bench_clip_limits(repeats: int, count: int = 32) -> Ratio:
    """One image after the other, as when a store is cut."""
    images = cutouts(count)
    return measure(
        f"clip limits of {SIDE} px, against three astropy calls",
        baseline=lambda: [_astropy_limits(image) for image in images],
        ours=lambda: [PixelStatistics.of(image) for image in images],
        images=count,
        repeats=repeats,
        goal=4,
    )


# Views ----------------------------------------------------------------------------------------------------------------


def literal_view(image: NDArray[np.float32], seed: int) -> torch.Tensor:
    """One view by the letter of Riggi et al. 2024, section 2.3 and Table 2, with astropy and torchvision."""
    from astropy.stats import sigma_clip
    from astropy.visualization import ZScaleInterval

    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    _, low, high = sigma_clip(image, sigma_lower=5, sigma_upper=30, masked=False, return_bounds=True)
    channels = [np.clip(image, low, high), ZScaleInterval(contrast=0.25)(image), ZScaleInterval(contrast=0.4)(image)]
    scaled = [(c - c.min()) / (c.max() - c.min()) for c in channels]
    view = torch.from_numpy(np.stack(scaled).astype(np.float32))
    side = round(rng.uniform(0.8, 1.0) * SIDE)
    view = v2.Resize(SIDE, antialias=True)(v2.RandomCrop(side)(view))
    if rng.random() < 0.8:
        view = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)(view)
    flip = rng.random()
    view = view.flip(-1) if flip < 0.33 else view.flip(-2) if flip < 0.66 else view
    if rng.random() < 0.5:
        view = view.rot90(int(rng.integers(1, 4)), (-2, -1))
    if rng.random() < 0.1:
        view = v2.GaussianBlur(25, (1.0, 3.0))(view)
    if rng.random() < 0.5:
        percentile = rng.uniform(40, 60)
        for channel in view:
            channel[channel < np.percentile(channel[channel > 0], percentile)] = 0
    return v2.Resize(SIZE, antialias=True)(view)


def _literal_pairs(images: list[NDArray[np.float32]]) -> int:
    torch.set_num_threads(1)
    for seed, image in enumerate(images):
        literal_view(image, 2 * seed), literal_view(image, 2 * seed + 1)
    return len(images)


def _lightly_pairs(images: list[NDArray[np.uint8]], size: int = SIZE) -> int:
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    torch.set_num_threads(1)
    transform = SimCLRTransform(input_size=size)
    for image in images:
        transform(Image.fromarray(image))
    return len(images)


def bench_views(repeats: int, count: int = 128) -> list[Ratio]:
    """Two views per cutout, ours from the stored statistics as in training; the baselines in one process per core."""
    images = cutouts(count)
    numbers = torch.from_numpy(np.stack([PixelStatistics.of(image).as_array() for image in images]))
    published = ViewMaker(Preprocessing(size=SIZE), Augmentation(**PRESETS["riggi2024-hulk"]))
    own = ViewMaker(Preprocessing(mode="floor-stretch", size=OWN_SIZE), Augmentation(**PRESETS["radiossl"]))
    boxes = torch.full((count,), BOX)
    pictures = [np.stack([np.clip(1e4 * image, 0, 255).astype(np.uint8)] * 3, axis=-1) for image in images]
    cores = os.cpu_count() or 1
    rows = []
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        for name, pairs, given, maker, size, goal in (
            ("the literal chain", _literal_pairs, images, published, SIZE, 20),
            ("lightly's stock transform", _lightly_pairs, pictures, published, SIZE, 4),
            ("the same, recipe radiossl", partial(_lightly_pairs, size=OWN_SIZE), pictures, own, OWN_SIZE, 4),
        ):
            parts = [given[core::cores] for core in range(cores)]
            row = measure(
                f"two views, {SIDE} to {size} px, against {name}",
                baseline=lambda pairs=pairs, parts=parts: list(pool.map(pairs, parts)),  # type: ignore[misc]
                ours=lambda maker=maker: maker(  # type: ignore[misc]
                    images, numbers, torch.Generator().manual_seed(0), boxes=boxes
                ),
                images=count,
                repeats=repeats,
                goal=goal,
            )
            rows.append(row)
    return rows


# Features -------------------------------------------------------------------------------------------------------------


def bench_features(repeats: int, size: int = 48, count: int = 256) -> Ratio:
    """The network as embedding of a whole store uses it, against the float32 network as it is."""
    backbone = Backbone.random(Architecture(), Preprocessing(mode="floor-stretch", size=size), seed=0)
    images = torch.rand(count, 3, size, size)
    quick = backbone.inference_network(10**6)

    def run(network: Callable[[torch.Tensor], torch.Tensor]) -> None:
        with torch.inference_mode():
            for part in images.split(128):
                network(part)

    return measure(
        f"features of many images at {size} px, against the float32 network",
        baseline=lambda: run(backbone.network),
        ours=lambda: run(quick),
        images=count,
        repeats=repeats,
        goal=2,
    )


# Pretraining ----------------------------------------------------------------------------------------------------------


def bench_pretraining(repeats: int, size: int, batch: int = 32) -> Ratio:
    """A SimCLR step, cutouts read and views made, against the same step on random tensors."""
    with tempfile.TemporaryDirectory() as folder:
        schema = store_schema()
        made = [
            Cutout(f"c{i}", image, "simulated", 0.0, 0.0, 0.0, 0.0, 1.8) for i, image in enumerate(cutouts(4 * batch))
        ]
        path = Path(folder) / "store"
        write_store(path, [0], partial(_batches, made, schema), schema, {"command": "benchmark"})
        recipe = read_recipe(
            "simclr-hulk", [f"batch_size={batch}", "optimizer.lr=0.001", f"preprocessing.size={size}"]
        )[0]
        trainer = Trainer(recipe, [path], Path(folder) / "run")
        parts = trainer.parts()
        shape = (batch, 3, size, size)
        random = [torch.rand(shape).contiguous(memory_format=torch.channels_last).to(trainer.device) for _ in range(2)]

        return measure(
            f"pretraining step at {size} px, against the bare model step",
            baseline=lambda: trainer.optimise([random]),
            ours=lambda: trainer.train_step(parts),
            images=batch,
            repeats=repeats,
            goal=0.95 if trainer.device.type == "cuda" else 0.9,
        )


def bench_precision(repeats: int, size: int, batch: int = 32) -> Ratio:
    """The model step in the fastest precision and memory layout, against float32 in torch's own layout."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        schema = store_schema()
        made = [Cutout(f"c{i}", image, "simulated", 0.0, 0.0, 0.0, 0.0, 1.8) for i, image in enumerate(cutouts(2))]
        write_store(path, [0], partial(_batches, made * batch, schema), schema, {"command": "benchmark"})
        common = [f"batch_size={batch}", "optimizer.lr=0.001", f"preprocessing.size={size}"]

        def trainer(*more: str) -> Trainer:
            return Trainer(read_recipe("simclr-hulk", [*common, *more])[0], [path], Path(folder) / "run")

        fast, plain = trainer(), trainer("precision=32-true")
        plain.network.to(memory_format=torch.contiguous_format)
        views = [torch.rand(batch, 3, size, size).to(fast.device) for _ in range(2)]
        last = [view.contiguous(memory_format=torch.channels_last) for view in views]
        return measure(
            f"model step at {size} px, {fast.precision}, channels last, against plain float32",
            baseline=lambda: plain.optimise([views]),
            ours=lambda: fast.optimise([last]),
            images=batch,
            repeats=repeats,
            goal=1.6,
        )


def _batches(made: list[Cutout], schema: object, _: int) -> object:
    return cutout_batches(made, schema)  # type: ignore[arg-type]


def _cutting_and_memory(repeats: int) -> list[Ratio | Memory]:
    ratios, memory = bench_cutting(repeats)
    return [*ratios, *memory]


PARTS: dict[str, Callable[[int], Sequence[Ratio | Memory]]] = {
    "clip": lambda repeats: [bench_clip_limits(repeats)],
    "views": bench_views,
    "pretraining": lambda repeats: [bench_pretraining(repeats, size) for size in (64, 128, SIZE)],
    "precision": lambda repeats: [bench_precision(repeats, size) for size in (64, SIZE)],
    "features": lambda repeats: [bench_features(repeats)],
    "cutting": _cutting_and_memory,
}


def main() -> None:
    """Print the table, and write it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure; all if absent")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--before", type=Path, help="JSON of an earlier run to show beside this one")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.before and not options.before.is_file():
        parser.error(f"{options.before}: no such file; give what --json wrote in another checkout")
    rows = [row for part in options.parts for row in PARTS[part](options.repeats)]
    print_ratios([row for row in rows if isinstance(row, Ratio)], options.before)
    for row in rows:
        if isinstance(row, Memory):
            print(f"{row.name}: {row.seconds:.1f} s, peak memory {row.peak_gb:.2f} GB")
    if options.json:
        write_rows(options.json, rows)


if __name__ == "__main__":
    main()
