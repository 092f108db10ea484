"""Hostile files for every reader: whatever bytes they hold, the answer is a result or one line, and soon.

    python benchmarks/fuzz.py --files 2000 --seed 0

makes valid files of each kind, damages them (bits, bytes, pieces, numbers, names, depth) and reads them. Printed are,
for each reader, files, how many were read and refused, tracebacks and the slowest; the status is 1 after a traceback.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from radiossl.io.errors import RadiosslError

#: What text formats do not like.
TOKENS = [
    *(b"null", b"NaN", b"-1", b"1e999", b"9" * 5000, b"[" * 5000, b'{"a":' * 2000, b"", b"\x00", b"\xff\xfe", b"true"),
    *(b'"', b"{}", b"[]", b"&a [*a]", b"!!python/object/apply:os.system ['true']", b"../../../etc/passwd", b"=1+1"),
    *(b"0", b"99999999999999999999", b"-99999999999", b"inf", "é".encode(), "é".encode("latin-1"), b"\r\n\r\n", b","),
]


@dataclass(frozen=True)
class Reader:
    """A kind of file: `make` writes a valid one (or a folder with it) and returns it, `read` reads it."""

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Return the bytes with one to four kinds of damage."""
    content = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(content) + 1)
        match draw.randrange(8):
            case 0 | 1 if content:
                content[min(place, len(content) - 1)] ^= 1 << draw.randrange(8)
            case 2:
                content[place : place + draw.randint(1, 8)] = draw.randbytes(draw.randint(0, 8))
            case 3:
                del content[place:]
            case 4:
                del content[place : place + draw.randint(1, 60)]
            case 5:
                content[place:place] = content[place : place + draw.randint(1, 200)]
            case _:
                content[place : place + draw.randint(0, 12)] = draw.choice(TOKENS)
    return bytes(content)


def damaged_json(data: bytes, draw: random.Random) -> bytes:
    """Return JSON with some of its values replaced by others, which is harder to refuse than damaged text."""
    values = [None, -1, 0, 1e308, 10**400, "", "../x", "x" * 10000, [], {}, [[]], {"": None}, True, float("nan")]

    def change(value: Any) -> Any:
        if draw.random() < 0.08:
            return draw.choice(values)
        if isinstance(value, dict):
            return {key: change(item) for key, item in value.items() if draw.random() > 0.03}
        return [change(item) for item in value] if isinstance(value, list) else value

    return json.dumps(change(json.loads(data))).encode()


# Files that are as they should be -------------------------------------------------------------------------------------


def _json(folder: Path) -> Path:
    (folder / "a.json").write_text(json.dumps({"a": [1, 2.5, {"b": "text"}], "c": None}))
    return folder / "a.json"


def _recipe(folder: Path) -> Path:
    from radiossl.pretraining.recipe import read_recipe

    (folder / "a.yaml").write_text(read_recipe("simclr-hulk")[0].to_yaml())
    return folder / "a.yaml"


def _store(folder: Path, name: str) -> Path:
    from radiossl.store.cutout import Cutout
    from radiossl.store.packing import cutout_batches
    from radiossl.store.schema import store_schema
    from radiossl.store.writing import write_store

    rng = np.random.default_rng(0)
    cutouts = [Cutout(f"c{i}", rng.normal(size=(8, 9)).astype(np.float32), "m", 1.0, 2.0, 3, 4, 5) for i in range(4)]
    schema = store_schema()
    write_store(folder / "store", [0], lambda job: cutout_batches(cutouts, schema), schema, {"command": "fuzz"})
    return folder / "store" / name


def _features(folder: Path) -> Path:
    from radiossl.features.table import FeatureTable

    columns = pa.table({"cutout_id": ["a", "b", "c"], "ra_deg": [1.0, 2.0, 3.0], "dec_deg": [1.0, 2.0, 3.0]})
    table = FeatureTable(columns, np.eye(3, 8, dtype=np.float32), {"weights_sha256": "0", "stores": []})
    table.write(folder / "a.parquet")
    return folder / "a.parquet"


def _index(folder: Path, name: str) -> Path:
    from radiossl.features.index_building import build_index

    build_index([_features(folder)], folder / "index")
    return folder / "index" / name


