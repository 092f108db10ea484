"""Matching: every way is compared with the slow and literal one."""

import numpy as np
import pytest

from radiossl import RadiosslError
from radiossl.sky.angles import parse_arcsec
from radiossl.sky.positions import groups_by_position, match_sky
from radiossl.store import crossmatch
from radiossl.store.crossmatch import near_pairs, pixel_hash, repeats, shows_position
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.writing import write_store

ARCSEC = 1 / 3600


def make_store(path, images, positions=None, scale=1.8):
    """A store of images, at positions (degrees) or nowhere."""
    positions = [(np.nan, np.nan)] * len(images) if positions is None else positions
    cutouts = [
        Cutout(f"c{i}", np.asarray(image, np.float32), "m", *map(float, position), 0.0, 0.0, scale)
        for i, (image, position) in enumerate(zip(images, positions, strict=True))
    ]
    schema = store_schema()
    return write_store(path, [0], lambda _: cutout_batches(cutouts, schema), schema, {"command": str(path)})


def around(ra, dec, count, seed, spread_deg=0.05):
    """Positions scattered round a point of the sky, wherever it is."""
    from astropy.coordinates import SkyCoord

    rng = np.random.default_rng(seed)
    centre = SkyCoord(ra, dec, unit="deg")
    points = centre.directional_offset_by(
        rng.uniform(0, 360, count) * _deg(), rng.uniform(0, spread_deg, count) * _deg()
    )
    return points.ra.deg, points.dec.deg


def _deg():
    from astropy import units

    return units.deg


# Angles and positions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "arcsec"),
    [("60arcsec", 60), ("1arcmin", 60), ("0.5deg", 1800), ("20", 20), (" 1.5 ARCMIN ", 90), ('3"', 3), (".5'", 30)],
)
def test_angles(text, arcsec):
    assert parse_arcsec(text) == pytest.approx(arcsec)


@pytest.mark.parametrize("text", ["", "arcsec", "5parsec", "-3arcsec", "1 2", "nan"])
def test_what_is_no_angle(text):
    with pytest.raises(RadiosslError, match=r"--x .*: expected an angle such as 60arcsec"):
        parse_arcsec(text, "--x")


@pytest.mark.parametrize(("ra", "dec"), [(150, 30), (0, 0), (359.99, -70), (12, 90), (200, -89.99)])
@pytest.mark.parametrize("radius", [5.0, 60.0])
def test_matches_are_those_of_astropy(ra, dec, radius):
    from astropy.coordinates import SkyCoord, search_around_sky
    from astropy.units import arcsec

    a, b = around(ra, dec, 150, 1), around(ra, dec, 200, 2)
    found = match_sky(*a, *b, radius)
    rows_a, rows_b, separation, _ = search_around_sky(
        SkyCoord(*a, unit="deg"), SkyCoord(*b, unit="deg"), radius * arcsec
    )
    order = np.lexsort((rows_b, rows_a))
    assert len(found) > 0
    np.testing.assert_array_equal(found.a, rows_a[order])
    np.testing.assert_array_equal(found.b, rows_b[order])
    np.testing.assert_allclose(found.separation_arcsec, separation.arcsec[order], rtol=0, atol=1e-8)


def test_positions_without_number_match_nothing_and_equal_ones_do():
    found = match_sky([1.0, np.nan, 1.0], [2.0, 2.0, np.nan], [np.nan, 1.0], [2.0, 2.0], 0.0)
    assert (found.a.tolist(), found.b.tolist(), found.separation_arcsec.tolist()) == ([0], [1], [0.0])
    assert len(match_sky([np.nan], [1.0], [np.nan], [1.0], 60)) == 0
    assert len(match_sky([], [], [1.0], [1.0], 60)) == 0


def test_separations_of_half_the_sky_and_the_radius_itself():
    found = match_sky([0.0], [90.0], [0.0, 0.0, 180.0], [-90.0, 0.0, 90 - 60 * ARCSEC], 180 * 3600)
    np.testing.assert_allclose(found.separation_arcsec, [180 * 3600, 90 * 3600, 60], rtol=1e-10)
    assert len(match_sky([10.0], [0.0], [10.0], [60 * ARCSEC], 60.0)) == 1
    assert len(match_sky([10.0], [0.0], [10.0], [60 * ARCSEC], 59.999999)) == 0


