"""Duplicates: candidates and registration against slow twins, verdicts and keepers against cases written out."""

import numpy as np
import pyarrow as pa
import pytest

from radiossl import RadiosslError, cut_sources
from radiossl.duplicates import search as module
from radiossl.duplicates.search import cosine_of_pairs, find_duplicates, keep_table, mutual_neighbours
from radiossl.features.same_source import NOISE_CORRELATION, SOURCE_CORRELATION, PreparedImages
from radiossl.features.table import FeatureTable
from radiossl.images import registration
from radiossl.images.registration import amplitude_spectra, prepare, zooms
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.writing import write_store
from radiossl.survey.mosaic import Mosaic

FAR = 1000.0  # arcsec between sources that have nothing to do with each other


def register(first, second, scale_first=np.nan, scale_second=np.nan):
    zoom_first, zoom_second, shrunk = zooms(first.shape, second.shape, scale_first, scale_second)
    return registration.register(prepare(first, zoom_first), prepare(second, zoom_second), shrunk)


def field(seed, side=128, rms=1.0):
    """A field of noise as wide as a beam, with a double and two single sources."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.normal(size=(side, side)), 1.3)
    image *= rms / image.std()
    y, x = np.indices(image.shape)
    centre = (side - 1) / 2
    for _ in range(4):
        y0, x0 = centre + rng.uniform(-0.2, 0.2, 2) * side
        image += rng.uniform(10, 60) * np.exp(-((y - y0) ** 2 + (x - x0) ** 2) / (2 * rng.uniform(1.5, 3) ** 2))
    return image.astype(np.float32)


def cut(image, dy, dx, side=64):
    """The central box of an image, moved up by dy and right by dx."""
    top, left = (image.shape[0] - side) // 2 + dy, (image.shape[1] - side) // 2 + dx
    return image[top : top + side, left : left + side]


# Candidates -----------------------------------------------------------------------------------------------------------


def slow_mutual(features, k):
    unit = features.astype(float) / np.linalg.norm(features.astype(float), axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    near = [[j for j in np.argsort(distance[i]) if j != i][:k] for i in range(len(unit))]
    found = {}
    for i, neighbours in enumerate(near):
        for j in neighbours:
            if i < j and i in near[j]:
                scale = np.sqrt(distance[i, near[i][-1]] * distance[j, near[j][-1]])
                found[i, j] = distance[i, j] / scale
    return found


@pytest.mark.parametrize("k", [1, 4, 100])
def test_mutual_neighbours_equal_brute_force(k):
    features = np.random.default_rng(k).normal(size=(60, 6)).astype(np.float32)
    rows, ratios = mutual_neighbours(features, k)
    expected = slow_mutual(features, min(k, 59))
    assert list(map(tuple, rows.tolist())) == sorted(expected)
    np.testing.assert_allclose(ratios, [expected[tuple(row)] for row in rows.tolist()], rtol=1e-4)


def test_many_copies_are_neighbours_without_a_scale():
    features = np.concatenate([np.tile([[1.0, 0, 0]], (5, 1)), np.eye(3)[1:]]).astype(np.float32)
    rows, ratios = mutual_neighbours(features, 2)
    copies = rows.max(axis=1) < 5
    assert copies.any()
    assert (ratios[copies] == 0).all()


def test_all_copies_of_an_image_are_one_group_however_many_there_are():
    features = np.concatenate([np.tile([[1.0, 2, 3]], (40, 1)), np.eye(3)]).astype(np.float32)
    table = FeatureTable(pa.table({"cutout_id": [f"c{row}" for row in range(43)]}), features)
    assert find_duplicates(table).groups["row"].tolist() == list(range(40))


def test_the_search_in_cells_finds_close_pairs_too(monkeypatch):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2000, 16)).astype(np.float32)
    copies = features + rng.normal(scale=0.05, size=features.shape).astype(np.float32)
    monkeypatch.setattr(module, "_EXACT_ROWS", 100)
    rows, ratios = mutual_neighbours(np.concatenate([features, copies]), 3)
    close = set(map(tuple, rows[ratios < 0.2].tolist()))
    assert sum((row, row + 2000) in close for row in range(2000)) > 1950


def test_cosines_of_pairs():
    features = np.array([[1, 0], [3, 3], [0, 0]], np.float32)
    found = cosine_of_pairs(features, np.array([[0, 1], [1, 1], [0, 2]]))
    np.testing.assert_allclose(found, [np.sqrt(0.5), 1, 0], atol=1e-7)


def test_amplitude_spectra_do_not_change_with_a_shift(store_of):
    image = field(0, 200)
    store = store_of([cut(image, 0, 0, 100), cut(image, 9, -7, 100), cut(field(1), 0, 0, 100), np.zeros((100, 100))])
    spectra = amplitude_spectra(store)
    assert spectra.shape == (4, 512)
    cosines = cosine_of_pairs(spectra, np.array([[0, 1], [0, 2]]))
    assert cosines[0] > 0.95 > cosines[1]
    assert not spectra[3].any()


def test_amplitude_spectra_of_tiny_cutouts(store_of):
    images = np.random.default_rng(0).normal(size=(2, 9, 9)).astype(np.float32)
    images[0, 2, 3] = images[1, 5, 5] = 100
    spectra = amplitude_spectra(store_of(list(images)))
    assert cosine_of_pairs(spectra, np.array([[0, 1]]))[0] > 0.999


# Registration ---------------------------------------------------------------------------------------------------------


def slow_agreement(first, second, offset_y, offset_x):
    """Correlations of sources and noise pixel by pixel, for cutouts of one size."""
    sources, noises = ([], []), ([], [])
    units = []
    for image in (first, second):
        known = image[np.isfinite(image)].astype(float)
        median = np.median(known)
        units.append((image - median) / (1.4826 * np.median(np.abs(known - median))))
    for y in range(first.shape[0]):
        for x in range(first.shape[1]):
            other = (y - offset_y, x - offset_x)
            if not (0 <= other[0] < second.shape[0] and 0 <= other[1] < second.shape[1]):
                continue
            a, b = units[0][y, x], units[1][other]
            if not np.isfinite([a, b]).all():
                continue
            for values, value in zip(sources, (a, b), strict=True):
                values.append(max(np.arcsinh(value) - np.arcsinh(3), 0))
            if abs(a) < 3 and abs(b) < 3:
                for values, value in zip(noises, (a, b), strict=True):
                    values.append(np.arcsinh(value))
    return np.corrcoef(*sources)[0, 1], np.corrcoef(*noises)[0, 1]


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (5, -12), (-16, 16), (1, 0)])
def test_the_offset_is_found_and_the_correlations_equal_a_loop(dy, dx):
    image = field(3)
    first, second = cut(image, 0, 0).copy(), cut(image, dy, dx).copy()
    first[:4, 10:30] = np.nan
    found = register(first, second)
    assert (found.offset_x_px, found.offset_y_px) == (dx, dy)
    source, noise = slow_agreement(first, second, dy, dx)
    assert found.source_correlation == pytest.approx(source, abs=1e-4)
    assert found.noise_correlation == pytest.approx(noise, abs=1e-4)
    assert min(source, noise) > 0.99


def test_boxes_of_different_sizes_and_the_other_way_round():
    image = field(4)
    small, large = cut(image, 0, 0, 50), cut(image, 4, -6, 81)
    there, back = register(small, large), register(large, small)
    # Boxes of 50 and 81 pixels begin at 39 and 23, so their centres are at 63.5 and 63 before the shift.
    assert (there.offset_x_px, there.offset_y_px) == (-6.5, 3.5)
    assert (back.offset_x_px, back.offset_y_px) == (6.5, -3.5)
    assert there.noise_correlation == pytest.approx(back.noise_correlation, abs=1e-5)


def test_different_fields_share_neither_noise_nor_sources():
    found = [register(cut(field(seed), 0, 0), cut(field(seed + 50), 0, 0)) for seed in range(10)]
    assert max(one.noise_correlation for one in found) < NOISE_CORRELATION
    assert max(one.source_correlation for one in found) < SOURCE_CORRELATION


def test_so_few_pixels_agree_by_chance():
    """Tight boxes of compact sources: what correlates to 0.5 in so little noise says nothing, the same noise does."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:18, :18] - 8.5
    boxes = []
    for _ in range(40):
        noise = gaussian_filter(rng.standard_normal((18, 18)), 3 / 2.355)
        boxes.append(noise / noise.std() + 20 * np.exp(-(np.hypot(x, y) ** 2) / (2 * rng.uniform(1.6, 2.2) ** 2)))
    found = [register(boxes[i], boxes[j]) for i in range(40) for j in range(i)]
    noise, limit = np.array([(one.noise_correlation, one.noise_limit) for one in found]).T
    assert (noise >= NOISE_CORRELATION).sum() > 20
    assert (noise >= np.maximum(NOISE_CORRELATION, limit)).mean() < 0.01
    own = [register(box, box[1:, 1:]) for box in boxes]
    assert all(one.noise_correlation > max(NOISE_CORRELATION, one.noise_limit) for one in own)
    assert register(cut(field(4), 0, 0), cut(field(54), 0, 0)).noise_limit < NOISE_CORRELATION  # of a whole field


