"""Similarity search against cosines written out, and every way to ask for something."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

import radiossl
from radiossl import RadiosslError, load_backbone
from radiossl.datasets.image_files import list_images
from radiossl.features.index_building import build_index
from radiossl.features.table import FeatureTable
from radiossl.similarity.queries import AWAY_WEIGHT, Framing, frame_query, query_of, resampled
from radiossl.similarity.search import MATCH_ARCSEC, SimilarityIndex, parse_position, separations_arcsec
from radiossl.weights.backbone import Backbone, save_backbone


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 8)) * rng.uniform(0.1, 10, (50, 1))
    columns = pa.table(
        {
            "cutout_id": [f"c{row}" for row in range(50)],
            "ra_deg": 0.02 * np.arange(50) + 359.5,
            "dec_deg": np.full(50, -60.0),
            "kind": ["a", "b"] * 25,
        }
    )
    columns = columns.set_column(1, "ra_deg", pa.array(columns.column("ra_deg").to_numpy() % 360))
    return FeatureTable(columns, features.astype(np.float32), {"weights": "w"})


def cosines(query, features):
    return features @ query / (np.linalg.norm(features, axis=1) * np.linalg.norm(query))


def without_positions(table):
    nothing = pa.array([None] * len(table), pa.float64())
    columns = table.columns
    for name in ("ra_deg", "dec_deg"):
        columns = columns.set_column(columns.column_names.index(name), name, nothing)
    return FeatureTable(columns, table.features)


# Search ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [0, 17, 49])
@pytest.mark.parametrize("k", [1, 10, 49])
def test_search_equals_brute_force(table, row, k):
    index = SimilarityIndex(table)
    found = index.search(index.query_by_id(f"c{row}"), k)
    expected = cosines(table.features[row].astype(float), table.features.astype(float))
    order = [other for other in np.argsort(expected)[::-1] if other != row][:k]
    assert found["row"].tolist() == order
    assert found["cutout_id"].tolist() == [f"c{other}" for other in order]
    assert found["kind"].tolist() == [["a", "b"][other % 2] for other in order]
    assert found["rank"].tolist() == list(range(1, k + 1))
    np.testing.assert_allclose(found["similarity"], expected[order], rtol=0, atol=1e-6)


def test_features_as_a_query_find_everything(table):
    found = SimilarityIndex(table).search(3.7 * table.features[5].astype(float), k=4)
    assert found["row"][0] == 5
    assert found["similarity"][0] == pytest.approx(1.0, abs=1e-6)
    assert len(found) == 4


def test_no_more_neighbours_than_there_are(table):
    index = SimilarityIndex(table)
    assert len(index.search(index.query_by_id("c0"), k=1000)) == 49
    assert len(index.search(table.features[0], k=1000)) == 50
    single = SimilarityIndex(table.select([3]))
    assert len(single.search(single.query_by_id("c3"))) == 0


def test_copies_of_the_query_are_found_and_the_query_is_not(table):
    copies = FeatureTable(table.columns, np.tile(table.features[:1], (50, 1)))
    index = SimilarityIndex(copies)
    for row in (0, 20, 49):
        found = index.search(index.query_by_id(f"c{row}"), k=10)
        assert len(found) == 10
        assert row not in found["row"].tolist()


def test_vectors_of_zeros_are_like_nothing(table):
    features = table.features.copy()
    features[4] = 0
    index = SimilarityIndex(FeatureTable(table.columns, features))
    with pytest.raises(RadiosslError, match="query c4: its features are not finite or all zero"):
        index.search(index.query_by_id("c4"), k=49)
    similarities = index.search(index.query_by_id("c0"), k=49).set_index("row")["similarity"]
    assert similarities[4] == 0
    assert np.isfinite(similarities).all()


def test_columns_of_the_table_called_like_ours_give_way(table):
    columns = table.columns.append_column("rank", pa.array(["high"] * 50)).append_column("row", pa.array([7] * 50))
    found = SimilarityIndex(FeatureTable(columns, table.features)).search(table.features[3], k=2)
    assert found.columns.tolist() == ["rank", "similarity", "row", "cutout_id", "ra_deg", "dec_deg", "kind"]
    assert (found["rank"].tolist(), found["row"][0]) == ([1, 2], 3)


def test_the_table_is_left_alone(table):
    before = table.features.copy()
    index = SimilarityIndex(table)
    index.search(index.query_by_id("c1"))
    np.testing.assert_array_equal(table.features, before)


def test_wrong_questions_are_refused(table):
    index = SimilarityIndex(table)
    with pytest.raises(RadiosslError, match="--neighbours 0"):
        index.search(table.features[0], k=0)
    with pytest.raises(RadiosslError, match=r"shape \(7,\), expected \(8,\)"):
        index.search(table.features[0, :7])
    for nothing in (0.0, np.nan, np.inf):
        with pytest.raises(RadiosslError, match="query query: its features are not finite or all zero"):
            index.search(np.full(8, nothing))
    with pytest.raises(RadiosslError, match="at least one cutout"):
        SimilarityIndex(table.select(np.array([], int)))


def test_many_queries_at_once_find_what_each_finds_alone(table):
    index = SimilarityIndex(table)
    queries = [index.query_by_id("c3"), table.features[9], query_of([index.query_by_id("c4"), index.query_by_id("c5")])]
    together = index.search_many(queries, k=7)
    for query, found in zip(queries, together, strict=True):
        alone = index.search(query, k=7)
        assert found["row"].tolist() == alone["row"].tolist()
        np.testing.assert_allclose(found["similarity"], alone["similarity"], atol=1e-6)
    assert index.search_many([], k=7) == []


def test_an_index_on_disk_finds_what_the_table_finds(table, tmp_path):
    table.write(tmp_path / "f.parquet")
    build_index([tmp_path / "f.parquet"], tmp_path / "index")
    memory, disk = SimilarityIndex(table), SimilarityIndex.open(tmp_path / "index")
    assert (len(disk), disk.metadata["weights"]) == (50, "w")
    for ours, theirs in ((disk.query_by_id("c7"), memory.query_by_id("c7")), (table.features[3],) * 2):
        found, expected = disk.search(ours, k=9), memory.search(theirs, k=9)
        assert found.drop(columns="similarity").equals(expected.drop(columns="similarity"))
        np.testing.assert_allclose(found["similarity"], expected["similarity"], atol=1e-6)
    assert disk.query_by_position(359.5, -60.0).row == 0
    with pytest.raises(RadiosslError, match="no column 'x'"):
        disk.column("x")


# Filters --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["table", "disk"])
def test_a_filtered_search_equals_brute_force_over_what_is_left(table, tmp_path, where):
    index = SimilarityIndex(table)
    if where == "disk":
        table.write(tmp_path / "f.parquet")
        build_index([tmp_path / "f.parquet"], tmp_path / "index")
        index = SimilarityIndex.open(tmp_path / "index")
    among = index.where("kind == 'b' and ra_deg > 180") & index.near(359.7, -60.0, 400.0)
    right = [row for row in range(25) if row % 2 == 1 and abs(0.02 * row - 0.2) * 3600 * 0.5 <= 400]
    assert np.flatnonzero(among).tolist() == right
    expected = cosines(table.features[right[0]].astype(float), table.features.astype(float))
    order = [row for row in np.argsort(-expected) if row in right[1:]]
    assert index.search(index.query_by_id(f"c{right[0]}"), k=50, among=among)["row"].tolist() == order


def test_wrong_filters_are_refused(table):
    index = SimilarityIndex(table)
    with pytest.raises(RadiosslError, match="nonsense"):
        index.where("nonsense > 3")
    with pytest.raises(RadiosslError, match="columns are cutout_id, ra_deg, dec_deg, kind"):
        index.where("dec_deg < 0 and nonsense > 3")
    with pytest.raises(RadiosslError, match="the filter excludes them all"):
        index.search(table.features[0], among=index.where("dec_deg > 0"))
    with pytest.raises(RadiosslError, match=r"a mask of shape \(3,\) for 50 cutouts"):
        index.search(table.features[0], among=np.ones(3, bool))
    with pytest.raises(RadiosslError, match="no cutout of the features has a position"):
        SimilarityIndex(without_positions(table)).near(0.0, 0.0, 60.0)


def test_separations_are_those_of_astropy(table):
    from astropy.coordinates import SkyCoord

    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, 200), np.degrees(np.arcsin(rng.uniform(-1, 1, 200)))
    ra[0], dec[0], dec[1] = 40.0, 89.9999, np.nan
    expected = SkyCoord(40.0, 90.0, unit="deg").separation(SkyCoord(ra, dec, unit="deg")).arcsec
    np.testing.assert_allclose(separations_arcsec(40.0, 90.0, ra, dec), expected, rtol=1e-9, atol=1e-7)
    index = SimilarityIndex(table)
    found = index.search(index.query_by_id("c10"), k=49).set_index("row")["separation_arcsec"]
    assert found[11] == pytest.approx(36.0, rel=1e-4)
    assert found[40] == pytest.approx(30 * 36.0, rel=1e-4)


# Several examples -----------------------------------------------------------------------------------------------------


def test_several_examples_are_searched_by_the_mean_of_their_unit_vectors(table):
    index = SimilarityIndex(table)
    likes, dislikes = [index.query_by_id(f"c{row}") for row in (1, 2, 3)], [index.query_by_id("c30")]
    units = table.features.astype(float) / np.linalg.norm(table.features.astype(float), axis=1, keepdims=True)
    wanted = units[[1, 2, 3]].mean(axis=0)
    for query, vector, without in (
        (query_of(likes), wanted, {1, 2, 3}),
        (query_of(likes, dislikes), wanted - AWAY_WEIGHT * units[30], {1, 2, 3, 30}),
    ):
        expected = cosines(vector, units)
        found = index.search(query, k=50)
        assert found["row"].tolist() == [row for row in np.argsort(-expected) if row not in without]
        np.testing.assert_allclose(found["similarity"], expected[found["row"]], atol=1e-6)
    assert query_of(likes, dislikes).name == "mean of c1, c2, c3, unlike c30"
    assert "separation_arcsec" not in found


def test_one_example_keeps_its_name_and_place(table):
    index = SimilarityIndex(table)
    query = query_of([index.query_by_id("c10")], [index.query_by_id("c20")])
    assert (query.name, query.ra_deg, query.dec_deg) == ("c10, unlike c20", pytest.approx(359.7), -60.0)


def test_examples_that_cancel_out_are_refused(table):
    one = SimilarityIndex(table).query_by_id("c1")
    with pytest.raises(RadiosslError, match="at least one example"):
        query_of([])
    features = table.features.copy()
    features[2] = -features[1]
    opposite = SimilarityIndex(FeatureTable(table.columns, features)).query_by_id("c2")
    with pytest.raises(RadiosslError, match="the examples cancel out"):
        query_of([one, opposite])


# Queries --------------------------------------------------------------------------------------------------------------


def test_query_by_id(table):
    query = SimilarityIndex(table).query_by_id("c7")
    assert (query.name, query.row, query.image) == ("c7", 7, None)
    np.testing.assert_array_equal(query.vector, table.features[7])
    with pytest.raises(RadiosslError, match="--query c99: no such file, cutout id or position"):
        SimilarityIndex(table).query_by_id("c99")


@pytest.mark.parametrize("row", [0, 24, 26, 49])
def test_query_by_position_takes_the_nearest_cutout(table, row):
    ra = (0.02 * row + 359.5 + 0.004) % 360  # 7 arcsec away at this declination; also across the meridian
    assert SimilarityIndex(table).query_by_position(ra, -60.0).row == row


def test_position_just_inside_and_outside_the_tolerance(table):
    index = SimilarityIndex(table)
    inside, outside = (MATCH_ARCSEC - 1) / 3600, (MATCH_ARCSEC + 1) / 3600
    assert index.query_by_position(359.5, -60.0 + inside).row == 0
    with pytest.raises(RadiosslError, match=r"the nearest cutout is 61 arcsec away, more than 60"):
        index.query_by_position(359.5, -60.0 + outside)


def test_cutouts_without_position_are_passed_over(table):
    columns = table.columns.set_column(1, "ra_deg", pa.array([None] + [0.0] * 49, pa.float64()))
    assert SimilarityIndex(FeatureTable(columns, table.features)).query_by_position(0.0, -60.0).row == 1
    with pytest.raises(RadiosslError, match="no cutout of the features has a position"):
        SimilarityIndex(without_positions(table)).query_by_position(0.0, -60.0)


@pytest.mark.parametrize(
    "text",
    [
        "10.462917 -9.284167",
        "10.462917,-9.284167",
        "  10.462917 , -9.284167 ",
        "00:41:51.1 -09:17:03",
        "00:41:51.1, -09:17:03",
        "00 41 51.1 -09 17 03",
        "0h41m51.1s -9d17m03s",
        "J004151.1-091703",
        "10.462917d -9.284167d",
    ],
)
def test_positions_in_every_writing(text):
    assert parse_position(text) == pytest.approx((10.462917, -9.284167), abs=1e-5)


@pytest.mark.parametrize(
    "text", ["", " ", "c12", "J0041-0917", "image.fits", "10.5", "1 2 3", "1,2,3", "nan nan", "inf 0", "a b"]
)
def test_what_is_no_position(text):
    assert parse_position(text) is None


@pytest.mark.parametrize("text", ["120.956 +21:44", "120 +21d44m", "08:03:49 21.7"])
def test_positions_in_two_writings_are_refused(text):
    with pytest.raises(RadiosslError, match="expected a position in degrees, or in hours, minutes and seconds"):
        parse_position(text)


def test_a_declination_beyond_a_pole_is_said():
    with pytest.raises(RadiosslError, match="10 95: a declination from -90 to 90 degrees"):
        parse_position("10 95")


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded(small_store, weights):
    return SimilarityIndex(radiossl.embed(weights, small_store))


@pytest.mark.parametrize("suffix", ["npy", "fits"])
def test_a_file_with_the_pixels_of_a_cutout_finds_what_its_id_finds(small_store, embedded, weights, tmp_path, suffix):
    path = tmp_path / f"query.{suffix}"
    pixels = np.array(small_store.pixels(8))
    np.save(path, pixels) if suffix == "npy" else fits.PrimaryHDU(pixels).writeto(path)
    by_file, by_id = embedded.query_by_file(path, weights), embedded.query_by_id("c08")
    assert (by_file.name, by_file.row) == (path.name, None)
    np.testing.assert_array_equal(by_file.image, pixels)
    np.testing.assert_allclose(by_file.vector, by_id.vector, rtol=1e-4, atol=1e-5)
    found = embedded.search(by_file, k=6)
    assert found["cutout_id"][0] == "c08"
    assert found["similarity"][0] == pytest.approx(1, abs=1e-5)
    expected = embedded.search(by_id, k=5)
    assert found["cutout_id"][1:].tolist() == expected["cutout_id"].tolist()
    np.testing.assert_allclose(found["similarity"][1:], expected["similarity"], atol=1e-5)


def test_other_weights_than_those_of_the_features_are_refused(small_store, embedded, weights, tmp_path):
    np.save(tmp_path / "a.npy", small_store.pixels(0))
    other = Backbone.random(weights.config.architecture, weights.config.preprocessing, 99)
    save_backbone(tmp_path / "other", other.network, other.config)
    with pytest.raises(RadiosslError, match="not the weights that the features were made with") as caught:
        embedded.query_by_file(tmp_path / "a.npy", load_backbone(tmp_path / "other"))
    assert str(tmp_path / "other") in str(caught.value)
    assert weights.name in str(caught.value)


def test_blank_files_are_refused(embedded, weights, tmp_path):
    np.save(tmp_path / "a.npy", np.full((9, 9), np.nan))
    with pytest.raises(RadiosslError, match=r"a\.npy: every pixel is blank"):
        embedded.query_by_file(tmp_path / "a.npy", weights)


@pytest.mark.parametrize("pixels", [np.zeros((40, 40)), np.full((9, 9), 3.0), np.ones((1, 1))])
def test_images_of_one_value_are_like_nothing(embedded, weights, tmp_path, pixels):
    np.save(tmp_path / "a.npy", pixels)
    with pytest.raises(RadiosslError, match=r"a\.npy: every pixel has the same value"):
        embedded.query_by_file(tmp_path / "a.npy", weights)


# Pixel scales ---------------------------------------------------------------------------------------------------------


def gaussian(side, scale, width_arcsec=12.0):
    """A source in the middle of a square image with pixels of `scale` arcsec."""
    y, x = (np.indices((side, side)) - (side - 1) / 2) * scale
    return np.exp(-((x + 5) ** 2 / 2 + (y - 3) ** 2) / (2 * width_arcsec**2)).astype(np.float32)


def fits_image(path, pixels, scale_arcsec):
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg"})
    header.update({"CRVAL1": 150.0, "CRVAL2": 2.0})
    header.update({"CRPIX1": (pixels.shape[1] + 1) / 2, "CRPIX2": (pixels.shape[0] + 1) / 2})
    header.update({"CDELT1": -scale_arcsec / 3600, "CDELT2": scale_arcsec / 3600})
    fits.PrimaryHDU(pixels, header).writeto(path)
    return path


def read_query_image(path, scale_arcsec):
    return frame_query(list_images(path).cutout(0), Framing(scale_arcsec), "none")


@pytest.mark.parametrize(("side", "scale"), [(160, 0.9), (40, 3.6), (100, 1.44)])
def test_another_pixel_scale_is_brought_to_that_of_the_cutouts(tmp_path, side, scale):
    image = read_query_image(fits_image(tmp_path / "a.fits", gaussian(side, scale), scale), 1.8)
    assert image.pixels.shape == (80, 80)
    assert np.abs(image.pixels - gaussian(80, 1.8)).max() < 0.03
    assert image.note == f"resampled from {scale:.3g} to 1.8 arcsec per pixel, the scale of the cutouts"
    assert (image.ra_deg, image.dec_deg) == (pytest.approx(150.0), pytest.approx(2.0))


def test_the_same_or_an_unknown_scale_leaves_the_image_alone(tmp_path):
    pixels = gaussian(50, 1.8)
    path = fits_image(tmp_path / "a.fits", pixels, 1.8)
    fits.PrimaryHDU(pixels).writeto(tmp_path / "b.fits")
    for file, scale in ((path, 1.81), (path, np.nan), (tmp_path / "b.fits", 0.5)):
        image = read_query_image(file, scale)
        np.testing.assert_array_equal(image.pixels, pixels)
        assert image.note == ""
    assert np.isnan(image.ra_deg)


def test_sizes_of_no_use_are_refused(tmp_path):
    path = fits_image(tmp_path / "a.fits", gaussian(50, 1.8), 1.8)
    with pytest.raises(RadiosslError, match=r"a.fits: 50 x 50 pixels of 1.8 arcsec are 1 x 1 of the 90 arcsec"):
        read_query_image(path, 90.0)


def test_blank_pixels_stay_blank_and_do_not_spread(tmp_path):
    pixels = np.ones((40, 40), np.float32)
    pixels[:, :20] = np.nan
    for shape in ((20, 20), (80, 80)):
        smaller = resampled(pixels, shape)
        half = shape[1] // 2
        assert np.isnan(smaller[:, : half - 1]).all()
        np.testing.assert_allclose(smaller[:, half + 1 :], 1.0, atol=1e-6)


def test_a_finer_image_is_embedded_at_the_scale_of_the_cutouts(small_store, embedded, weights, tmp_path):
    pixels = np.nan_to_num(np.array(small_store.pixels(6)))
    finer = np.kron(pixels, np.ones((2, 2), np.float32))
    query = embedded.query_by_file(fits_image(tmp_path / "a.fits", finer, 0.9), weights)
    assert query.image.shape == pixels.shape
    assert "resampled from 0.9 to 1.8" in query.note
    found = embedded.search(query, k=24)
    assert "separation_arcsec" in found
    assert found["separation_arcsec"].min() > 100 * 3600
    expected = weights.features(resampled(finer, pixels.shape))[0].numpy()
    np.testing.assert_allclose(query.vector, expected, rtol=1e-4, atol=1e-5)


def test_an_id_of_several_sources_is_asked_about():
    columns = pa.table({"cutout_id": ["0", "1", "0"], "ra_deg": [10.0, 10.1, 80.0], "dec_deg": [1.0, 1.0, 2.0]})
    index = SimilarityIndex(FeatureTable(columns, np.eye(3, dtype=np.float32)))
    assert index.query_by_id("1").row == 1
    with pytest.raises(RadiosslError, match=r'--query 0: 2 cutouts have this id; give a position, as "10.0 1.0"'):
        index.query_by_text("0")
    assert index.query_by_text("80 2").row == 2


def test_an_id_that_occurs_twice_without_positions_has_to_be_made_unique():
    table = FeatureTable(pa.table({"cutout_id": ["a", "a", "b"]}), np.eye(3, dtype=np.float32))
    with pytest.raises(RadiosslError, match="--query a: 2 cutouts have this id; make the ids unique"):
        SimilarityIndex(table).query_by_text("a")
