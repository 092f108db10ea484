"""Sources known by their pixels: copies in other units, offset, clipped, in 8 bits, turned, and nothing else."""

import numpy as np
import pytest

from radiossl.duplicates.crossmatch import crossmatch_stores
from radiossl.features.same_source import pixel_hash, repeats, same_pictures
from radiossl.images.registration import amplitude_spectra, turn, turned_spectra
from tests.pictures import eight_bit, field, make_store

ARCSEC = 1 / 3600


def test_repeats_are_told_by_place_or_by_pixels(tmp_path, sky):
    images = [sky(seed) for seed in range(4)]
    store = make_store(tmp_path / "s", images, [(10, 0), (20, 0), (30, 0), (np.nan, np.nan)])
    other = make_store(tmp_path / "t", [sky(9), images[3]], [(20, 50 * ARCSEC), (77, 0)])
    assert repeats(store, other, 60.0).tolist() == [False, True, False, True]
    assert repeats(store, other, 10.0).tolist() == [False, False, False, True]  # 16 px x 1.8 + 10 = 38.8 arcsec


def test_pixel_hash():
    image = np.array([[1.0, np.nan, 0.0], [2.0, 3.0, 4.0]], np.float32)
    other_nan = image.copy()
    other_nan.view(np.uint32)[0, 1] = 0xFFC12345
    assert np.isnan(other_nan[0, 1])
    assert pixel_hash(image) == pixel_hash(other_nan) == pixel_hash(image.astype(np.float64))
    minus = image.copy()
    minus[0, 2] = -0.0
    assert pixel_hash(minus) == pixel_hash(image)
    changed = image.copy()
    changed[1, 2] = np.nextafter(np.float32(4), np.float32(5))
    hashes = [image, changed, image.reshape(3, 2), image[::-1], np.nan_to_num(image)]
    assert len({pixel_hash(item) for item in hashes}) == 5


def test_blank_and_constant_images_equal_nothing(tmp_path, sky):
    images = [np.full((32, 32), np.nan), np.ones((32, 32)), sky(1)]
    store = make_store(tmp_path / "s", images)
    assert same_pictures(store, store).tolist() == [[2, 2]]


def clipped(image):
    background = np.median(image)
    return eight_bit(np.maximum(image, background + 3 * 1.4826 * np.median(np.abs(image - background))))


@pytest.fixture(scope="module")
def fields(sky):
    """Fields of 104 pixels with some sources, of which the central 96 are looked at."""
    return [sky(seed, (104, 104), sources=5) for seed in range(30)]


