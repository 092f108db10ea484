"""Extents measured around positions: doubles, their lobes, neighbours that do not belong, and what is cut with them."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from radiossl import RadiosslError
from radiossl.survey.catalogue import Catalogue, read_catalogue
from radiossl.survey.cutting import Mosaics
from radiossl.survey.extents import measure_extents
from radiossl.survey.islands import find_islands
from radiossl.survey.mosaic import Mosaic
from radiossl.survey.placement import locate_sources
from radiossl.survey.sources import cut_sources

BEAM = 6.0  # arcsec, on pixels of 2 arcsec


def write_mosaic(path, *sources, side=600, pixel=(2.0, 2.0), seed=0):
    """Noise with point sources: offsets from the centre in arcsec (x, y) and peaks above the noise."""
    head = fits.Header()
    head["CTYPE1"], head["CTYPE2"] = "RA---SIN", "DEC--SIN"
    head["CRVAL1"], head["CRVAL2"], head["CRPIX1"], head["CRPIX2"] = 150.0, 2.0, (side + 1) / 2, (side + 1) / 2
    head["CDELT1"], head["CDELT2"] = -pixel[0] / 3600, pixel[1] / 3600
    head["BMAJ"], head["BMIN"], head["BPA"] = BEAM / 3600, BEAM / 3600, 0.0
    pixels = np.random.default_rng(seed).normal(0, 1, (side, side))
    y, x = np.indices((side, side)) - (side - 1) / 2
    for at_x, at_y, peak in sources:
        distance2 = (x * pixel[0] - at_x) ** 2 + (y * pixel[1] - at_y) ** 2
        pixels += peak * np.exp(-4 * np.log(2) * distance2 / BEAM**2)
    fits.writeto(path, pixels.astype("f4"), head)
    return path


def targets(ra=(150.0,), dec=(2.0,), **columns):
    ids = [f"s{row}" for row in range(len(ra))]
    return Catalogue(
        "cat", np.array(ids, object), np.array(ra), np.array(dec), None, pa.table({"name": ids, **columns})
    )


def measured(path):
    mosaics = Mosaics.find([path])
    (extent,) = measure_extents(locate_sources(targets(), np.array([0]), mosaics), mosaics, 1)
    return extent


@pytest.mark.parametrize("pixel", [(2.0, 2.0), (1.0, 3.0)])
@pytest.mark.parametrize(
    ("sources", "extent"),
    [
        ([(0, 0, 50)], 3),  # a point: half a beam
        ([(-6, 0, 50), (6, 0, 40)], 12),  # one island with two peaks
        ([(0, 0, 40), (0, 40, 50), (0, -38, 30)], 78),  # a core and two lobes
        ([(0, 0, 10), (110, 10, 300), (-120, -14, 250)], 231),  # lobes far out
        ([(0, 0, 30), (130, 20, 40)], 3),  # a neighbour on one side
        ([(0, 0, 30), (130, 20, 40), (20, 150, 40)], 3),  # two neighbours, not opposite
        ([(0, 0, 30), (60, 0, 6), (-70, 0, 400)], 3),  # opposite, but no pair
    ],
)
def test_what_belongs_to_a_source_is_measured(tmp_path, sources, extent, pixel):
    assert measured(write_mosaic(tmp_path / "m.fits", *sources, pixel=pixel)) == pytest.approx(extent, abs=4)


def test_where_nothing_is_seen_there_is_no_extent(tmp_path):
    assert np.isnan(measured(write_mosaic(tmp_path / "m.fits", (200, 200, 50))))


@pytest.mark.parametrize(
    ("sources", "positions", "extents"),
    [
        # A core and its lobes are one source, unless the catalogue has the lobes too.
        ([(0, 0, 40), (0, 40, 50), (0, -38, 30)], [(0, 0)], [78]),
        ([(0, 0, 40), (0, 40, 50), (0, -38, 30)], [(0, 0), (0, 40), (0, -38)], [3, 3, 3]),
        # On one island, the brighter source is all of it, the fainter one its own summit.
        ([(0, 0, 90), (9, 0, 60), (18, 0, 40)], [(0, 0), (18, 0)], [19, 3]),
        ([(0, 0, 90), (9, 0, 60), (18, 0, 40)], [(18, 0)], [19]),
        # The same source twice.
        ([(-6, 0, 50), (6, 0, 40)], [(-6, 0), (-6, 0.5)], [12, 12]),
    ],
)
def test_what_the_catalogue_calls_another_source_does_not_belong(tmp_path, sources, positions, extents):
    mosaics = Mosaics.find([write_mosaic(tmp_path / "m.fits", *sources)])
    with mosaics.open(0) as mosaic:
        ra, dec = mosaic.pixel_to_sky(*(np.array(positions).T / 2 + 299.5))
    places = locate_sources(targets(ra, dec), np.arange(len(positions)), mosaics)
    assert measure_extents(places, mosaics, len(positions)) == pytest.approx(extents, abs=4)


def test_boxes_are_cut_around_what_was_measured(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", (0, 40, 50), (0, 0, 40), (0, -38, 30), (-400, -400, 90))
    with Mosaic.open(path) as mosaic:
        ra, dec = mosaic.pixel_to_sky([299.5, 99.5, 500], [299.5, 99.5, 500])
    sources = targets(ra, dec, kind=["double", "point", "nothing"])
    result = cut_sources([path], sources, tmp_path / "s", min_size=8, measure=True)
    rows = {name: row for row, name in enumerate(result.store.column("kind"))}
    assert set(rows) == {"double", "point"}
    extents = result.store.column("measured_extent_arcsec")
    assert extents[rows["double"]] == pytest.approx(78, abs=4)
    expected = np.ceil(1.5 * extents / 2 - 0.01)
    np.testing.assert_array_equal(result.store.shapes[:, 0], np.maximum(expected, 8))
    assert result.not_cut == {"no extent": 1}
    small = cut_sources([path], sources, tmp_path / "t", measure=True, min_extent_arcsec=20)
    assert small.store.column("kind").tolist() == ["double"]
    assert small.not_cut == {"no extent": 1, "too small": 1}


def test_without_extents_the_way_out_is_named(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", (0, 0, 50))
    with pytest.raises(RadiosslError, match="give the box in pixels with --size, or use `radiossl"):
        cut_sources([path], targets(), tmp_path / "s")
    with pytest.raises(RadiosslError, match="no source is left to cut"):
        cut_sources([path], targets([150.1]), tmp_path / "s", measure=True)


def test_extents_of_first_sources_agree_with_their_catalogue(real_data):
    from scipy.stats import spearmanr

    catalogue = read_catalogue(real_data / "first" / "catalogue.csv", id="name")
    rows = np.arange(0, len(catalogue), 9)
    paths = [real_data / "first" / "tiles" / f"{name}.fits.fz" for name in catalogue.ids[rows]]
    mosaics = Mosaics.find(paths)
    extents = measure_extents(locate_sources(catalogue, rows, mosaics), mosaics, len(catalogue))[rows]
    ratio = extents / catalogue.extent_arcsec[rows]
    known = np.isfinite(ratio)
    assert known.mean() > 0.98
    assert (np.maximum(ratio[known], 1 / ratio[known]) <= 1.5).mean() > 0.78
    assert spearmanr(extents[known], catalogue.extent_arcsec[rows][known])[0] > 0.68


def test_extents_in_a_crowded_field_agree_with_its_islands(real_data):
    from scipy.stats import spearmanr

    folder = real_data / "scorpio"
    found = find_islands(Mosaics.find([folder])).catalogue
    mosaics = Mosaics.find([folder])
    extents = measure_extents(locate_sources(found, np.arange(len(found)), mosaics), mosaics, len(found))
    snr = found.columns.column("snr").to_numpy()
    clear = snr > 8
    with mosaics.open(0) as mosaic:
        beam = mosaic.beam.major_arcsec
    expected = np.maximum(found.extent_arcsec - beam * np.sqrt(np.log2(snr / 5)), beam / 2)
    ratio = (extents / expected)[clear]
    assert clear.sum() > 20
    assert (np.maximum(ratio, 1 / ratio) <= 1.5).mean() > 0.75
    assert spearmanr(extents[clear], expected[clear])[0] > 0.9
