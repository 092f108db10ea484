"""Similarities against the classes of neighbours that are known."""

import numpy as np
import pyarrow as pa
import pytest

from radiossl import RadiosslError, search
from radiossl.features.table import FeatureTable
from radiossl.similarity.calibration import calibrate_similarity
from radiossl.similarity.search import SimilarityIndex


@pytest.fixture(scope="module")
def table():
    """Two classes that a direction tells, the better the further along it; every fifth has no label."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(900, 5)).astype(np.float32)
    chance = 1 / (1 + np.exp(-3 * features[:, 0] / np.linalg.norm(features, axis=1)))
    kind = np.where(rng.random(900) < chance, "FRI", "FRII ").astype(object)
    kind[::5] = None
    columns = {
        "cutout_id": [f"c{row:03d}" for row in range(900)],
        "kind": pa.array(kind, pa.string()),
        "one": ["x"] * 900,
    }
    return FeatureTable(pa.table(columns), features)


def test_shares_are_those_of_pairs_that_were_not_looked_at(table):
    made = calibrate_similarity(SimilarityIndex(table), "kind")
    assert made.asked == 720
    assert 0.4 < made.chance < 0.6
    assert made.error < 0.03
    assert np.all(np.diff(made.share) >= 0)
    unit = table.features / np.linalg.norm(table.features, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -2)
    nearest = np.sort(similarity, axis=1)[:, -50:]
    high = np.quantile(nearest, 0.9)
    names = np.array([str(name).strip() for name in table.column("kind")])
    known = np.arange(900) % 5 > 0
    pairs = (similarity > high) & known[:, None] & known
    assert made(np.array([0.5 * (1 + high)]))[0] == pytest.approx((names[:, None] == names)[pairs].mean(), abs=0.08)
    assert made.sentence.startswith("Of neighbours at a similarity above 0.9")


@pytest.mark.slow
def test_a_search_says_how_often_neighbours_are_alike(table, tmp_path):
    found = search(table, "c001", tmp_path / "out", neighbours=4, label="kind")
    shares = found.neighbours["same_class"]
    assert shares.is_monotonic_decreasing
    assert shares.between(0, 1).all()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "What a similarity means" in page
    assert "same_class" in (tmp_path / "out" / "neighbours.csv").read_text().splitlines()[0]
    assert (tmp_path / "out" / "calibration.pdf").is_file()


def test_labels_that_say_nothing_are_refused(table):
    with pytest.raises(RadiosslError, match="column 'one': 1 class is left"):
        search(table, "c001", label="one")
    with pytest.raises(RadiosslError, match="no column 'sort' in the features"):
        search(table, "c001", label="sort")
    with pytest.raises(RadiosslError, match="--label kind: 16 cutouts have a label, too few"):
        search(table.select(np.arange(20)), "c001", label="kind")