def test_structure_smoother_than_a_beam_is_worth_fewer_pixels():
    """As the wings of sources are: their chance correlations are larger than those of noise."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(1)
    boxes = [gaussian_filter(rng.standard_normal((48, 48)), 6) for _ in range(30)]
    found = [register(boxes[i], boxes[j]) for i in range(30) for j in range(i)]
    noise, limit = np.array([(one.noise_correlation, one.noise_limit) for one in found]).T
    pixels_alone = np.tanh(5 / np.sqrt(24**2 / 9 - 3))  # a beam's worth of them counted as one
    assert (noise >= max(NOISE_CORRELATION, pixels_alone)).sum() > 5
    assert not (noise >= np.maximum(NOISE_CORRELATION, limit)).any()
    own = [register(box[:-2, 1:], box) for box in boxes]
    assert np.mean([one.noise_correlation >= max(NOISE_CORRELATION, one.noise_limit) for one in own]) > 0.9


def test_the_tight_boxes_of_first_share_no_noise(real_data, tmp_path):
    """Two sources 38 degrees apart, whose noise correlates to 0.67, and another pair to 0.66."""
    names = ["J083112.2+434159", "J090259.3+061945"]
    tiles = [real_data / "first" / "tiles" / f"{name}.fits.fz" for name in names]
    catalogue = real_data / "first" / "catalogue.csv"
    store = cut_sources(tiles, catalogue, tmp_path / "store", box_factor=1.5).store
    found = PreparedImages(store).register(0, 1)
    assert 0.6 < found.noise_correlation < found.noise_limit


def test_noise_of_another_epoch_lowers_the_correlation_as_it_should():
    image = field(5, 256)
    noise = field(6, 256)
    noise = np.where(np.abs(noise) < 3, noise, 0)
    first, second = cut(image, 0, 0, 200), cut(image + noise, 8, 3, 200)
    found = register(first, second)
    assert (found.offset_x_px, found.offset_y_px) == (3, 8)
    assert found.noise_correlation == pytest.approx(1 / np.sqrt(2), abs=0.05)


def test_pixels_of_different_size_are_brought_to_one():
    from scipy.ndimage import zoom

    image = field(7, 192)
    coarse = zoom(cut(image, 8, -12, 128), 0.5, order=1, grid_mode=True, mode="nearest")
    found = register(cut(image, 0, 0, 128), coarse, 1.0, 2.0)
    assert (found.offset_x_px, found.offset_y_px) == pytest.approx((-6, 4), abs=0.51)  # pixels of the coarser
    assert found.source_correlation > 0.9
    assert register(cut(image, 0, 0, 128), coarse).source_correlation < 0.9  # taken to be equal


def test_large_images_are_registered_on_a_coarser_grid():
    image = field(8, 1000)
    found = register(cut(image, 0, 0, 800), cut(image, 40, -24, 800))
    assert (found.offset_x_px, found.offset_y_px) == pytest.approx((-24, 40), abs=4)


def test_images_that_have_lost_their_noise_are_judged_by_their_sources():
    image = field(9)
    clipped = np.where(image > 3, image, 0)
    found = register(cut(clipped, 0, 0), cut(clipped, 3, 3))
    assert np.isnan(found.noise_correlation)
    assert found.source_correlation > SOURCE_CORRELATION
    assert (found.offset_x_px, found.offset_y_px) == (3, 3)


@pytest.mark.parametrize("nothing", [np.full((20, 20), np.nan), np.ones((20, 20))])
def test_nothing_to_register(nothing):
    found = register(nothing, field(0, 20))
    assert np.isnan([found.source_correlation, found.noise_correlation, found.offset_x_px]).all()


def test_real_tiles_are_registered_exactly(real_data):
    tiles = sorted((real_data / "first" / "tiles").glob("*.fits.fz"))[:4]
    boxes = [(50, 50, 200, 200), (62, 31, 200, 200)]
    images = []
    for tile in tiles:
        with Mosaic.open(tile) as mosaic:
            images.append([mosaic.read(*box) for box in boxes])
    for number, (first, second) in enumerate(images):
        found = register(first, second)
        assert (found.offset_x_px, found.offset_y_px) == (12, -19)
        assert found.noise_correlation > 0.99
        other = register(first, images[number - 1][1])
        assert other.noise_correlation < NOISE_CORRELATION


# Verdicts -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def survey(tmp_path):
    """Twelve fields far apart; c12 and c13 are offset cutouts of c00, c14 one of c01 with a false position."""
    images = [cut(field(seed), 0, 0) for seed in range(12)]
    images += [cut(field(0), 5, -9), cut(field(0), -3, 2).copy(), cut(field(1), 0, 8)]
    images[13][:8] = np.nan
    step = FAR / 3600
    dec = [step * number for number in range(12)] + [5 / 3600, -3 / 3600, 20.0]
    ra = [30.0] * 12 + [30 - 9 / 3600, 30 + 2 / 3600, 30.0]
    schema = store_schema()
    cutouts = [Cutout(f"c{row:02d}", image, "m.fits", ra[row], dec[row], 0, 0, 1.0) for row, image in enumerate(images)]
    store = write_store(
        tmp_path / "survey", [0], lambda _: cutout_batches(cutouts, schema), schema, {"command": "test"}
    )
    features = np.random.default_rng(0).normal(size=(15, 64)).astype(np.float32)
    return FeatureTable(store.table, features), store


def pairs_of(found):
    chosen = found.pairs[found.pairs["duplicate"]]
    return {(row.cutout_id_a, row.cutout_id_b): row.evidence for row in chosen.itertuples()}


def test_pixels_and_positions_find_what_features_miss(survey):
    table, store = survey
    found = find_duplicates(table, store, radius_arcsec=4)
    assert {pair: evidence.replace("features+", "") for pair, evidence in pairs_of(found).items()} == {
        ("c00", "c12"): "pixels",
        ("c00", "c13"): "position+pixels",
        ("c12", "c13"): "pixels",
    }
    rows = found.pairs.set_index(["cutout_id_a", "cutout_id_b"])
    assert rows["positions_disagree"].to_dict()["c01", "c14"]
    assert rows["positions_disagree"].sum() == 1
    assert rows.loc[("c01", "c14"), "evidence"].replace("features+", "") == "pixels"
    assert rows.loc[("c00", "c12"), ["offset_x_px", "offset_y_px"]].tolist() == [-9, 5]
    assert rows.loc[("c00", "c12"), "separation_arcsec"] == pytest.approx(np.hypot(5, 9), abs=0.01)
    assert found.groups.groupby("group")["cutout_id"].apply(sorted).tolist() == [["c00", "c12", "c13"]]


def test_without_positions_pixels_still_find_them(survey):
    table, store = survey
    found = find_duplicates(table, store, positions=False)
    assert set(pairs_of(found)) == {("c00", "c12"), ("c00", "c13"), ("c12", "c13"), ("c01", "c14")}
    assert found.pairs["separation_arcsec"].isna().all()


def compact_sources(count, noise=True):
    """Tight boxes of unresolved sources: nothing in them but the beam, and noise."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(3)
    y, x = np.mgrid[:40, :40] - 19.5
    beam = 60 * np.exp(-(np.hypot(x, y) ** 2) / (2 * 2.2**2))
    images = [beam + noise * gaussian_filter(rng.normal(size=beam.shape), 1.3) * 4 for _ in range(count)]
    return [image.astype(np.float32) if noise else np.maximum(image - 3, 0) for image in images]


