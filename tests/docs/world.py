"""A folder with what the pages of the documentation take for granted, all of it simulated."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest
import torch
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image
from pycocotools import mask as coco
from torchvision.models import resnet18

from radiossl.cli.main import main
from radiossl.datasets.mirabest import CODES
from tests.datasets.test_mirabest import batches
from tests.datasets.test_radiogalaxydataset import add
from tests.detection.conftest import blobs, coco_content
from tests.docs.quick import quick

ROOT = Path(__file__).parents[2]
#: Of the scripts: what SLURM would say; make says what it would do; pip finds everything installed, or fails.
ENVIRONMENT = {"MAKEFLAGS": "n", "PIP_NO_INDEX": "1", "SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "1"}
ENVIRONMENT |= {"SLURM_CPUS_PER_TASK": "4", "SLURM_JOB_NODELIST": "here"}
#: Where the first source of each survey is.
CENTRES = [(211.77583, 28.20306), (30.0, -45.0), (80.0, 10.0)]


def run(arguments: list[str]) -> None:
    """Run a `radiossl` command in this process."""
    try:
        main(quick(arguments))
    except SystemExit as end:
        if end.code:
            pytest.fail(f"radiossl {' '.join(arguments)} ended with status {end.code}")


def make_world(folder: Path) -> None:
    """Fill a folder with mosaics, catalogues, stores, a backbone, features and small published sets."""
    with contextlib.chdir(folder):
        surveys()
        results()
        tables()
        pictures()
        published_sets()
        papers_sets()
        programs()
        for name in ("checkpoints", "benchmarks", "Makefile", "pyproject.toml", "requirements.lock"):
            Path(name).symlink_to(ROOT / name)


def moved(survey, ra_deg, dec_deg):
    """Bring the first source of a simulated survey to another place; returns the truth that fits."""
    truth = pcsv.read_csv(survey / "truth.csv").to_pandas()
    with fits.open(survey / "tile_000.fits", mode="update") as mosaic:
        header = mosaic[0].header
        header["CRVAL1"], header["CRVAL2"] = ra_deg, dec_deg
        header["CRPIX1"], header["CRPIX2"] = truth.loc[0, ["x", "y"]] + 1
        truth["ra_deg"], truth["dec_deg"] = WCS(header).celestial.wcs_pix2world(truth["x"], truth["y"], 0)
    return truth


def catalogue(truth, seed):
    """The truth of a simulated survey as somebody's catalogue with labels and ratings."""
    rng = np.random.default_rng(seed)
    table = truth.rename(columns={"extent_arcsec": "las_arcsec"})
    table["size_pixels"] = (table["las_arcsec"] * 4).astype(int)
    table["fr_class"] = np.where(table["snr"] > table["snr"].median(), "FRI", "FRII")
    table["mirabest_class"] = np.where(table["fr_class"] == "FRI", 100, 200)
    table["morphology"] = np.where(table["class"] == "compact", "point", "resolved")
    table["interest_score"] = rng.integers(1, 6, len(table))
    table["peak_flux_jybeam"] = table["snr"] * 1e-4
    return table


def surveys():
    for seed, name in enumerate(("mosaics", "labelled", "test_store")):
        run(["simulate", name + "_survey", "--tiles", "1", "--size", "900", "--sources", "70", "--seed", str(seed)])
        table = catalogue(moved(Path(f"{name}_survey"), *CENTRES[seed]), seed)
        if name != "mosaics":
            table["label"] = table["class"]
        table.loc[:3, "source_id"] = ["J1407+2827", "ONE", "TWO", "THREE"]
        table.to_csv(f"{name}.csv", index=False)
        run(["cutouts", "sources", f"{name}_survey", "--catalogue", f"{name}.csv", "--out", name])
    Path("mosaics").rename("store")
    Path("mosaics_survey").rename("mosaics")
    Path("mosaics/truth.csv").unlink()
    Path("mosaics.csv").rename("sources.csv")
    links = {"train_store": "labelled", "rgz": "test_store", "moved/store": "../store"}
    for link, target in {**links, "mosaic.fits": "mosaics/tile_000.fits", "first_tiles": "labelled_survey"}.items():
        Path(link).parent.mkdir(exist_ok=True)
        Path(link).symlink_to(target)
    with fits.open("mosaics/tile_000.fits") as mosaic:
        fits.PrimaryHDU(np.squeeze(mosaic[0].data)[400:480, 400:480], mosaic[0].header).writeto("cutout.fits")


