"""Maps of features: PCA against scikit-learn, placing against UMAP's own, reading piece by piece."""

import json
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import save_file
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from radiossl import RadiosslError
from radiossl.features import feature_file
from radiossl.features.feature_file import FeatureFile
from radiossl.features.neighbours import unit
from radiossl.features.table import FeatureTable
from radiossl.maps import layout as mapping
from radiossl.maps import reducers
from radiossl.maps.figures import colour_scales
from radiossl.maps.layout import make_map, map_columns
from radiossl.maps.reducers import (
    REDUCER_FILE,
    PcaReducer,
    UmapReducer,
    geometric_median,
    load_reducer,
    neighbour_weights,
    save_reducer,
)


def clusters(count, dimension=16, groups=4, seed=0, spread=0.1):
    """Vectors around a few random directions, and the group of each."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(groups, dimension))
    group = rng.integers(0, groups, count)
    return (centres[group] + spread * rng.normal(size=(count, dimension))).astype(np.float32), group


def table_of(features, metadata=None, **columns):
    ids = [f"s{row}" for row in range(len(features))]
    return FeatureTable(pa.table({"cutout_id": ids, **columns}), features, metadata or {})


def placing_umap(count=200, neighbours=15, **options):
    """A reducer with chosen coordinates: four groups in the corners of a square."""
    features, group = clusters(count, **options)
    corners = np.array([[0, 0], [0, 10], [10, 0], [10, 10]], np.float32)
    coordinates = corners[group] + np.random.default_rng(1).normal(0, 0.3, (count, 2)).astype(np.float32)
    return UmapReducer(unit(features).astype(np.float16), coordinates, neighbours, 0.1, 0), features, group


# PCA ------------------------------------------------------------------------------------------------------------------


def test_principal_components_are_those_of_scikit_learn(monkeypatch):
    monkeypatch.setattr(mapping, "BATCH_ROWS", 64)  # several batches, the last one short
    features = np.random.default_rng(0).normal(2.0, 1.0, (500, 12)).astype(np.float32) * np.arange(1, 13)
    made = make_map(table_of(features), "pca")
    theirs = PCA(3, svd_solver="full").fit(unit(features))
    expected = theirs.transform(unit(features))
    signs = np.sign((expected * made.principal).sum(axis=0))
    np.testing.assert_allclose(made.principal * signs, expected, atol=1e-5)
    np.testing.assert_allclose(made.explained, theirs.explained_variance_ratio_, rtol=1e-5)
    np.testing.assert_array_equal(made.coordinates, made.principal[:, :2])
    assert made.fitted.all()
    largest = np.abs(made.reducer.components).argmax(axis=1)
    assert (made.reducer.components[[0, 1], largest] > 0).all()


def test_features_close_together_keep_their_variance():
    """The variance of vectors that hardly differ is found in spite of their common part being far greater."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=64)
    features = (common + 1e-3 * rng.normal(size=(400, 64)) * np.linspace(0.1, 2, 64)).astype(np.float32)
    made = make_map(table_of(features), "pca")
    theirs = PCA(3, svd_solver="full").fit(unit(features).astype(np.float64))
    np.testing.assert_allclose(made.explained, theirs.explained_variance_ratio_, rtol=1e-3)


def test_the_length_of_a_vector_does_not_matter():
    features, _ = clusters(100)
    lengths = np.random.default_rng(3).uniform(0.1, 10, (100, 1)).astype(np.float32)
    one, other = make_map(table_of(features), "pca"), make_map(table_of(features * lengths), "pca")
    np.testing.assert_allclose(one.coordinates, other.coordinates, atol=1e-5)


# Placing --------------------------------------------------------------------------------------------------------------


def test_geometric_median_by_hand():
    points = np.array([[[0, 0], [0, 0], [0, 0], [10, 0]], [[0, 0], [2, 0], [1, 5], [1, -5]]], float)
    found = geometric_median(points, np.ones((2, 4)))
    # Three of four agree; the crossing of the diagonals of a convex quadrilateral is its geometric median.
    np.testing.assert_allclose(found, [[0, 0], [1, 0]], atol=0.06)
    # Twice the weight is the same point twice.
    twice = geometric_median(points[:1, [0, 3, 3, 3]], np.ones((1, 4)))
    np.testing.assert_allclose(geometric_median(points[:1, [0, 3]], np.array([[1.0, 3.0]])), twice, atol=1e-9)