def test_sources_that_look_alike_are_joined_by_positions_only_where_there_is_noise(store_of):
    features = np.random.default_rng(0).normal(size=(12, 64)).astype(np.float32)
    store = store_of(compact_sources(12))
    found = find_duplicates(FeatureTable(store.table, features), store, positions=False, neighbours=11)
    assert (found.pairs["source_correlation"] >= SOURCE_CORRELATION).sum() > 20
    assert not found.pairs["duplicate"].any()


def test_equal_pixels_without_noise_but_with_positions_apart_are_a_conflict(store_of):
    images = [np.maximum(cut(field(seed), 0, 0) - 3, 0) for seed in range(6)]
    store = store_of([*images, images[2]])
    table = FeatureTable(store.table, np.random.default_rng(0).normal(size=(7, 64)).astype(np.float32))
    found = find_duplicates(table, store)
    assert not found.pairs["duplicate"].any()
    wrong = found.pairs[found.pairs["positions_disagree"]]
    assert wrong[["cutout_id_a", "cutout_id_b", "evidence"]].to_numpy().tolist() == [["c2", "c6", "pixels"]]
    assert set(pairs_of(find_duplicates(table, store, positions=False))) == {("c2", "c6")}


def test_without_pixels_positions_and_features_decide(survey):
    table, _ = survey
    assert set(pairs_of(find_duplicates(table, radius_arcsec=4))) == {("c00", "c13")}
    features = table.features.copy()
    features[12], features[14] = 2 * features[0], features[1]  # c14 is too far away on the sky
    close = FeatureTable(table.columns, features)
    assert pairs_of(find_duplicates(close, radius_arcsec=4)) == {("c00", "c12"): "features", ("c00", "c13"): "position"}
    assert set(pairs_of(find_duplicates(close, positions=False))) == {("c00", "c12"), ("c01", "c14")}
    asked = find_duplicates(close, similarity=0.999, positions=False)
    assert set(pairs_of(asked)) == {("c00", "c12"), ("c01", "c14")}


