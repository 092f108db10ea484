"""Formulas in CSV files: no spreadsheet runs them, and they are read back unchanged."""

import csv

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiossl.io.csv_cells import guarded, guarded_frame, guarded_table, unguarded, unguarded_table, write_table
from radiossl.io.tables import read_table

FORMULAS = ["=1+1", "=HYPERLINK('x')", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "\t=1", "=", "@"]
HARMLESS = ["J1200+10", "+12:30:00", "-1.5", "+1e5", "- 00 10 20", "", "'quoted'", "a=b", "'", "1+1", "3C 273", "é"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_a_text(text):
    assert guarded(text) == "'" + text
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", [*HARMLESS, 1.5, None, True])
def test_the_rest_stays(text):
    assert guarded(text) == text
    assert unguarded(text) == text


@given(st.text(alphabet="=+-@'\t1a. é", max_size=6))
def test_every_text_comes_back(text):
    assert unguarded(guarded(text)) == text
    assert not guarded(text).startswith(("=", "@"))


def test_a_table_that_is_written_is_safe_and_read_back_unchanged(tmp_path):
    texts = [text for text in FORMULAS + HARMLESS if text and text == text.strip()] + ["'=1+1"]
    frame = pd.DataFrame({"id": texts, "=name": texts, "flux": range(len(texts))})
    write_table(frame, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "@", "\t", "+c", "-2+"))]
    back = read_table(tmp_path / "t.csv")
    assert back.column("id").to_pylist() == texts
    assert frame.columns[1] == "=name"  # the caller's frame is left alone


def test_arrow_tables_too():
    table = pa.table({"id": ["=1", "a", None], "@x": [1, 2, 3]})
    assert guarded_table(table).to_pydict() == {"id": ["'=1", "a", None], "'@x": [1, 2, 3]}
    assert unguarded_table(guarded_table(table)).equals(table)


def test_frames_of_arrow_types_too():
    frame = pa.table({"a": ["=1+1", None]}).to_pandas(types_mapper=pd.ArrowDtype)
    assert guarded_frame(frame)["a"].tolist()[0] == "'=1+1"
