import warnings

import numpy as np
import pyarrow as pa
import pytest

from radiossl.features.confounders import confounder_table, confounder_warnings, size_column
from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError


def _table(n=50, **columns):
    columns = {"cutout_id": [f"s{i}" for i in range(n)], **columns}
    return FeatureTable(pa.table(columns), np.zeros((n, 2), np.float32))


def test_a_score_that_sorts_by_noise_is_named():
    rng = np.random.default_rng(0)
    rms = rng.uniform(1, 2, 50)
    table = _table(rms=rms, maximum=rms * 10, background=np.zeros(50), width=np.full(50, 64))
    frame = confounder_table({"score": rms**3, "other": rng.normal(size=50)}, table)
    assert frame["property"].tolist()[0] in ("rms", "maximum")
    assert frame.set_index("property").loc["rms", "score"] == pytest.approx(1.0)
    assert "width" not in set(frame["property"])  # constant
    assert any(line.startswith("score follows rms") for line in confounder_warnings(frame))
    assert not any(line.startswith("other") for line in confounder_warnings(frame))


def test_a_table_without_rows_has_no_sizes():
    with warnings.catch_warnings(action="error"):
        assert size_column(_table(0)) is None
    assert size_column(_table(4, las_arcsec=[np.nan, 1.0, np.nan, 2.0])) == "las_arcsec"
    assert size_column(_table(4, las_arcsec=[np.nan, 1.0, np.nan, np.nan])) is None


def test_rank_correlation_by_hand_with_unknown_values_left_out():
    table = _table(4, las_arcsec=[1.0, np.nan, 3.0, 2.0])
    frame = confounder_table({"score": np.array([1.0, 9.0, 2.0, 3.0])}, table)
    # Ranks 1, 3, 2 against 1, 2, 3: 1 - 6 * (0 + 1 + 1) / (3 * 8) = 0.5
    assert frame.loc[0, "objects"] == 3
    assert frame.loc[0, "score"] == pytest.approx(0.5)


def test_a_column_asked_for_must_exist():
    with pytest.raises(RadiosslError, match="redshift"):
        confounder_table({"score": np.arange(4.0)}, _table(4), also=["redshift"])


def test_without_properties_the_table_is_empty():
    frame = confounder_table({"score": np.arange(4.0)}, _table(4))
    assert len(frame) == 0
    assert confounder_warnings(frame) == []
