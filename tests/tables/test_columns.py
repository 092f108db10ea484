"""Columns, colours and missing bands; the same rows from every format."""

import gc
import gzip
import warnings
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from radiossl import RadiosslError
from radiossl.io.errors import check_columns
from radiossl.tables.columns import TableColumns, TableFile, parse_colours


def test_numbers_by_hand():
    table = pa.table(
        {"u": [20.0, -9999.0, None], "g": [19, 18, 17], "psf": [19.0, 18.0, 17.0], "mod": [18.5, 18.25, 17.0]}
    )
    columns = TableColumns(("u", "g"), (("u", "g"),), ("psf", "mod"), missing=(-9999.0,))
    assert columns.names == ["u", "g", "u-g", "|psf-mod|"]
    nan = np.nan
    np.testing.assert_array_equal(columns.matrix(table), [[20, 19, 1, 0.5], [nan, 18, nan, 0.25], [nan, 17, nan, 0]])


def test_what_no_float32_can_hold_is_missing():
    assert np.isnan(TableColumns(("a",)).matrix(pa.table({"a": [1e300, np.inf]}))).all()


def test_features_stand_after_the_columns():
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float32)), 3)
    columns = TableColumns(("flux",), dimension=3)
    found = columns.matrix(pa.table({"features": vectors, "flux": [7.0, 8.0]}))
    np.testing.assert_array_equal(found, [[7, 0, 1, 2], [8, 3, 4, 5]])


def test_bad_columns_are_named():
    with pytest.raises(RadiosslError, match="--columns"):
        TableColumns()
    with pytest.raises(RadiosslError, match="'u' is named twice"):
        TableColumns(("u", "u"))
    with pytest.raises(RadiosslError, match="column 'u' is string"):
        TableColumns(("u",)).matrix(pa.table({"u": ["x"]}))
    with pytest.raises(RadiosslError, match="no column 'w1'"):
        check_columns(TableColumns(("w1",)).needed, ["u"], "t.csv")
    with pytest.raises(RadiosslError, match="--colours ug"):
        parse_colours("ug")


@pytest.fixture(params=["csv", "parquet", "fits"])
def file(request, tmp_path):
    table = pa.table({"id": [f"s{i}" for i in range(25)], "u": np.arange(25.0), "n": np.arange(25)})
    path = tmp_path / f"t.{request.param}"
    if request.param == "csv":
        pyarrow.csv.write_csv(table, path)
    elif request.param == "parquet":
        pq.write_table(table, path, row_group_size=7)
    else:
        Table.from_pandas(table.to_pandas()).write(path)
    return path


@pytest.mark.parametrize("start", [0, 5, 14, 24, 25])
def test_pieces_are_the_rows_in_order(file, start):
    pieces = list(TableFile(file).pieces(["u", "id"], 10, start))
    assert [len(piece) for piece in pieces] == [10] * ((25 - start) // 10) + [(25 - start) % 10] * bool(
        (25 - start) % 10
    )
    assert [name for piece in pieces for name in piece["id"].to_pylist()] == [f"s{i}" for i in range(start, 25)]
    assert [value for piece in pieces for value in piece["u"].to_pylist()] == list(range(start, 25))


@pytest.mark.parametrize(
    "text",
    [
        "# from a survey\n# two lines\nid,u,g\na,1.5,2\n# between\nb,2.5,3\n",
        "id;u;g\na;1,5;2\nb;2,5;3\n",
        "id;u;g\na;1.5;2\nb;2.5;3\n",
        "id\tu\tg\na\t1.5\t2\nb\t2.5\t3\n",
        "id , u, g\n--,mag,mag\na, 1.5, 2\nb, 2.5, 3\n",
        "id u   g\na  1.5 2\nb  2.5 3\n",  # read as a whole
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: id, datatype: string}\n# - {name: u, datatype: float64}\n"
        "# - {name: g, datatype: int64}\n# schema: astropy-2.0\nid u g\na 1.5 2\nb 2.5 3\n",
    ],
)
def test_text_is_read_as_catalogues_are(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    file = TableFile(tmp_path / "t.csv")
    assert file.names == ["id", "u", "g"]
    assert file.read(["u", "id"]).to_pydict() == {"u": [1.5, 2.5], "id": ["a", "b"]}
    assert [piece["g"].to_pylist() for piece in file.pieces(["g"], 1, start=1)] == [[3]]


def test_other_formats_of_tables_are_read(tmp_path):
    written = Table({"id": ["a", "b"], "u": [1.5, 2.5]})
    written.write(tmp_path / "t.vot", format="votable")
    assert TableFile(tmp_path / "t.vot").read(["id", "u"]).to_pydict() == {"id": ["a", "b"], "u": [1.5, 2.5]}
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write("id;u\na;1\n")
    assert TableFile(tmp_path / "t.csv.gz").rows == 1


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 2)])
def test_features_may_be_lists_of_any_kind(tmp_path, kind):
    """pandas and polars write lists without a fixed length."""
    table = pa.table({"features": pa.array([[1, 2], [3, 4]], kind)})
    pq.write_table(table, tmp_path / "t.parquet")
    dimension = TableFile(tmp_path / "t.parquet").feature_dimension()
    assert TableColumns(dimension=dimension).matrix(table).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(RadiosslError, match="dimension 3 were expected, not 2"):
        TableColumns(dimension=3).matrix(table)
    with pytest.raises(RadiosslError, match="rows without features"):
        TableColumns(dimension=2).matrix(pa.table({"features": pa.array([[1, 2], None], kind)}))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "t.odt").write_text("u\n1\n")
    with pytest.raises(RadiosslError, match="needs a name with one of the endings"):
        TableFile(tmp_path / "t.odt")
    (tmp_path / "t.parquet").write_text("u\n1\n")
    with pytest.raises(RadiosslError, match="not a readable parquet"):
        TableFile(tmp_path / "t.parquet")


