"""Draws the pictures of the documentation from a simulated survey: python docs/pictures/draw.py [FOLDER]."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from radiossl.cli.main import main
from radiossl.images.preprocess import Preprocessing
from radiossl.images.views import PRESETS, Augmentation, ViewMaker
from radiossl.report.sheets import image_grid
from radiossl.store.store import CutoutStore, open_store

SIZE = 96
#: The steps of the augmentations one by one, each alone, with the preprocessing that it is shown in.
STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "crop of 88 to 100 %": ("floor-stretch", {"crop_side": (0.88, 1.0)}),
    "flips, rotation by any angle": ("floor-stretch", {"flips": (0.5, 0.5), "rotation": "any"}),
    "noise floor, 2.5 to 6 sigma": ("floor-stretch", {"floor_sigma": (2.5, 6.0)}),
    "gain and power": ("floor-stretch", {"log_gain": 0.5, "log_gamma": 0.5}),
    "colour jitter": (
        "sigma-zscale",
        {"jitter_brightness": 0.4, "jitter_contrast": 0.4, "jitter_saturation": 0.4, "jitter_hue": 0.1},
    ),
    "blur, 1 to 3 pixels": ("sigma-zscale", {"blur_sigma": (1.0, 3.0)}),
    "threshold, 40 to 60 %": ("sigma-zscale", {"threshold_percentile": (40.0, 60.0)}),
}


def simulated(folder: Path) -> CutoutStore:
    """Simulate a mosaic and cut its sources."""
    survey = f"{folder}/survey"
    commands = [
        ["simulate", survey, "--tiles", "1", "--size", "1600", "--sources", "120", "--seed", "4"],
        [
            "cutouts",
            "sources",
            f"{folder}/survey",
            "--catalogue",
            f"{survey}/truth.csv",
            "--out",
            f"{folder}/store",
        ],
    ]
    for arguments in commands:
        try:
            main(arguments)
        except SystemExit as end:
            if end.code:
                raise
    return open_store(folder / "store")


def clearest(store: CutoutStore, classes: list[str]) -> list[int]:
    """The row of each class that is large and well above the noise."""
    clear = np.minimum(store.column("snr").astype(float), 60) * store.column("extent_arcsec").astype(float)
    kinds = store.column("class")
    return [int(np.argmax(np.where(kinds == kind, clear, -1.0))) for kind in classes]


def preprocessing(store: CutoutStore, rows: list[int], out: Path) -> None:
    """One source a row: as it is, then every channel of the two three-channel modes."""
    images: list[Any] = []
    captions: list[str] = []
    for row in rows:
        pixels = store.pixels(row)
        images.append(pixels)
        captions.append(f"{store.column('class')[row]}: minimum to maximum")
        for mode, names in (
            ("sigma-zscale", ["sigma clip", "zscale 0.25", "zscale 0.4"]),
            ("floor-stretch", ["floor, linear", "floor, asinh", "floor, square root"]),
        ):
            channels = Preprocessing(mode=mode, size=SIZE).of_arrays([pixels])[0].numpy()  # type: ignore[arg-type]
            images += list(channels)
            captions += names
    image_grid(images, captions, out=out, columns=7, how="minmax", cell_inches=0.9)


def augmentations(store: CutoutStore, row: int, out: Path) -> None:
    """One source; each step alone, five times."""
    images: list[Any] = []
    captions: list[str] = []
    off = {"flips": (0.0, 0.0), "rotation": "none"}
    for name, (mode, changes) in STEPS.items():
        seen = Preprocessing(mode=mode, size=SIZE)  # type: ignore[arg-type]
        steps = {key.split("_")[0] for key in changes} & {"jitter", "blur", "threshold"}
        chances = {f"{step}_probability": 1.0 for step in steps}
        maker = ViewMaker(seen, Augmentation(**{**off, **changes, **chances}))
        pixels, statistics = [store.pixels(row)], torch.from_numpy(store.statistics[[row]])
        views = maker(pixels, statistics, torch.Generator().manual_seed(1), count=5)
        images += [seen.of_arrays(pixels)[0].numpy(), *(view[0].clamp(0, 1).numpy() for view in views)]
        captions += [name, *[""] * 5]
    image_grid(images, captions, out=out, columns=6, how="minmax", cell_inches=0.9)


def views(store: CutoutStore, rows: list[int], out: Path) -> None:
    """Sources, each with five views of the package's own recipe."""
    seen = Preprocessing(mode="floor-stretch", size=SIZE)
    maker = ViewMaker(seen, Augmentation(**PRESETS["radiossl"]))
    pixels, statistics = [store.pixels(row) for row in rows], torch.from_numpy(store.statistics[rows])
    random = maker(pixels, statistics, torch.Generator().manual_seed(0), count=5)
    images = [
        image.clamp(0, 1).numpy()
        for number, plain in enumerate(seen.of_arrays(pixels))
        for image in (plain, *(view[number] for view in random))
    ]
    captions = [text for row in rows for text in (str(store.column("class")[row]), *[""] * 5)]
    image_grid(images, captions, out=out, columns=6, how="minmax", cell_inches=0.9)


def draw(out: Path) -> None:
    """Draw all pictures into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        store = simulated(Path(folder))
        rows = clearest(store, ["FRI", "FRII", "bent", "hybrid", "ring"])
        preprocessing(store, rows, out / "preprocessing.png")
        augmentations(store, rows[1], out / "augmentations.png")
        views(store, rows, out / "views.png")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
