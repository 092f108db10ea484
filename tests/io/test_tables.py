"""Tables of every format: names as written, missing values missing, units and frames as the file says."""

import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from radiossl import RadiosslError
from radiossl.io.tables import arrow_table, read_table, read_table_content, table_content


def write(path, text, encoding="utf-8"):
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def values(table):
    return {name: table.column(name).to_pylist() for name in table.column_names}


# Text -----------------------------------------------------------------------------------------------------------------


def test_names_are_read_as_written(tmp_path):
    text = "id,name,label,flux\n00123,NA,FRI ,1\n12,1E0657,FRII,NA\n0012,null,,3\n"
    assert values(read_table(write(tmp_path / "a.csv", text))) == {
        "id": ["00123", "12", "0012"],
        "name": ["NA", "1E0657", "null"],
        "label": ["FRI", "FRII", None],
        "flux": [1, None, 3],
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_letters_of_every_encoding(tmp_path, encoding):
    text = "name,x\n" + "".join(f"s{n},{n}\n" for n in range(2000)) + "Mädler,7\n"
    content = read_table_content(write(tmp_path / "a.csv", text, encoding))
    assert content.table.column_names == ["name", "x"]
    assert content.table.column("name")[2000].as_py() == "Mädler"
    assert bool(content.notes) == (encoding == "latin-1")


def test_an_encoding_can_be_named(tmp_path):
    path = write(tmp_path / "a.csv", "name,x\nÅ,1\n", "mac_roman")
    assert read_table(path, encoding="mac_roman").column("name").to_pylist() == ["Å"]
    with pytest.raises(RadiosslError, match="not in the encoding utf-8"):
        read_table(path, encoding="utf-8")
    with pytest.raises(RadiosslError, match="--encoding nope: unknown"):
        read_table(path, encoding="nope")


def test_what_was_guessed_is_said(tmp_path, caplog):
    read_table(write(tmp_path / "a.csv", "name,x\nMädler,1\n", "latin-1"))
    assert "a.csv: is not in UTF-8 and was read as Latin-1" in caplog.text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "a;b\nx;1\ny;2\n"),
        ("a.tsv", "a\tb\nx\t1\ny\t2\n"),
        ("a.tsv", "a;b\nx;1\ny;2\n"),
        ("a.txt", "a b\nx 1\ny   2\n"),
        ("a.dat", "# a  b\nx 1\ny 2\n"),
        ("a.txt", "# a, b\nx, 1\n\n# so far\ny, 2\n# end\n"),
        ("a.csv", "# about\n\na,b\r\nx,1\r\ny,2\r\n"),
        ("a.csv", "a,b\n,mJy\nx,1\ny,2\n"),
    ],
)
def test_columns_are_told_apart_however_they_are_separated(tmp_path, name, text):
    assert values(read_table_content(write(tmp_path / name, text)).table) == {"a": ["x", "y"], "b": [1, 2]}


def test_a_delimiter_can_be_named(tmp_path):
    path = write(tmp_path / "a.txt", "a:b\n1:2\n")
    assert values(read_table(path, delimiter=":")) == {"a": [1], "b": [2]}
    with pytest.raises(RadiosslError, match="--delimiter ab: expected one character"):
        read_table(path, delimiter="ab")


def test_rows_of_another_length_are_refused_with_their_line(tmp_path):
    with pytest.raises(RadiosslError, match=r"a\.dat, line 3: 3 values for 2 columns"):
        read_table(write(tmp_path / "a.dat", "a b\n1 2\n1 2 3\n"))


def test_columns_of_the_same_name_and_without_one(tmp_path):
    assert read_table(write(tmp_path / "a.csv", ",ra,ra\n1,2,3\n")).column_names == ["column_1", "ra", "ra_2"]


def test_a_header_of_another_encoding(tmp_path):
    path = write(tmp_path / "a.csv", "name,µJy\nb,1\n", "latin-1")
    assert read_table(path).column_names == ["name", "µJy"]


def test_columns_without_name_and_values_are_left_out(tmp_path):
    assert values(read_table(write(tmp_path / "a.csv", "a,b,\nx,1,\ny,2,\n"))) == {"a": ["x", "y"], "b": [1, 2]}
    assert values(read_table(write(tmp_path / "a.txt", "| a | b |\n| x | 1 |\n"))) == {"a": ["x"], "b": [1]}


def test_any_number_of_comments_before_the_table(tmp_path):
    comments = "".join(f"# line {number}\n" for number in range(5000))
    assert values(read_table(write(tmp_path / "a.csv", f"{comments}a,b\nx,1\n"))) == {"a": ["x"], "b": [1]}


def test_a_table_of_ipac(tmp_path):
    text = "\\fixlen = T\n| ra      | name  |\n| double  | char  |\n| deg     |       |\n| null    | null  |\n"
    content = read_table_content(write(tmp_path / "a.tbl", f"{text}  187.5     00123  \n  null      b      \n"))
    assert values(content.table) == {"ra": [187.5, None], "name": ["00123", "b"]}
    assert content.units == {"ra": "deg"}


