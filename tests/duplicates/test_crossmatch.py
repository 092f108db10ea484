"""Stores matched by positions and by pixels: offset, clipped, 8-bit and turned copies are found, and nothing else."""

import numpy as np
import pytest

from radiossl import RadiosslError
from radiossl.duplicates.crossmatch import crossmatch_stores, registered_pairs
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.writing import write_store

ARCSEC = 1 / 3600


def make_store(path, images, positions=None):
    positions = [(np.nan, np.nan)] * len(images) if positions is None else positions
    cutouts = [
        Cutout(f"c{i}", np.asarray(image, np.float32), "m", *map(float, position), 0.0, 0.0, 1.8)
        for i, (image, position) in enumerate(zip(images, positions, strict=True))
    ]
    schema = store_schema()
    return write_store(path, [0], lambda _: cutout_batches(cutouts, schema), schema, {"command": str(path)})


def eight_bit(image):
    image = image - np.nanmin(image)
    return np.round(255 * image / np.nanmax(image))


def clipped(image):
    background = np.median(image)
    return eight_bit(np.maximum(image, background + 3 * 1.4826 * np.median(np.abs(image - background))))


def field(seed, side=140, sources=12):
    """Noise and compact sources all over the field, by whose places it can be known."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 1e-4, (side, side))
    y, x = np.indices(image.shape)
    for _ in range(sources):
        (y0, x0), width = rng.uniform(0, side, 2), rng.uniform(1, 3)
        image += rng.uniform(2e-3, 2e-2) * np.exp(-((y - y0) ** 2 + (x - x0) ** 2) / (2 * width**2))
    return image.astype(np.float32)


@pytest.fixture(scope="module")
def fields():
    return [field(seed) for seed in range(24)]


COPIES = {
    "offset": lambda image: image[8:104, 36:132],
    "8 bit": lambda image: eight_bit(image[22:118, 22:118]),
    "clipped": lambda image: clipped(image)[22:118, 22:118],
    "clipped and offset": lambda image: clipped(image)[12:108, 30:126],
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_found_and_nothing_else(name, fields, tmp_path):
    a = make_store(tmp_path / "a", [image[22:118, 22:118] for image in fields])
    b = make_store(tmp_path / "b", [COPIES[name](image) for image in fields[10:20]])
    found = {tuple(pair) for pair in registered_pairs(a, b).tolist()}
    assert found <= {(row + 10, row) for row in range(10)}
    assert len(found) >= (10 if name == "offset" else 7)


def test_turned_copies_are_found_when_asked_for(fields, tmp_path):
    turns = [np.rot90(fields[0][::flip], k) for flip in (1, -1) for k in range(4)]
    a = make_store(tmp_path / "a", fields[:2])
    b = make_store(tmp_path / "b", turns)
    assert registered_pairs(a, b).tolist() == [[0, 0]]
    assert registered_pairs(a, b, turned=True).tolist() == [[0, row] for row in range(8)]


def test_small_and_blank_images_equal_nothing(fields, tmp_path):
    images = [np.full((40, 40), np.nan), np.ones((40, 40)), fields[0][:31, :80], fields[1]]
    store = make_store(tmp_path / "s", images)
    assert registered_pairs(store, store).tolist() == [[3, 3]]
    assert crossmatch_stores(store, store, pixels="near")["row_a"].tolist() == [2, 3]  # equal pixels at any size


def test_pairs_of_stores_say_how_they_were_matched(fields, tmp_path):
    images = [image[22:118, 22:118] for image in fields[:4]]
    a = make_store(tmp_path / "a", images, [(10, 0), (20, 0), (30, 0), (np.nan, np.nan)])
    b = make_store(tmp_path / "b", [images[0], eight_bit(images[1]), fields[9][:96, :96], images[3]],
                   [(10, 30 * ARCSEC), (99, 0), (30, 0), (5, 5)])  # fmt: skip
    frame = crossmatch_stores(a, b, 60.0, "near")
    assert frame[["row_a", "row_b"]].to_numpy().tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert frame["matched_by"].tolist() == ["position+exact+near", "near", "position", "exact+near"]
    assert frame["separation_arcsec"][0] == pytest.approx(30)
    assert np.isnan(frame["separation_arcsec"][3])
    assert frame["cutout_id_b"].tolist() == ["c0", "c1", "c2", "c3"]
    assert crossmatch_stores(a, b, 60.0, "exact")["row_a"].tolist() == [0, 2, 3]
    assert crossmatch_stores(a, b, 20.0)["row_a"].tolist() == [2]
    with pytest.raises(RadiosslError, match="--pixels odd: expected one of exact, near"):
        crossmatch_stores(a, b, 20.0, "odd")