def _backbone(folder: Path, name: str) -> Path:
    from radiossl.images.preprocess import Preprocessing
    from radiossl.weights.architecture import Architecture
    from radiossl.weights.backbone import save_backbone
    from radiossl.weights.config import BackboneConfig

    architecture = Architecture(name="test_resnet")
    save_backbone(folder / "backbone", architecture.build(3), BackboneConfig(architecture, Preprocessing(size=32)))
    (folder / "backbone" / ".checksums.json").unlink()  # or every change would be refused at once
    return folder / "backbone" / name


def _csv(folder: Path) -> Path:
    (folder / "a.csv").write_text("id,ra,dec,flux\n" + "".join(f"J{i},{i}.5,-{i}.25,{i}e-3\n" for i in range(20)))
    return folder / "a.csv"


def _fits_table(folder: Path) -> Path:
    from astropy.table import Table

    Table({"id": ["a", "b"], "ra": [1.0, 2.0], "dec": [3.0, 4.0], "n": [1, 2]}).write(folder / "a.fits")
    return folder / "a.fits"


def _votable(folder: Path) -> Path:
    from astropy.table import Table

    Table({"id": ["a", "b"], "ra": [1.0, 2.0], "dec": [3.0, 4.0]}).write(folder / "a.vot", format="votable")
    return folder / "a.vot"


def _parquet(folder: Path) -> Path:
    pq.write_table(pa.table({"id": ["a", "b"], "ra": [1.0, 2.0], "dec": [3.0, 4.0]}), folder / "a.parquet")
    return folder / "a.parquet"


def _mosaic(folder: Path, suffix: str = ".fits") -> Path:
    from astropy.io import fits

    header = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 10.0, "CRVAL2": -30.0, "CRPIX1": 16.0})
    header.update({"CRPIX2": 16.0, "CDELT1": -5e-4, "CDELT2": 5e-4, "BUNIT": "Jy/beam", "BMAJ": 2e-3, "BMIN": 2e-3})
    hdu = fits.PrimaryHDU(np.random.default_rng(0).normal(size=(32, 30)).astype(np.float32), header)
    hdu.writeto(folder / "m.fits")
    if suffix == ".fits":
        return folder / "m.fits"
    (folder / "m.fits.gz").write_bytes(gzip.compress((folder / "m.fits").read_bytes()))
    return folder / "m.fits.gz"


_PICTURES = (".png", ".jpg", ".tif", ".npy")


def _picture(folder: Path, suffix: str) -> Path:
    from PIL import Image

    path = folder / f"a{suffix}"
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24), dtype=np.uint8)
    np.save(path, pixels) if suffix == ".npy" else Image.fromarray(pixels).save(path)
    return path


def _annotations(folder: Path) -> Path:
    outline = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 20}],
        "categories": [{"id": 1, "name": "FRI"}],
        "annotations": [outline | {"segmentation": [[1, 1, 6, 1, 6, 6, 1, 6]]}],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json"


def _ratings(folder: Path) -> Path:
    (folder / "r.csv").write_text("cutout_id,rating,who,when\na,3,me,2026-01-01T00:00:00+00:00\nb,5,you,\n")
    return folder / "r.csv"


def _pickle(folder: Path) -> Path:
    import pickle

    content = {"data": [np.zeros(22500, np.uint8)] * 2, "labels": [0, 1], "filenames": ["a", "b"], "batch_label": "x"}
    (folder / "data_batch_1").write_bytes(pickle.dumps(content, protocol=4))
    return folder / "data_batch_1"


def _checkpoint(folder: Path) -> Path:
    import torch

    torch.save({"state_dict": {"conv1.weight": torch.zeros(4, 3, 3, 3)}, "epoch": 1}, folder / "a.ckpt")
    return folder / "a.ckpt"