def results():
    run(["pretrain", "--recipe", "radiossl", "--data", "store", "--out", "run"])
    Path("backbone").symlink_to("run/backbone")
    run(["embed", "run/backbone", "store", "--out", "features.parquet"])
    run(["embed", "run/backbone", "labelled", "--out", "later.parquet"])
    shutil.copy("features.parquet", "other.parquet")
    shutil.copy("features.parquet", "features_1.parquet")
    table = pq.read_table("features.parquet", columns=["cutout_id", "ra_deg", "dec_deg", "features"])
    pq.write_table(table.rename_columns(["name", "ra", "dec", "z"]), "embeddings.parquet")
    run(["anomalies", "features.parquet", "--out", "found"])
    shutil.copy("found/anomalies.csv", "anomalies.csv")


def tables():
    table = pcsv.read_csv("sources.csv").to_pandas()
    odd = {"ra_deg": "alpha", "dec_deg": "delta", "las_arcsec": "size", "source_id": "label"}
    table.rename(columns=odd)[list(odd.values())].to_csv("odd.csv", index=False)
    table[["source_id"]].assign(verdict=table["morphology"]).to_csv("my_labels.csv", index=False)
    ids = pd.read_csv("anomalies.csv")["cutout_id"]
    pd.DataFrame({"cutout_id": ids, "label": np.where(np.arange(len(ids)) % 2, "bent", "straight")}).to_csv(
        "labels.csv", index=False
    )
    stars = photometry()
    stars[["u", "g", "r", "i", "z", "class"]].to_csv("sdss.csv", index=False)
    stars.to_parquet("sdss.parquet")
    stars.drop(columns="class").to_parquet("all.parquet")