@pytest.mark.parametrize("radius", [-1.0, np.nan, 181 * 3600.0])
def test_radii_that_are_none(radius):
    with pytest.raises(RadiosslError, match="expected an angle from 0 to 180 degrees"):
        match_sky([1.0], [1.0], [1.0], [1.0], radius)
    with pytest.raises(RadiosslError, match="expected an angle from 0 to 180 degrees"):
        groups_by_position([1.0], [1.0], radius)


@pytest.mark.parametrize(("ra", "dec"), [(150, 30), (0, 0), (7, 90)])
def test_groups_are_friends_of_friends(ra, dec):
    ras, decs = around(ra, dec, 60, 3)
    ras[[5, 17]] = np.nan
    groups = groups_by_position(ras, decs, 20.0)
    matches = match_sky(ras, decs, ras, decs, 20.0)
    expected = np.arange(60)  # every link pulls both ends down, until nothing moves
    for _ in range(60):
        for a, b in zip(matches.a, matches.b, strict=True):
            expected[[a, b]] = expected[[a, b]].min()
    assert len(set(groups)) < 55
    np.testing.assert_array_equal(groups[:, None] == groups, expected[:, None] == expected)
    assert (groups == groups[5]).sum() == (groups == groups[17]).sum() == 1
    _, first = np.unique(groups, return_index=True)
    assert groups[np.sort(first)].tolist() == list(range(len(first)))


def test_a_chain_is_one_group():
    chain = np.arange(10) * 50 * ARCSEC
    assert groups_by_position(np.zeros(10), chain, 60.0).tolist() == [0] * 10
    assert groups_by_position(np.zeros(10), chain, 49.0).tolist() == list(range(10))
    assert groups_by_position([np.nan, np.nan], [0.0, 0.0], 60.0).tolist() == [0, 1]


# Footprints -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ra", "dec"), [(150, 30), (0, -60), (359.999, 89.0)])
def test_footprints_are_boxes_on_the_tangent_plane(ra, dec, tmp_path):
    from astropy.coordinates import SkyCoord

    images = [np.arange(h * w).reshape(h, w) for h, w in [(20, 100), (100, 20), (40, 40)]]
    centres = list(zip(*around(ra, dec, 3, 5), strict=True))
    store = make_store(tmp_path / "s", images, centres)
    sources = around(ra, dec, 400, 6)
    for row, (image, centre) in enumerate(zip(images, centres, strict=True)):
        x, y = (
            SkyCoord(*sources, unit="deg").transform_to(SkyCoord(*centre, unit="deg").skyoffset_frame()).spherical,
            None,
        )
        lon, lat = x.lon.wrap_at(180 * _deg()).rad, x.lat.rad
        x, y = np.tan(lon), np.tan(lat) / np.cos(lon)  # gnomonic
        half_x, half_y = np.radians((np.array(image.shape[::-1]) / 2 * 1.8 + 10) * ARCSEC)
        expected = (np.abs(x) <= half_x) & (np.abs(y) <= half_y)
        found = [shows_position(store, [r], [d], 10.0)[row] for r, d in zip(*sources, strict=True)]
        assert expected.any()
        assert found == expected.tolist()


def test_without_a_pixel_size_or_position(tmp_path):
    images = [np.eye(100)] * 2
    store = make_store(tmp_path / "s", images, [(10, 0), (np.nan, np.nan)], scale=np.nan)
    assert shows_position(store, [10], [59 * ARCSEC], 60.0).tolist() == [True, False]
    assert shows_position(store, [10], [61 * ARCSEC], 60.0).tolist() == [False, False]
    assert not shows_position(store, [np.nan], [0], 60.0).any()


def test_repeats_are_told_by_place_or_by_pixels(tmp_path, sky):
    images = [sky(seed) for seed in range(4)]
    store = make_store(tmp_path / "s", images, [(10, 0), (20, 0), (30, 0), (np.nan, np.nan)])
    other = make_store(tmp_path / "t", [sky(9), images[3]], [(20, 50 * ARCSEC), (77, 0)])
    assert repeats(store, other, 60.0).tolist() == [False, True, False, True]
    assert repeats(store, other, 10.0).tolist() == [False, False, False, True]  # 16 px x 1.8 + 10 = 38.8 arcsec