def test_gzipped_text(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"# from\na,b\nx,1\n"))
    assert values(read_table(path)) == {"a": ["x"], "b": [1]}


# FITS, VOTable, in memory ---------------------------------------------------------------------------------------------


def test_null_integers_and_latin_text_of_fits(tmp_path):
    columns = [
        fits.Column("n", "J", null=-99, array=[1, -99]),
        fits.Column("label", "5A", array=[b"FRI", b""]),
        fits.Column("name", "6A", array=[b"M\xe4dler", b"b"]),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    assert values(read_table(tmp_path / "a.fits")) == {"n": [1, None], "label": ["FRI", None], "name": ["Mädler", "b"]}


@pytest.mark.parametrize("suffix", [".fits", ".vot"])
def test_one_of_several_tables(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".fits":
        tables = [fits.BinTableHDU(Table({"x": [n]}), name=name) for n, name in ((1, "ONE"), (2, "TWO"))]
        fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path)
    else:
        from astropy.io.votable import from_table
        from astropy.io.votable.tree import TableElement

        document = from_table(Table({"x": [1]}))
        document.resources[0].tables[0].name = "ONE"
        second = TableElement.from_table(document, Table({"x": [2]}))
        second.name = "TWO"
        document.resources[0].tables.append(second)
        document.to_xml(str(path))
    assert read_table(path, table="TWO").column("x").to_pylist() == [2]
    assert read_table(path, table="2").column("x").to_pylist() == [2]
    first = read_table_content(path)
    assert first.table.column("x").to_pylist() == [1]
    assert "--table" in " ".join(first.notes)
    with pytest.raises(RadiosslError, match="no table 'THREE'; there are 1 ONE, 2 TWO"):
        read_table(path, table="THREE")


@pytest.mark.parametrize("make", [lambda c: pd.DataFrame(c), lambda c: Table(c), lambda c: pa.table(c)])
def test_tables_in_memory(make):
    assert values(table_content(make({"name": ["a ", "b"], "x": [1.5, 2.5]})).table) == {
        "name": ["a", "b"],
        "x": [1.5, 2.5],
    }


def test_something_else_in_memory_is_refused():
    with pytest.raises(RadiosslError, match="a list: expected a pandas, polars, Arrow or astropy table"):
        table_content([1])


def test_masked_texts_and_bytes_are_missing_or_text():
    table = Table({"a": MaskedColumn(["x", "y"], mask=[False, True]), "b": np.array([b"x", b""])})
    assert values(table_content(table).table) == {"a": ["x", None], "b": ["x", None]}
    assert values(table_content(pa.table({"a": pa.array([b"x", None])})).table) == {"a": ["x", None]}


def test_decimals_are_numbers():
    from decimal import Decimal

    content = table_content(pa.table({"a": [Decimal("1.5")], "b": pa.array([Decimal(7)], pa.decimal128(9, 0))}))
    assert values(content.table) == {"a": [1.5], "b": [7]}


@pytest.mark.parametrize("stream", [False, True])
def test_arrow_and_feather_are_read_without_their_columns_of_lists(tmp_path, stream):
    table = pa.table({"name": ["a", "b"], "flux": [1.0, None], "vector": [[1.0], [2.0]]})
    path = tmp_path / "a.arrow"
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(path, table.schema) as writer:
        writer.write_table(table)
    content = read_table_content(path)
    assert values(content.table) == {"name": ["a", "b"], "flux": [1.0, None]}
    assert content.notes == ("columns with several values per row were left out: vector",)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RadiosslError, match=r"a\.arrow: not a readable Arrow table"):
        read_table(path)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1, "x"]}),
        pd.DataFrame({"a": [1j]}),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
    ],
)
def test_frames_that_are_no_table_are_refused_in_one_line(frame):
    with pytest.raises(RadiosslError, match="the table cannot be read"):
        table_content(frame)


def test_objects_of_astropy_are_numbers_or_text():
    table = Table({"number": np.array([1, None], dtype=object), "text": np.array([None, "x"], dtype=object)})
    assert values(table_content(table).table) == {"number": [1, None], "text": [None, "x"]}


def test_columns_of_no_text_are_left_out_with_a_note():
    kinds = pa.table({"a": [1, 2], "gap": pa.array([None, None], pa.month_day_nano_interval())})
    assert table_content(kinds).table.column_names == ["a"]
    assert "gap" in table_content(kinds).notes[0]


def test_big_endian_columns_of_a_data_frame_are_read():
    """As those of a FITS table are, put into pandas without their bytes swapped."""
    frame = pd.DataFrame({"name": ["a", "b"], "ra": np.array([10.0, 20.0], ">f8"), "n": np.array([1, 2], ">i2")})
    table = arrow_table(frame)
    assert table.to_pydict() == {"name": ["a", "b"], "ra": [10.0, 20.0], "n": [1, 2]}
    assert table.schema.field("n").type == pa.int16()
    assert frame["ra"].dtype == ">f8"