def test_geometric_median_minimises_the_sum_of_distances():
    rng = np.random.default_rng(0)
    points, weights = rng.normal(size=(1, 9, 2)) * 5, rng.uniform(0.1, 1, (1, 9))
    found = geometric_median(points, weights)[0]
    grid = found + np.stack(np.meshgrid(*[np.linspace(-3, 3, 121)] * 2), axis=-1).reshape(-1, 2)
    cost = (weights * np.linalg.norm(points - grid[:, None], axis=2)).sum(axis=1)
    own = (weights * np.linalg.norm(points - found, axis=2)).sum()
    assert own <= cost.min() * 1.001


def test_neighbour_weights_by_hand():
    distances = np.array([[0.1, 0.2, 0.3], [0.5, 0.5, 0.5], [0.1, 0.3, np.inf]])
    weights = neighbour_weights(distances)
    np.testing.assert_allclose(weights[0], np.exp([0, -1, -2]))  # the mean excess is 0.1
    np.testing.assert_allclose(weights[1], 1.0)
    np.testing.assert_allclose(weights[2], [1, np.exp(-2), 0])  # nothing found has no weight


def test_a_new_source_lands_in_its_group():
    reducer, _, _ = placing_umap()
    new, group = clusters(60, seed=5)
    corners = np.array([[0, 0], [0, 10], [10, 0], [10, 10]])
    assert (np.linalg.norm(reducer.transform(new) - corners[group], axis=1) < 1).all()


def test_between_two_groups_a_source_goes_to_the_larger_not_into_the_void():
    training = np.eye(3)[[0, 0, 0, 1, 1]]
    coordinates = np.array([[0, 0]] * 3 + [[10, 0]] * 2, np.float32)
    reducer = UmapReducer(unit(training).astype(np.float16), coordinates, 5, 0.1, 0)
    (x, _), *_ = reducer.transform(np.array([[1.0, 1.0, 0.2]]))
    assert x < 1  # the mean would be near 4


def test_training_sources_come_back_to_their_place():
    reducer, features, _ = placing_umap()
    np.testing.assert_array_equal(reducer.transform(features), reducer.coordinates)


def test_the_place_of_a_source_does_not_depend_on_the_others():
    reducer, _, _ = placing_umap()
    new, _ = clusters(30, seed=6)
    alone = np.concatenate([reducer.transform(row[None]) for row in new])
    np.testing.assert_allclose(reducer.transform(new), alone, atol=1e-4)


def test_neighbours_from_lists_are_nearly_those_of_the_whole(monkeypatch):
    exact, _, _ = placing_umap(3000, groups=4, spread=0.5)
    monkeypatch.setattr(reducers, "_EXACT_SEARCH", 100)
    lists, _, _ = placing_umap(3000, groups=4, spread=0.5)
    new, _ = clusters(200, seed=7, spread=0.5)
    apart = np.linalg.norm(exact.transform(new) - lists.transform(new), axis=1)
    assert lists._index.kind == "ivf-flat"
    assert np.median(apart) < 1e-3
    assert np.percentile(apart, 95) < 0.1


def kept(places, training_places, similar):
    """Which part of the 15 nearest in feature space are among the 15 nearest on the map."""
    found = NearestNeighbors().fit(training_places).kneighbors(places, 15, return_distance=False)
    return np.mean([len(set(a) & set(b)) / 15 for a, b in zip(found, similar, strict=True)])


def simulated_features(_):
    return clusters(500, groups=6, spread=0.35)[0]


def real_pictures(request):
    """500 extended radio sources, 15 x 15 pixels each."""
    files = sorted((request.getfixturevalue("real_data") / "mgcls" / "images").glob("*.png"))[:500]
    return np.stack(
        [np.asarray(Image.open(file).convert("L").resize((15, 15), Image.Resampling.BOX)) for file in files]
    )


