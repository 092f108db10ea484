"""Matching: every way is compared with the slow and literal one."""

import numpy as np
import pytest

from radiossl import RadiosslError
from radiossl.sky.angles import parse_arcsec
from radiossl.sky.positions import groups_by_position, match_sky
from radiossl.store.boxes import shows_position
from tests.pictures import make_store

ARCSEC = 1 / 3600


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
