"""Small annotated images: blobs and doubles on noise, as a COCO file beside its images."""

import json

import numpy as np
import pytest
import torch
from astropy.io import fits
from PIL import Image
from pycocotools import mask as coco

from radiossl.detection.examples import open_annotated
from radiossl.detection.network import Detector, DetectorConfig

SIDE = 64


def blobs(seed, side=SIDE, objects=2, rms=1e-4):
    """An image (side, side), the masks of its objects (m, side, side) and their classes, single or double."""
    rng = np.random.default_rng(seed)
    image, masks, classes = rng.normal(0, rms, (side, side)), [], []
    y, x = np.indices((side, side))
    for number in range(objects):
        y0, x0 = (0.25 + 0.5 * number) * side + rng.uniform(-5, 5), rng.uniform(0.25, 0.75) * side
        apart = 0.0 if rng.random() < 0.5 else rng.uniform(5, 7)
        parts = [np.exp(-((y - y0) ** 2 + (x - x0 - side_of) ** 2) / (2 * 2.0**2)) for side_of in {-apart, apart}]
        signal = 50 * rms * np.sum(parts, axis=0)
        image += signal
        masks.append(signal > 5 * rms)
        classes.append("double" if apart else "single")
    return image.astype(np.float32), np.array(masks).reshape(-1, side, side), classes


def coco_content(items, names=("single", "double"), suffix=".fits"):
    """The content of an annotation file of `items`, each (image, masks, classes)."""
    content = {"images": [], "annotations": [], "categories": [{"id": i + 1, "name": n} for i, n in enumerate(names)]}
    for number, (image, masks, classes) in enumerate(items):
        height, width = image.shape
        entry = {"id": number, "file_name": f"i{number}{suffix}", "height": height, "width": width}
        content["images"].append(entry)
        for mask, name in zip(masks, classes, strict=True):
            encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
            encoded["counts"] = encoded["counts"].decode()
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": number,
                    "category_id": 1 + names.index(name),
                    "segmentation": encoded,
                    "iscrowd": 0,
                }
            )
    return content


def write_set(folder, items, suffix=".fits"):
    """Write images and annotations.json into a folder; returns the annotation file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (image, _, _) in enumerate(items):
        if suffix == ".fits":
            fits.PrimaryHDU(image).writeto(folder / f"i{number}.fits", overwrite=True)
        else:
            scaled = np.clip(image / image.max(), 0, 1)
            Image.fromarray((255 * scaled).astype(np.uint8)).save(folder / f"i{number}{suffix}")
    (folder / "annotations.json").write_text(json.dumps(coco_content(items, suffix=suffix)))
    return folder / "annotations.json"


@pytest.fixture(scope="session")
def blob_set(tmp_path_factory):
    """An annotation file of 8 images of 64 pixels with two objects each, FITS images beside it."""
    return write_set(tmp_path_factory.mktemp("blobs"), [blobs(seed) for seed in range(8)])


@pytest.fixture(scope="session")
def blob_source(blob_set):
    return open_annotated(blob_set)


@pytest.fixture(scope="session")
def detector(tiny_backbone):
    """Untrained: it finds many things, all of them wrong, which is as good for what is tested here."""
    config = DetectorConfig(
        backbone=tiny_backbone.config.architecture,
        preprocessing=tiny_backbone.config.preprocessing.model_copy(update={"size": 64}),
        classes=("a", "b"),
        mode="scratch",
        field_px=64,
    )
    torch.manual_seed(0)
    return Detector(config, sha256="0").eval()
