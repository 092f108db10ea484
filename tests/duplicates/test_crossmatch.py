"""Stores matched by positions and by pixels: how each pair was matched is said."""

import numpy as np
import pytest

from radiossl import RadiosslError
from radiossl.duplicates.crossmatch import crossmatch_stores
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
