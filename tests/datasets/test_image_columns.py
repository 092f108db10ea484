"""Tables with a column of images become cutouts with the names, positions and further columns of the table."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table
from PIL import Image

import radiossl
from radiossl.datasets.image_sources import open_images
from radiossl.io.errors import RadiosslError

COUNT = 8


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def images(rng):
    return [rng.normal(size=(20 + row, 24)).astype(np.float32) for row in range(COUNT)]


def plain():
    names = [f"s{row}" for row in range(COUNT)]
    return {"name": names, "ra": -1.0 + np.arange(COUNT), "dec": np.full(COUNT, -5.0), "flux": np.arange(COUNT) * 2.0}


def of_objects(images):
    column = np.empty(len(images), object)
    for row, image in enumerate(images):
        column[row] = image
    return column


KINDS = {
    "arrays": lambda images: pd.DataFrame({**plain(), "image": images}),
    "arrays as FITS has them": lambda images: pd.DataFrame({**plain(), "image": [i.astype(">f8") for i in images]}),
    "lists": lambda images: pd.DataFrame({**plain(), "image": [i.tolist() for i in images]}),
    "arrays of arrays": lambda images: pa.table({**plain(), "image": [i.tolist() for i in images]}).to_pandas(),
    "Arrow": lambda images: pa.table({**plain(), "image": [i.tolist() for i in images]}),
    "colours": lambda images: pd.DataFrame({**plain(), "image": [np.dstack([i] * 3) for i in images]}),
    "astropy": lambda images: Table({**plain(), "image": of_objects(images)}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_any_sizes_keep_names_positions_and_columns(images, kind):
    store = open_images(KINDS[kind](images))
    assert store.column("cutout_id").tolist() == plain()["name"]
    np.testing.assert_allclose(store.column("ra_deg"), plain()["ra"] % 360)
    np.testing.assert_allclose(store.column("dec_deg"), -5)
    assert store.column("flux").tolist() == plain()["flux"].tolist()
    for row, image in enumerate(images):
        np.testing.assert_allclose(store.pixels(row), image, rtol=1e-6)


def test_units_and_masks_of_an_astropy_table_count(rng):
    pixels = rng.normal(size=(COUNT, 20, 24))
    mask = pixels > 2
    known = {"ra": np.arange(COUNT) / 15 * u.hourangle, "dec": np.full(COUNT, -300.0) * u.arcmin}
    store = open_images(Table({**known, "cut": MaskedColumn(pixels, mask=mask, unit="Jy / beam")}))
    np.testing.assert_allclose(store.column("ra_deg"), np.arange(COUNT))
    np.testing.assert_allclose(store.column("dec_deg"), -5)
    assert store.column("unit")[0] == "Jy / beam"
    assert store.column("cutout_id")[1].startswith("J000400.00-")
    np.testing.assert_array_equal(np.isnan(store.pixels(3)), mask[3])


@pytest.mark.parametrize("struct", [False, True], ids=["bytes", "as Hugging Face has them"])
def test_a_parquet_file_may_hold_encoded_images(tmp_path, struct):
    files = []
    for row in range(COUNT):
        stream = io.BytesIO()
        Image.fromarray(np.full((20, 24), row, np.uint8)).save(stream, "PNG")
        files.append({"bytes": stream.getvalue(), "path": None} if struct else stream.getvalue())
    pq.write_table(pa.table({**plain(), "picture": files}), tmp_path / "set.parquet")
    store = open_images(tmp_path / "set.parquet")
    assert store.column("cutout_id").tolist() == plain()["name"]
    assert [float(store.pixels(row).max()) for row in range(COUNT)] == list(range(COUNT))


def test_rows_without_names_and_positions_are_numbered_and_gaps_in_positions_stay(images):
    assert open_images(pd.DataFrame({"image": images})).column("cutout_id").tolist()[:2] == ["1", "2"]
    table = plain()
    table["ra"][2] = np.nan
    store = open_images(pd.DataFrame({**table, "image": images}))
    assert np.flatnonzero(np.isnan(store.column("ra_deg"))).tolist() == [2]


def changed(images, row, value):
    return pd.DataFrame({**plain(), "image": [*images[:row], value, *images[row + 1 :]]})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, r"table: image of row 4 \(s3\): no image"),
        (np.nan, r"table: image of row 4 \(s3\): no image"),
        ("a.fits", "column 'image', row 4: 'a.fits', where other rows have arrays of 2 dimensions"),
        (np.ones(5), r"row 4: an array of shape \(5,\), where other rows have arrays of 2 dimensions"),
        (np.ones((2, 5, 5)), r"row 4: an array of shape \(2, 5, 5\), where other rows have arrays of 2 dimensions"),
        (np.full((9, 9), np.nan), r"row 4 \(s3\): every pixel is blank"),
        (np.empty((0, 0)), r"row 4 \(s3\): rows of different lengths, or of none"),
        ([[1, 2], [3]], r"row 4 \(s3\): rows of different lengths, or of none"),
        (np.ones((1, 20_000)), r"row 4 \(s3\): array: an image of 1 x 20000 pixels"),
    ],
)
def test_what_is_no_image_is_said_with_its_row(images, value, said):
    with pytest.raises(RadiosslError, match=said):
        open_images(changed(images, 3, value))


def test_tables_without_images_are_refused(images):
    text = [np.array([["a", "b"]])] * COUNT
    with pytest.raises(RadiosslError, match="table: not an image, and it names none"):
        open_images(pd.DataFrame({**plain(), "image": text}))
    with pytest.raises(RadiosslError, match="row 1 names no image in its column 'image'"):
        open_images(pd.DataFrame({**plain(), "image": None}))
    with pytest.raises(RadiosslError, match="the table has no rows"):
        open_images(changed(images, 0, None).iloc[:0])


def test_images_with_other_positions_are_other_images(images, tmp_path):
    frame = pd.DataFrame({**plain(), "image": images})
    kept = open_images(frame, out=tmp_path / "kept")
    assert open_images(frame, out=tmp_path / "kept").table.to_pandas().equals(kept.table.to_pandas())
    with pytest.raises(RadiosslError, match="kept"):
        open_images(frame.assign(dec=6.0), out=tmp_path / "kept")


def test_features_and_queries_of_tables(images, tmp_path):
    backbone = radiossl.load_backbone("simclr-first-zoom")
    frame = pd.DataFrame({**plain(), "image": images})
    table = radiossl.embed(backbone, frame)
    np.testing.assert_allclose(backbone.features(frame).numpy(), backbone.features(images).numpy(), atol=1e-5)
    np.testing.assert_allclose(table.features, backbone.features(images).numpy(), atol=1e-5)
    found = radiossl.search(table, frame.iloc[4:5], weights=backbone, crop="none", neighbours=1)
    assert found.neighbours["cutout_id"].tolist() == ["s4"]