def readers() -> list[Reader]:
    """Return every reader of the package."""
    from radiossl.datasets.batches import read_batch
    from radiossl.detection.annotations import read_annotations
    from radiossl.features.stored_index import open_index
    from radiossl.features.table import FeatureTable
    from radiossl.io.checksums import verify
    from radiossl.io.files import read_json
    from radiossl.io.tables import read_table
    from radiossl.pretraining.recipe import read_recipe
    from radiossl.ratings.records import read_ratings
    from radiossl.store.store import open_store
    from radiossl.survey.image_file import read_image
    from radiossl.survey.mosaic import Mosaic
    from radiossl.weights.backbone import load_backbone
    from radiossl.weights.formats.files import read_checkpoint

    def open_mosaic(path: Path) -> None:
        with Mosaic.open(path) as mosaic:
            mosaic.read(0, 0, 8, 8)
            mosaic.sky_to_pixel(*mosaic.pixel_to_sky(4.0, 4.0))

    def use_store(path: Path) -> None:
        store = open_store(path.parent)
        for row in range(len(store)):
            store.pixels(row).sum()
        verify(path.parent)

    def use_index(path: Path) -> None:
        index = open_index(path.parent)
        index.columns.column("cutout_id").to_pylist()
        verify(path.parent)

    def use_backbone(path: Path) -> None:
        load_backbone(path.parent)

    return [
        Reader("JSON", _json, read_json),
        Reader("recipe", _recipe, lambda path: read_recipe(path)),
        Reader("store.json", lambda folder: _store(folder, "store.json"), use_store),
        Reader("store shard", lambda folder: _store(folder, "data-00000-of-00001.arrow"), use_store),
        Reader("feature table", _features, FeatureTable.read),
        Reader("index manifest", lambda folder: _index(folder, "index.json"), use_index),
        Reader("index vectors", lambda folder: _index(folder, "vectors-00000.faiss"), use_index),
        Reader("index columns", lambda folder: _index(folder, "columns-00000.parquet"), use_index),
        Reader("backbone config", lambda folder: _backbone(folder, "config.json"), use_backbone),
        Reader("weights", lambda folder: _backbone(folder, "model.safetensors"), use_backbone),
        Reader("CSV table", _csv, read_table),
        Reader("FITS table", _fits_table, read_table),
        Reader("VOTable", _votable, read_table),
        Reader("Parquet table", _parquet, read_table),
        Reader("FITS mosaic", _mosaic, open_mosaic),
        Reader("FITS mosaic in gzip", lambda folder: _mosaic(folder, ".fits.gz"), open_mosaic),
        Reader("FITS image", _mosaic, read_image),
        *(Reader(f"picture {kind}", partial(_picture, suffix=kind), read_image) for kind in _PICTURES),
        Reader("annotations", _annotations, read_annotations),
        Reader("ratings", _ratings, read_ratings),
        Reader("pickled batch", _pickle, read_batch),
        Reader("checkpoint", _checkpoint, read_checkpoint),
    ]


@dataclass
class Outcome:
    """What became of the files of one reader."""

    files: int = 0
    read: int = 0
    refused: int = 0
    tracebacks: int = 0
    slowest_s: float = 0.0
    example: str = ""


def attack(reader: Reader, files: int, seed: int, keep: Path | None = None) -> Outcome:
    """Let a reader read damaged files; `keep` is where those that gave tracebacks are copied."""
    draw, outcome = random.Random(f"{reader.name} {seed}"), Outcome()
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        path = reader.make(folder)
        original = path.read_bytes()
        reader.read(path)  # or all that follows would mean nothing
        for number in range(files):
            as_json = path.suffix == ".json" and number % 2
            path.write_bytes(damaged_json(original, draw) if as_json else damaged(original, draw))
            begin = time.monotonic()
            try:
                reader.read(path)
                outcome.read += 1
            except RadiosslError as error:
                outcome.refused += 1
                if "\n" in str(error):
                    outcome.tracebacks += 1
                    outcome.example = f"several lines: {str(error)[:300]!r}"
            except Exception:
                outcome.tracebacks += 1
                outcome.example = traceback.format_exc()
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, keep / f"{reader.name.replace(' ', '_')}-{number}{path.suffix}")
            outcome.files += 1
            outcome.slowest_s = max(outcome.slowest_s, time.monotonic() - begin)
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=300, help="damaged files for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="a part of a reader's name")
    parser.add_argument("--keep", type=Path, help="folder for the files that gave tracebacks")
    options = parser.parse_args()
    total = Outcome()
    print(f"{'reader':22s} {'files':>6s} {'read':>6s} {'refused':>8s} {'tracebacks':>10s} {'slowest (s)':>12s}")
    for reader in readers():
        if options.only and options.only not in reader.name:
            continue
        one = attack(reader, options.files, options.seed, options.keep)
        counts = f"{one.files:6d} {one.read:6d} {one.refused:8d} {one.tracebacks:10d} {one.slowest_s:12.2f}"
        print(f"{reader.name:22s} {counts}", flush=True)
        if one.example:
            print(one.example, file=sys.stderr)
        total.files, total.tracebacks = total.files + one.files, total.tracebacks + one.tracebacks
    print(f"{'all':22s} {total.files:6d} {'':6s} {'':8s} {total.tracebacks:10d}")
    sys.exit(bool(total.tracebacks))


if __name__ == "__main__":
    main()