def test_a_fits_table_is_closed(tmp_path):
    Table({"u": np.arange(5_000.0)}).write(tmp_path / "t.fits")
    fits.writeto(tmp_path / "image.fits", np.zeros((4, 4)))
    with warnings.catch_warnings(record=True, action="always", category=ResourceWarning) as left_open:
        assert len(TableFile(tmp_path / "t.fits").read(["u"])) == 5_000
        with pytest.raises(RadiosslError, match="has no binary table"):
            TableFile(tmp_path / "image.fits")
        gc.collect()
    assert not left_open


@pytest.mark.parametrize("left", [100, 6_000, 20_000])
def test_a_fits_table_that_was_cut_off_is_refused(tmp_path, left):
    Table({"u": np.arange(5_000.0)}).write(tmp_path / "t.fits")
    whole = (tmp_path / "t.fits").read_bytes()
    (tmp_path / "t.fits").write_bytes(whole[:left])
    with pytest.raises(RadiosslError, match=r"t\.fits: not a readable fits"):
        TableFile(tmp_path / "t.fits")


@pytest.mark.parametrize("zero", [None, 32768])
def test_masked_integers_of_a_fits_table_are_missing(tmp_path, zero):
    """The number that means "masked" (TNULL) is no measurement, and it is written before TZERO is added."""
    mask = np.arange(200) % 25 < 14
    written = np.where(mask, -99, np.arange(200)).astype(np.int16)
    column = fits.Column("n", "I", null=-99, array=written)
    part = fits.BinTableHDU.from_columns([column, fits.Column("x", "D", array=np.arange(200.0))])
    if zero:
        part.header["TZERO1"] = zero
    fits.HDUList([fits.PrimaryHDU(), part]).writeto(tmp_path / "t.fits")
    file = TableFile(tmp_path / "t.fits")
    found = np.concatenate([TableColumns(("n",)).matrix(piece)[:, 0] for piece in file.pieces(["n"], 60)])
    assert np.isnan(found).sum() == 112
    np.testing.assert_array_equal(np.isnan(found), mask)
    np.testing.assert_array_equal(found[~mask], np.arange(200)[~mask] + (zero or 0))


def test_masked_integers_that_astropy_wrote_are_missing(tmp_path):
    mask = np.arange(200) % 25 < 14
    Table({"n": MaskedColumn(np.arange(200), mask=mask)}).write(tmp_path / "t.fits")
    found = TableColumns(("n",)).matrix(TableFile(tmp_path / "t.fits").read(["n"]))[:, 0]
    np.testing.assert_array_equal(np.isnan(found), mask)


def test_names_in_a_csv_file_stay_as_they_are_written(tmp_path):
    (tmp_path / "t.csv").write_text("id,u,kind\n00123,1.5,NA\n1E0657,--,nan\n12,+2,ring\n")
    table = TableFile(tmp_path / "t.csv").read(["id", "u", "kind"])
    assert table["id"].to_pylist() == ["00123", "1E0657", "12"]
    assert table["kind"].to_pylist() == ["NA", "nan", "ring"]
    np.testing.assert_array_equal(TableColumns(("u",)).matrix(table)[:, 0], [1.5, np.nan, 2])


def test_truth_values_and_decimals_are_numbers():
    table = pa.table({"flag": [True, None, False], "price": pa.array([Decimal("1.5"), None, Decimal("2")])})
    found = TableColumns(("flag", "price")).matrix(table)
    np.testing.assert_array_equal(found, [[1, 1.5], [np.nan, np.nan], [0, 2]])