def test_a_table_of_features_alone_will_do():
    features = np.random.default_rng(1).normal(size=(20, 64)).astype(np.float32)
    features[19] = features[3]
    table = FeatureTable(pa.table({"cutout_id": [f"c{row}" for row in range(20)]}), features)
    found = find_duplicates(table)
    assert pairs_of(found) == {("c3", "c19"): "features"}
    assert found.groups["keeper"].tolist() == [True, False]


def test_nothing_to_find_gives_empty_tables(survey):
    table, store = survey
    found = find_duplicates(table.select(np.arange(2, 12)), store)
    assert not found.pairs["duplicate"].any()
    assert len(found.groups) == 0
    assert keep_table(table.select(np.arange(2, 12)), found)["keep"].all()


def test_the_keeper_is_whole_then_centred_then_quiet(survey):
    table, store = survey
    groups = find_duplicates(table, store, radius_arcsec=4).groups.set_index("cutout_id")
    assert "c14" not in groups.index  # equal to c01, but with the position of something else
    assert groups.loc["c13", "blank_fraction"] == pytest.approx(8 / 64)
    assert not groups.loc["c13", "keeper"]  # blank pixels come before everything else
    rest = groups.loc[["c00", "c12"]]
    assert rest["keeper"].idxmax() == rest["source_distance_px"].idxmin()
    assert groups.groupby("group")["keeper"].sum().tolist() == [1]
    keep = keep_table(table, find_duplicates(table, store, radius_arcsec=4)).set_index("cutout_id")
    assert keep.index.tolist() == [f"c{row:02d}" for row in range(15)]
    assert (~keep["keep"]).sum() == 2
    assert (~keep_table(table, find_duplicates(table, store, positions=False))["keep"]).sum() == 3
    assert keep.loc[["c02", "c13"], "duplicate_group"].tolist() == [-1, 0]


def test_lower_noise_decides_where_all_else_is_equal():
    columns = pa.table({"cutout_id": ["a", "b", "c"], "blank_fraction": [0.001, 0.0, 0.0], "rms": [1.0, 3.0, 2.0]})
    features = np.array([[1, 0], [1, 0.0001], [0, 1]], np.float32)
    found = find_duplicates(FeatureTable(columns, features), similarity=0.9)
    assert found.groups.loc[found.groups["keeper"], "cutout_id"].tolist() == ["a"]


def test_wrong_questions_are_refused(survey):
    table, store = survey
    with pytest.raises(RadiosslError, match="--similarity 2: expected a number of at least -1"):
        find_duplicates(table, similarity=2)
    with pytest.raises(RadiosslError, match="--neighbours 0"):
        find_duplicates(table, neighbours=0)
    with pytest.raises(RadiosslError, match="1 cutout: duplicates need at least two"):
        find_duplicates(table.select([0]))
    with pytest.raises(RadiosslError, match="has no cutout 'c14'; give the store of the features"):
        find_duplicates(table, store.select(range(14)))