def photometry():
    """Magnitudes of three classes, as a table of SDSS and WISE has them."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 300)
    r = rng.uniform(15, 22, 300)
    bands = {band: r + rng.normal(0.4 * (step - 3) * (kinds - 1), 0.3) for step, band in enumerate("ugriz", start=1)}
    wise = {f"w{band}": r - 1 - kinds + rng.normal(0, 0.5, 300) for band in (1, 2, 3, 4)}
    sizes = {"psf_r": bands["r"] + 0.2 * (kinds == 0), "cmod_r": bands["r"]}
    return pd.DataFrame({**bands, **wise, **sizes, "class": np.array(["GALAXY", "QSO", "STAR"])[kinds]})


def pictures():
    names = []
    for number in range(8):
        kind = Path("pictures", ("round", "long")[number % 2])
        kind.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (40, 40)).astype(np.uint8)
        names.append(f"{kind.name}/{number}.png")
        Image.fromarray(pixels).save(kind / f"{number}.png")
    pd.DataFrame({"file": names, "verdict": ["dull", "odd"] * 4}).to_csv("pictures.csv", index=False)


def published_sets():
    """Small sets in the formats of the published ones."""
    batches(Path("F_batches"), CODES * 4)
    Path("MiraBest").mkdir()
    Path("MiraBest/F_batches").symlink_to("../F_batches")
    with h5py.File("galaxy_data.h5", "w") as file:
        for number in range(4):
            add(file, number, label=number % 4)
    rng = np.random.default_rng(0)
    for split, seeds in {"train": range(8), "val": range(8, 12)}.items():
        Path("RadioGalaxyNET", split).mkdir(parents=True)
        Path("RadioGalaxyNET/annotations").mkdir(exist_ok=True)
        items = [blobs(seed, side=150, objects=1 + seed % 2) for seed in seeds]
        content = coco_content(items, suffix=".png")
        for entry, (image, _, _) in zip(content["images"], items, strict=True):
            radio = (1e4 + 5e6 * image).astype(np.uint16)
            infrared = rng.integers(0, 255, radio.shape)
            rgb = np.stack([infrared, radio % 256, radio // 256], axis=2).astype(np.uint8)
            entry["file_name"] = f"0{entry['id']}3454_1.png"
            Image.fromarray(rgb).save(Path("RadioGalaxyNET", split, entry["file_name"]))
        for entry in content["annotations"]:
            outline = {**entry["segmentation"], "counts": entry["segmentation"]["counts"].encode()}
            entry |= {"bbox": coco.toBbox(outline).tolist(), "area": float(coco.area(outline)), "keypoints": []}
        Path("RadioGalaxyNET/annotations", f"{split}.json").write_text(json.dumps(content))
    truth = pd.read_csv("labelled.csv")
    labels = pd.DataFrame({"ra_hours": truth["ra_deg"] / 15, "dec_deg": truth["dec_deg"]})
    for parent in ("MiraBest", "FRDEEP", "AT17", "MBHybrid"):
        labels[parent] = 0 if parent == "MiraBest" else -1
    labels.loc[::2, "MiraBest"] = 5
    labels.to_csv("combined_catalogue.csv", index=False)
    new = truth[["source_id", "ra_deg", "dec_deg"]].assign(**{"class": np.arange(len(truth)) % 2})
    new.to_csv("new.csv", index=False)
    large = Path("..", "resnet18.pth").resolve()  # beside the world, which is copied for every page
    torch.save(resnet18().state_dict(), large)
    Path("resnet18.pth").symlink_to(large)


def papers_sets():
    """What docs/results.md and the measurements of the other pages begin with, under the names that they have there."""
    table = pd.read_csv("labelled.csv").rename(columns={"source_id": "name"})
    Path("first").mkdir()
    table[["name", "ra_deg", "dec_deg", "las_arcsec"]].to_csv("first/catalogue.csv", index=False)
    table[["name", "mirabest_class"]].to_csv("first/labels.csv", index=False)
    for name, source in {"mirabest.csv": "labelled.csv", "others.csv": "test_store.csv"}.items():
        found = pd.read_csv(source)
        found.assign(fr=found["fr_class"]).to_csv(name, index=False)
    links = {
        "first/tiles": "../labelled_survey",
        "first/extra": "../test_store_survey",
        "others": "test_store",
        "rgd_train": "labelled",
        "rgd_valid": "test_store",
        "mirabest": "store",
        "mirabest_confident": "labelled",
        "mgcls": "store",
        "mirabest.parquet": "later.parquet",
        "mgcls.parquet": "later.parquet",
        "ScorpioExtendedSourceField.fits": "mosaics/tile_000.fits",
        "J110225.0+041051.fits.fz": "labelled_survey/tile_000.fits",
    }
    for link, target in links.items():
        Path(link).symlink_to(target)
    run(["cutouts", "sources", "mosaics", "--detect", "--box-factor", "1.5", "--min-extent", "15", "--out", "scorpio"])


def programs():
    """What stands for the programs of a cluster, which are this machine, and for those that would take hours.

    All others that the pages call are the real ones: torchrun, dask, pip and make, which `ENVIRONMENT` keeps from
    installing anything and from running the tests within the tests.
    """
    python = shlex.quote(sys.executable)
    texts = {
        "radiossl": f'PYTHONPATH={shlex.quote(str(ROOT))} exec {python} -m tests.docs.quick "$@"',
        "python": f"""case $1 in
            */throughput.py) set -- "$@" --parts clip --repeats 1;;
            */scaling.py) set -- "$@" --counts 50;;
            */kill_and_resume.py) set -- "$@" --kills 1 --size 128 --overlap 0 --epochs 1;;
        esac
        exec {python} "$@\"""",
        "srun": 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
        "scontrol": "echo 127.0.0.1",
    }
    Path("programs").mkdir()
    for name, text in texts.items():
        Path("programs", name).write_text(f"#!/bin/sh\n{text}\n")
        Path("programs", name).chmod(0o755)
    Path(".venv/bin").mkdir(parents=True)
    Path(".venv/bin/activate").touch()