COPIES = {
    "scale": lambda image: 1e3 * image[4:100, 4:100] - 7,
    "shift": lambda image: image[6:102, 3:99],
    "8 bit": lambda image: eight_bit(image[4:100, 4:100]),
    "clipped": lambda image: clipped(image)[4:100, 4:100],
    "blank corner": lambda image: np.where(
        np.add.outer(np.arange(96), np.arange(96)) < 20, np.nan, image[4:100, 4:100]
    ),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_found_and_nothing_else(name, fields, tmp_path):
    a = make_store(tmp_path / "a", [image[4:100, 4:100] for image in fields])
    b = make_store(tmp_path / "b", [COPIES[name](image) for image in fields[10:20]])
    found = same_pictures(a, b)
    expected = {(row + 10, row) for row in range(10)}
    assert {tuple(pair) for pair in found.tolist()} <= expected
    assert len(found) >= (8 if name == "clipped" else 10)


@pytest.mark.parametrize("way", [eight_bit, clipped])
def test_turned_copies_are_found_when_asked_for(way, fields, tmp_path):
    turns = [np.rot90(image[::flip], k) for image in fields[:1] for flip in (1, -1) for k in range(4)]
    a = make_store(tmp_path / "a", [fields[0], fields[1]])
    b = make_store(tmp_path / "b", [way(image) for image in turns])
    assert same_pictures(a, b).tolist() == [[0, 0]]
    assert same_pictures(a, b, turned=True).tolist() == [[0, row] for row in range(8)]


def test_images_of_other_sizes_are_compared_in_the_field_they_share(fields, tmp_path):
    a = make_store(tmp_path / "a", fields[:5])
    b = make_store(tmp_path / "b", [image[20:84, 20:84] for image in fields[3:8]])
    found = same_pictures(a, b)
    assert found.tolist() == [[3, 0], [4, 1]]
    small = make_store(tmp_path / "c", [fields[0][:20, :20], fields[1]])
    found = same_pictures(a, small)
    assert found.tolist() == [[1, 1]]


def test_real_fields_are_known_again(real_data, tmp_path):
    from radiossl.survey.mosaic import Mosaic

    tiles = sorted((real_data / "first" / "tiles").glob("*.fits.fz"))[:40]
    images = []
    for tile in tiles:
        with Mosaic.open(tile) as mosaic:
            images.append(mosaic.read(0, 0, *mosaic.shape[::-1]))
    a = make_store(tmp_path / "a", [image[50:250, 50:250] for image in images])
    b = make_store(tmp_path / "b", [image[51:251, 49:249] for image in images])
    assert same_pictures(a, b).tolist() == [[row, row] for row in range(40)]


@pytest.fixture(scope="module")
def crowded():
    return [field(seed) for seed in range(24)]


OFFSET_COPIES = {
    "offset": lambda image: image[8:104, 36:132],
    "8 bit": lambda image: eight_bit(image[22:118, 22:118]),
    "clipped": lambda image: clipped(image)[22:118, 22:118],
    "clipped and offset": lambda image: clipped(image)[12:108, 30:126],
}


@pytest.mark.parametrize("name", OFFSET_COPIES)
def test_offset_copies_are_found_and_nothing_else(name, crowded, tmp_path):
    a = make_store(tmp_path / "a", [image[22:118, 22:118] for image in crowded])
    b = make_store(tmp_path / "b", [OFFSET_COPIES[name](image) for image in crowded[10:20]])
    found = {tuple(pair) for pair in same_pictures(a, b).tolist()}
    assert found <= {(row + 10, row) for row in range(10)}
    assert len(found) >= (10 if name == "offset" else 7)


def test_turned_copies_of_crowded_crowded_are_found_when_asked_for(crowded, tmp_path):
    turns = [np.rot90(crowded[0][::flip], k) for flip in (1, -1) for k in range(4)]
    a = make_store(tmp_path / "a", crowded[:2])
    b = make_store(tmp_path / "b", turns)
    assert same_pictures(a, b).tolist() == [[0, 0]]
    assert same_pictures(a, b, turned=True).tolist() == [[0, row] for row in range(8)]


def test_small_and_blank_images_equal_nothing(crowded, tmp_path):
    images = [np.full((40, 40), np.nan), np.ones((40, 40)), crowded[0][:31, :80], crowded[1]]
    store = make_store(tmp_path / "s", images)
    assert same_pictures(store, store).tolist() == [[2, 2], [3, 3]]  # equal pixels at any size
    cut = make_store(tmp_path / "cut", [crowded[0][1:31, :80], crowded[1][1:]])
    assert same_pictures(store, cut).tolist() == [[3, 1]]
    assert crossmatch_stores(store, store, pixels="near")["row_a"].tolist() == [2, 3]  # equal pixels at any size


def test_slopes_and_broad_sources_are_not_taken_for_noise_in_common(store_of):
    rng = np.random.default_rng(0)
    y, x = np.indices((96, 96)) / 96
    slopes = [rng.normal(0, 1, (96, 96)) + 8 * x + step * y for step in (3, 4, 5)]
    store = store_of([slope.astype(np.float32) for slope in slopes])
    assert same_pictures(store, store).tolist() == [[row, row] for row in range(3)]


@pytest.mark.parametrize("orientation", range(8))
def test_spectra_are_turned_as_images_are(orientation, store_of, sky):
    image = sky(0, (40, 40), sources=4)
    spectra = amplitude_spectra(store_of([image, turn(image, orientation).copy()]))
    np.testing.assert_allclose(turned_spectra(spectra[:1], orientation), spectra[1:], rtol=1e-3, atol=1e-3)


def test_pictures_without_sources_are_known_by_their_noise(store_of):
    rng = np.random.default_rng(0)
    pictures = [rng.uniform(0, 1, (48, 48)).astype(np.float32) for _ in range(12)]  # nothing is above 3 sigma
    copies = [np.roll(7 * picture[::-1], 3, axis=1) for picture in pictures[4:8]]
    a, b = store_of(pictures), store_of(copies)
    assert same_pictures(a, b).tolist() == []
    assert same_pictures(a, b, turned=True).tolist() == [[row + 4, row] for row in range(4)]


def test_of_a_large_store_each_copy_is_found_in_a_small_one(store_of, sky):
    fields = [sky(seed, (64, 64), sources=3) for seed in range(30)]
    copies = [turn(3 * fields[2], orientation).copy() for orientation in range(8)]
    found = same_pictures(store_of(fields + copies), store_of(fields[2:4]), turned=True)
    assert found.tolist() == [[2, 0], [3, 1], *([row, 0] for row in range(30, 38))]