# Pixels ---------------------------------------------------------------------------------------------------------------


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
    assert near_pairs(store, store).pairs.tolist() == [[2, 2]]


def eight_bit(image):
    image = image - np.nanmin(image)
    return np.round(255 * image / np.nanmax(image))


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
    found = near_pairs(a, b)
    assert (found.field_px, found.left_out) == (96, (0, 0))
    expected = {(row + 10, row) for row in range(10)}
    assert {tuple(pair) for pair in found.pairs.tolist()} <= expected
    assert len(found.pairs) >= (8 if name == "clipped" else 10)


@pytest.mark.parametrize("way", [eight_bit, clipped])
def test_turned_copies_are_found_when_asked_for(way, fields, tmp_path):
    turns = [np.rot90(image[::flip], k) for image in fields[:1] for flip in (1, -1) for k in range(4)]
    a = make_store(tmp_path / "a", [fields[0], fields[1]])
    b = make_store(tmp_path / "b", [way(image) for image in turns])
    assert near_pairs(a, b).pairs.tolist() == [[0, 0]]
    assert near_pairs(a, b, turned=True).pairs.tolist() == [[0, row] for row in range(8)]


@pytest.mark.parametrize("orientation", range(8))
def test_terms_are_turned_as_images_are(orientation):
    image = np.random.default_rng(0).normal(size=(1, 32, 32)).astype(np.float32)
    cosines = crossmatch._cosines(32)[:16]
    turned = cosines @ crossmatch.turn_of(orientation)(image) @ cosines.T
    np.testing.assert_allclose(crossmatch._turned(cosines @ image @ cosines.T, orientation), turned, atol=1e-4)


@pytest.mark.parametrize("length", [32, 50, 96, 33])
def test_blocks_are_averages(length):
    row = np.random.default_rng(0).normal(size=length)
    fine = np.repeat(row, 32).reshape(32, length).mean(axis=1)  # pixels cut into 32, of which `length` make a block
    np.testing.assert_allclose(crossmatch._block_average(length) @ row, fine, atol=1e-6)


def test_hashes_in_range_are_those_of_a_count_of_bits(fields, tmp_path):
    store = make_store(tmp_path / "a", fields)
    shifted = make_store(tmp_path / "b", [np.roll(image, (1, -2), (0, 1)) for image in fields])
    a, b = crossmatch._looks(store, 104), crossmatch._looks(shifted, 104)
    assert (a.noise > 0).all()
    bits = [(looks.faint.reshape(30, -1) > 0)[:, 1:] for looks in (a, b)]
    expected = {
        (i, j) for i in range(30) for j in range(30) if (bits[0][i] != bits[1][j]).sum() <= crossmatch.HASH_BITS
    }
    assert len(expected) >= 30
    assert crossmatch._alike_in_noise(a, b) == expected


def test_images_of_other_sizes_are_compared_in_the_field_they_share(fields, tmp_path):
    a = make_store(tmp_path / "a", fields[:5])
    b = make_store(tmp_path / "b", [image[20:84, 20:84] for image in fields[3:8]])
    found = near_pairs(a, b)
    assert found.field_px == 64
    assert found.pairs.tolist() == [[3, 0], [4, 1]]
    small = make_store(tmp_path / "c", [fields[0][:20, :20], fields[1]])
    found = near_pairs(a, small)
    assert (found.field_px, found.left_out) == (32, (0, 1))
    assert found.pairs.tolist() == [[1, 1]]


def test_real_fields_are_known_again(real_data, tmp_path):
    from radiossl.survey.mosaic import Mosaic

    tiles = sorted((real_data / "first" / "tiles").glob("*.fits.fz"))[:40]
    images = []
    for tile in tiles:
        with Mosaic.open(tile) as mosaic:
            images.append(mosaic.read(0, 0, *mosaic.shape[::-1]))
    a = make_store(tmp_path / "a", [image[50:250, 50:250] for image in images])
    b = make_store(tmp_path / "b", [image[51:251, 49:249] for image in images])
    assert near_pairs(a, b).pairs.tolist() == [[row, row] for row in range(40)]