@pytest.mark.parametrize("features", [simulated_features, real_pictures])
@pytest.mark.slow
def test_placing_keeps_neighbours_nearly_as_well_as_umaps_own_transform(features, request):
    vectors = features(request)
    vectors = unit(np.random.default_rng(0).permutation(vectors.reshape(500, -1)))
    training, new = vectors[:400], vectors[400:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP

        model = UMAP(n_neighbors=15, metric="cosine", random_state=0, n_jobs=1).fit(training)
        theirs = model.transform(new)
    ours = UmapReducer(training.astype(np.float16), model.embedding_, 15, 0.1, 0).transform(new)
    similar = np.argsort(-new @ training.T, axis=1)[:, :15]
    by_theirs, by_ours = (kept(places, model.embedding_, similar) for places in (theirs, ours))
    by_chance = kept(np.random.default_rng(0).permutation(ours), model.embedding_, similar)
    assert by_ours > 0.9 * by_theirs
    assert by_ours > 2 * by_chance


# Whole maps -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_umap_separates_groups_and_its_seed_repeats_it(tmp_path):
    features, group = clusters(120)
    one, two = (make_map(table_of(features), neighbours=8, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.coordinates, two.coordinates)
    assert one.fitted.all()
    nearest = NearestNeighbors().fit(one.coordinates).kneighbors(n_neighbors=5, return_distance=False)
    assert (group[nearest] == group[:, None]).mean() > 0.95
    assert one.quality["trustworthiness"] > 0.85
    assert not np.array_equal(one.coordinates, make_map(table_of(features), neighbours=8, seed=4).coordinates)
    # Saved and loaded, it places its own sources where they are.
    save_reducer(one.reducer, tmp_path / REDUCER_FILE, {})
    again = make_map(table_of(features), onto=load_reducer(tmp_path))
    np.testing.assert_array_equal(again.coordinates, one.coordinates)
    assert not again.fitted.any()


@pytest.mark.slow
def test_beyond_the_sample_sources_are_placed():
    features, group = clusters(300)
    made = make_map(table_of(features), neighbours=8, sample=100)
    assert made.fitted.sum() == 100
    assert len(made.reducer.training) == 100
    np.testing.assert_array_equal(made.coordinates[made.fitted], made.reducer.coordinates)
    placed = ~made.fitted
    np.testing.assert_array_equal(made.coordinates[placed], made.reducer.transform(features[placed]))
    nearest = NearestNeighbors().fit(made.coordinates[made.fitted]).kneighbors(made.coordinates[placed], 1)[1][:, 0]
    assert (group[made.fitted][nearest] == group[placed]).mean() > 0.95


def test_a_file_gives_the_map_of_its_table(tmp_path, monkeypatch):
    features, _ = clusters(150)
    table = table_of(features, {"weights": "w"}, rms=np.arange(150.0), other=["x"] * 150)
    table.write(tmp_path / "f.parquet")
    monkeypatch.setattr(feature_file, "BATCH_ROWS", 40)
    monkeypatch.setattr(mapping, "BATCH_ROWS", 40)
    file = FeatureFile(tmp_path / "f.parquet")
    assert (len(file), file.dimension, file.metadata) == (150, 16, {"weights": "w"})
    assert [len(batch) for batch in file.batches()] == [40, 40, 40, 30]
    np.testing.assert_array_equal(np.concatenate(list(file.batches())), features)
    one, other = make_map(table, "pca"), make_map(file, "pca")
    np.testing.assert_array_equal(one.coordinates, other.coordinates)
    assert map_columns(file).columns.column_names == ["cutout_id", "rms"]
    assert map_columns(file, ["other"]).columns.column_names == ["cutout_id", "rms", "other"]
    with pytest.raises(RadiosslError, match="no column 'flux' in the features; there are cutout_id"):
        map_columns(file, ["flux"])


def test_trustworthiness_of_a_map_that_is_the_features_is_one():
    angle = np.linspace(0, 1.5, 80)
    features = np.stack([np.cos(angle), np.sin(angle), np.zeros(80)], axis=1).astype(np.float32)
    quality = make_map(table_of(features), "pca").quality
    assert quality["trustworthiness"] == pytest.approx(1.0, abs=1e-3)
    assert quality["checked"] == 80


# Bad input ------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_mapped_is_refused():
    features, _ = clusters(30)
    for wrong in ({"neighbours": 1}, {"min_dist": float("nan")}, {"sample": 0}, {"seed": -1}):
        with pytest.raises(RadiosslError, match=r"expected a (whole )?number of at least"):
            make_map(table_of(features), **wrong)
    with pytest.raises(RadiosslError, match="9 sources: a map by umap"):
        make_map(table_of(features[:9]), neighbours=2)
    with pytest.raises(RadiosslError, match=r"2 sources: a map by pca .* at least 3"):
        make_map(table_of(features[:2]), "pca")
    with pytest.raises(RadiosslError, match="needs at least 31"):
        make_map(table_of(features), "umap", neighbours=30)
    with pytest.raises(RadiosslError, match="--method tsne: expected one of umap, pca"):
        make_map(table_of(features), "tsne")
    with pytest.raises(RadiosslError, match="the same"):
        make_map(table_of(np.ones((20, 4), np.float32)), "pca")
    features[7, 2] = np.nan
    with pytest.raises(RadiosslError, match="row 7 of the features is not finite"):
        make_map(table_of(features), "pca")


def test_a_file_that_is_no_feature_table_is_refused(tmp_path):
    path = tmp_path / "f.parquet"
    with pytest.raises(RadiosslError, match="no such file"):
        FeatureFile(path)
    path.write_text("cutout_id")
    with pytest.raises(RadiosslError, match="not a readable Parquet file"):
        FeatureFile(path)
    pq.write_table(pa.table({"cutout_id": ["a"]}), path)
    with pytest.raises(RadiosslError, match="not a feature table"):
        FeatureFile(path)


@pytest.mark.parametrize("method", ["pca", "umap"])
def test_reducers_survive_the_disk(tmp_path, method):
    features, _ = clusters(50)
    reducer = make_map(table_of(features), "pca").reducer if method == "pca" else placing_umap()[0]
    save_reducer(reducer, tmp_path / REDUCER_FILE, {"weights_sha256": "a" * 64})
    loaded = load_reducer(tmp_path, {"weights_sha256": "a" * 64})
    assert type(loaded) is (PcaReducer if method == "pca" else UmapReducer)
    np.testing.assert_array_equal(loaded.transform(features), reducer.transform(features))


def test_features_of_other_weights_or_another_size_are_refused(tmp_path):
    reducer, features, _ = placing_umap()
    about = {"weights": "one", "weights_sha256": "a" * 64, "preprocessing": {"size": 48, "views": 8}}
    save_reducer(reducer, tmp_path / REDUCER_FILE, about)
    with pytest.raises(RadiosslError, match="from the weights one, the features to place are from two"):
        load_reducer(tmp_path, about | {"weights": "two", "weights_sha256": "b" * 64})
    with pytest.raises(RadiosslError, match=r"other preprocessing \(views\)"):
        load_reducer(tmp_path, about | {"preprocessing": {"size": 48, "views": 1}})
    with pytest.raises(RadiosslError, match="dimension 5 for a map of features of dimension 16"):
        make_map(table_of(features[:, :5]), onto=load_reducer(tmp_path, about))


def test_a_damaged_reducer_is_refused(tmp_path):
    path = tmp_path / REDUCER_FILE
    with pytest.raises(RadiosslError, match="no such file"):
        load_reducer(tmp_path)
    path.write_bytes(b"\x80\x04no pickle is ever read")
    with pytest.raises(RadiosslError, match="not a readable map"):
        load_reducer(tmp_path)

    def refused(arrays, about):
        save_file(arrays, path, {"radiossl_map": json.dumps(about)} if about else None)
        with pytest.raises(RadiosslError, match="not a readable map"):
            load_reducer(tmp_path)

    training, places = np.ones((4, 3), np.float16), np.zeros((4, 2), np.float32)
    umap = {"method": "umap", "neighbours": 2, "min_dist": 0.1, "seed": 0}
    refused({"training": training}, None)
    refused({"training": training}, umap)
    refused({"training": training, "coordinates": places[:3]}, umap)
    refused({"training": training, "coordinates": places}, umap | {"neighbours": 9})
    refused({"training": training, "coordinates": places}, {"method": "tsne"})
    refused({"mean": np.zeros(3), "components": np.zeros((2, 4)), "explained": np.zeros(2)}, {"method": "pca"})


def test_one_column_may_be_a_text(tmp_path):
    columns = pa.table({"cutout_id": ["a", "b"], "flux": [1.0, 2.0]})
    table = FeatureTable(columns, np.eye(2, dtype=np.float32))
    table.write(tmp_path / "f.parquet")
    assert map_columns(FeatureFile(tmp_path / "f.parquet"), "flux").columns["flux"].to_pylist() == [1, 2]
    assert list(colour_scales(table, "flux")) == ["flux"]
