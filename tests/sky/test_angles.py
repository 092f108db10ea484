"""Angles as people say them, and positions that cannot be."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import radiossl
from radiossl import FeatureTable, RadiosslError, open_store
from radiossl.duplicates.crossmatch import crossmatch_stores
from radiossl.evaluation.comparison import compare_evaluations
from radiossl.sky.angles import readable_angle
from tests.pictures import make_store


def test_separations_are_written_as_people_say_them():
    said = [readable_angle(angle) for angle in (0.0, 59.94, 60.0, 3599.0, 462415.0, np.nan)]
    assert said == ["0.0 arcsec", "59.9 arcsec", "1.0 arcmin", "60.0 arcmin", "128.4 deg", ""]


def exchanged(tmp_path):
    """Tables of twelve rows with right ascension and declination exchanged."""
    rng = np.random.default_rng(0)
    columns = {
        "cutout_id": [f"c{row}" for row in range(12)],
        "ra_deg": np.arange(12.0),
        "dec_deg": np.arange(12.0) + 99,
    }
    columns |= {"dec_deg": np.arange(12.0) + 99, "class": ["a", "b"] * 6, "x": rng.normal(size=12)}
    FeatureTable(pa.table(columns), rng.normal(size=(12, 4)).astype(np.float32)).write(tmp_path / "wrong.parquet")
    pd.DataFrame(columns).to_csv(tmp_path / "wrong.csv", index=False)
    images = [rng.normal(size=(40, 40)).astype(np.float32)] * 2
    make_store(tmp_path / "wrong", images, [(1.0, 99.0), (2.0, 99.0)])
    evaluation = pd.DataFrame(columns | {"label": columns["class"], "correct": True})
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text('{"backbone_accuracy": 1.0}')
        evaluation.to_csv(tmp_path / name / "predictions.csv", index=False)


USES = {
    "wrong.parquet": lambda at: radiossl.find_duplicates(FeatureTable.read(at / "wrong.parquet")),
    "features piece by piece: wrong.parquet": lambda at: radiossl.build_index([at / "wrong.parquet"], at / "index"),
    "wrong.csv": lambda at: radiossl.train_forest(
        at / "wrong.csv", "class", at / "out", columns=["x"], group_radius_arcsec=60.0, folds=2
    ),
    "wrong": lambda at: crossmatch_stores(open_store(at / "wrong"), open_store(at / "wrong")),
    "predictions.csv": lambda at: compare_evaluations([(n, at / n) for n in ("one", "two")], at / "out"),
}


@pytest.mark.parametrize("use", USES)
def test_a_declination_beyond_90_names_its_file(tmp_path, use):
    exchanged(tmp_path)
    name = use.rpartition(": ")[2]
    with pytest.raises(RadiosslError, match=rf"{name}: a declination of 99 degrees: is it exchanged with the right"):
        USES[use](tmp_path)
