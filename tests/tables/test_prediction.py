"""Prediction piece by piece equals prediction at once, in every format and after an interruption."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from radiossl import RadiosslError
from radiossl.tables import prediction as table_prediction
from radiossl.tables.columns import TableColumns, TableFile
from radiossl.tables.forest import Forest, fit_forest
from radiossl.tables.prediction import predict_table
from radiossl.tables.run import train_forest


@pytest.fixture(scope="module")
def forest():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 2)).astype(np.float32)
    return fit_forest(values, (values[:, 0] > 0).astype(int), TableColumns(("u", "g")), ["QSO", "STAR"], trees=5)[0]


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(1)
    columns = {
        "objID": [f"s{i}" * (1 + i % 3) for i in range(250)],
        "u": rng.normal(size=250),
        "g": rng.normal(size=250),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


@pytest.mark.parametrize("suffix", ["parquet", "csv", "fits"])
def test_pieces_say_the_same_as_the_whole(forest, table, tmp_path, suffix):
    counts = predict_table(forest, table, tmp_path / f"out.{suffix}", piece_rows=60)
    whole = pq.read_table(table)
    expected = forest.probabilities(forest.columns.matrix(whole))
    if suffix == "fits":
        found = Table.read(tmp_path / "out.fits")
        ids, star, said = [list(found[n]) for n in ("objID", "probability[STAR]", "predicted")]
    else:
        out = TableFile(tmp_path / f"out.{suffix}").read(["objID", "probability[STAR]", "predicted"])
        ids, star, said = (out[name].to_pylist() for name in out.column_names)
    assert ids == whole["objID"].to_pylist()
    np.testing.assert_allclose(np.array(star, float), expected[:, 1], atol=1e-6)
    assert list(said) == [["QSO", "STAR"][i] for i in expected.argmax(axis=1)]
    assert counts == {"QSO": list(said).count("QSO"), "STAR": list(said).count("STAR"), None: 0}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "fits"])
def test_a_row_without_any_number_gets_no_class(forest, tmp_path, suffix):
    nothing = float("nan")
    pq.write_table(
        pa.table({"id": ["a", "b", "c"], "u": [1.0, nothing, nothing], "g": [0.5, nothing, 2.0]}),
        tmp_path / "t.parquet",
    )
    counts = predict_table(forest, tmp_path / "t.parquet", tmp_path / f"out.{suffix}")
    out = TableFile(tmp_path / f"out.{suffix}").read(["predicted", "probability[QSO]"])
    said, probability = (out[name].to_pylist() for name in out.column_names)
    assert [text in ("QSO", "STAR") for text in said] == [True, False, True]
    assert not said[1]
    assert np.isnan(np.array(probability, float)).tolist() == [False, True, False]
    assert counts[None] == 1
    assert sum(counts.values()) == 3


def test_a_table_of_nothing_is_refused(forest, tmp_path):
    pq.write_table(
        pa.table({"u": [float("nan")] * 4, "g": [None] * 4}, pa.schema({"u": pa.float64(), "g": pa.float64()})),
        tmp_path / "t.parquet",
    )
    with pytest.raises(RadiosslError, match=r"t\.parquet: nothing is measured in any row, of u, g"):
        predict_table(forest, tmp_path / "t.parquet", tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


@pytest.fixture
def calls(monkeypatch):
    """One entry for each piece that was classified; the third is interrupted."""
    real, calls = table_prediction._classified, []

    def breaks(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(table_prediction, "_classified", breaks)
    return calls


def test_an_interrupted_prediction_goes_on(forest, table, tmp_path, calls):
    with pytest.raises(KeyboardInterrupt):
        predict_table(forest, table, tmp_path / "out.parquet", piece_rows=60)
    assert not (tmp_path / "out.parquet").exists()
    predict_table(forest, table, tmp_path / "out.parquet", piece_rows=60)
    assert len(calls) == 3 + 3  # of five pieces two were done
    predict_table(forest, table, tmp_path / "whole.parquet", piece_rows=60)
    assert pq.read_table(tmp_path / "out.parquet").equals(pq.read_table(tmp_path / "whole.parquet"))


def test_pieces_of_another_forest_are_not_taken(forest, table, tmp_path, calls):
    other, _ = fit_forest(np.eye(2, dtype=np.float32), np.array([0, 1]), forest.columns, forest.classes, trees=3)
    with pytest.raises(KeyboardInterrupt):
        predict_table(other, table, tmp_path / "out.parquet", piece_rows=60)
    predict_table(forest, table, tmp_path / "out.parquet", piece_rows=60)
    assert len(calls) == 3 + 5


def test_pieces_of_parts_that_have_changed_are_not_taken(forest, table, tmp_path, calls):
    part = tmp_path / "parts" / "part-00000-of-00001.parquet"
    part.parent.mkdir()
    rows = pq.read_table(table)
    pq.write_table(rows, part)
    with pytest.raises(KeyboardInterrupt):
        predict_table(forest, part.parent, tmp_path / "out.parquet", piece_rows=60)
    pq.write_table(rows.slice(0, 240), part)
    assert sum(predict_table(forest, part.parent, tmp_path / "out.parquet", piece_rows=60).values()) == 240
    assert len(calls) == 3 + 4


def test_bad_input_is_named(forest, table, tmp_path):
    with pytest.raises(RadiosslError, match="must end in"):
        predict_table(forest, table, tmp_path / "out.txt")
    with pytest.raises(RadiosslError, match="no column 'z' for --keep"):
        predict_table(forest, table, tmp_path / "out.csv", ("z",))
    pq.write_table(pa.table({"u": [1.0]}), tmp_path / "narrow.parquet")
    with pytest.raises(RadiosslError, match=r"narrow.parquet: no column 'g'"):
        predict_table(forest, tmp_path / "narrow.parquet", tmp_path / "out.csv")


def test_ids_that_a_spreadsheet_would_run_are_written_as_text_and_read_back(forest, tmp_path):
    ids = ["=1+1", "@x", "+cmd", "-5"]
    pq.write_table(pa.table({"id": ids, "u": [1.0, 2, 3, 4], "g": [1.0, 2, 3, 4]}), tmp_path / "t.parquet")
    predict_table(forest, tmp_path / "t.parquet", tmp_path / "o.csv", keep=("id", "u", "g"))
    assert '"\'=1+1"' in (tmp_path / "o.csv").read_text()
    predict_table(forest, tmp_path / "o.csv", tmp_path / "again.parquet")
    assert pq.read_table(tmp_path / "again.parquet")["id"].to_pylist() == ids


def test_a_table_does_not_replace_the_one_it_is_made_of(forest, table):
    before = table.read_bytes()
    with pytest.raises(RadiosslError, match="is the table that is read; choose another --out"):
        predict_table(forest, table, table)
    assert table.read_bytes() == before


def test_two_columns_of_one_name_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("x,x,class\n1,2,a\n")
    with pytest.raises(RadiosslError, match="has two columns 'x'; rename one"):
        TableFile(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("flux", "said"),
    [(lambda f: f * 1000, "its median is"), (lambda f: f * np.nan, "nothing is measured"), (abs, None)],
)
def test_columns_in_other_units_are_announced(tmp_path, flux, said, recwarn):
    rng = np.random.default_rng(0)
    columns = {"flux": rng.lognormal(-5, 1, 200), "size": rng.lognormal(2, 1, 200)}
    columns["class"] = np.where(columns["size"] > 8, "a", "b")
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    train_forest(tmp_path / "t.parquet", "class", tmp_path / "forest", columns=["flux", "size"], by="flux", trees=5)
    pq.write_table(pa.table({**columns, "flux": flux(columns["flux"])}), tmp_path / "other.parquet")
    predict_table(
        Forest.load(tmp_path / "forest" / "forest.safetensors"), tmp_path / "other.parquet", tmp_path / "out.csv"
    )
    found = [str(warning.message) for warning in recwarn if "column" in str(warning.message)]
    assert [text.startswith(f"column 'flux': {said}") for text in found] == [True] * (said is not None)
