import csv as csv_module
import io

import numpy as np
import pandas as pd
import pytest

from radiossl.io.errors import RadiosslError
from radiossl.ratings.records import (
    COLUMNS,
    astronomaly_table,
    last_ratings,
    read_all_scores,
    read_astronomaly,
    read_ratings,
    read_scores,
    unit_range,
)


@pytest.fixture
def csv(tmp_path):
    """`csv(text)` writes a file."""

    def write(text, name="file.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_ratings_are_read_and_rows_without_one_passed_over(csv):
    frame = read_ratings(csv("cutout_id,rating,who,other\na, 4,me,x\nb,,me,x\n\n007,5.0,,\n"))
    assert list(frame.columns) == list(COLUMNS)
    assert frame["cutout_id"].tolist() == ["a", "007"]
    assert frame["rating"].tolist() == [4, 5]
    assert frame["who"].tolist() == ["me", ""]
    assert frame["round"].tolist() == ["", ""]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_what_spreadsheets_save_is_read(tmp_path, mark, encoding):
    lines = [["cutout_id", " rating", "who", "score"], ["J12;5", "4", "Ève", "0,5"], ["b", "5,0", "", "-1"]]
    path = tmp_path / "filled.csv"
    text = io.StringIO()
    csv_module.writer(text, delimiter=mark).writerows(lines if mark == ";" else [*lines[:2], ["b", "5", "", "-1"]])
    path.write_text(text.getvalue(), encoding=encoding)
    ratings = read_ratings(path)
    assert ratings[["cutout_id", "rating", "who"]].to_numpy().tolist() == [["J12;5", 4, "Ève"], ["b", 5, ""]]
    if mark == ";":
        assert read_scores(path, ["b", "J12;5"]).tolist() == [-1, 0.5]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
def test_a_file_in_another_encoding_is_refused_with_what_to_do(tmp_path, encoding):
    path = tmp_path / "filled.csv"
    path.write_text("cutout_id,rating,who\na,4,Ève\n", encoding=encoding)
    with pytest.raises(RadiosslError, match="is not in UTF-8; save it again as CSV in UTF-8"):
        read_ratings(path)


def test_no_files_are_no_ratings():
    assert len(read_ratings()) == 0
    assert len(last_ratings(read_ratings())) == 0


def test_the_last_rating_counts_within_a_file_and_over_files(csv):
    first = csv("cutout_id,rating\na,1\nb,2\na,3\n", "first.csv")
    second = csv("cutout_id,rating\nb,5\nc,\n", "second.csv")
    assert last_ratings(read_ratings(first, second)).to_dict() == {"a": 3.0, "b": 5.0}
    assert last_ratings(read_ratings(second, first)).to_dict() == {"a": 3.0, "b": 2.0}


@pytest.mark.parametrize("bad", ["6", "0", "3.5", "good", "-1", "nan", "inf"])
def test_a_bad_rating_is_named_with_file_and_row(csv, bad):
    path = csv(f"cutout_id,rating\na,1\n\nb,{bad}\nc,9\n")
    with pytest.raises(RadiosslError) as error:
        read_ratings(path)
    assert f"{path}, row 4: rating '{bad}'" in str(error.value)
    assert "whole number from 1 (dull) to 5 (remarkable)" in str(error.value)


def test_a_rating_without_an_object_is_refused(csv):
    with pytest.raises(RadiosslError, match=r"row 3: cutout_id ''"):
        read_ratings(csv("cutout_id,rating\na,1\n,2\n"))


@pytest.mark.parametrize(
    ("text", "message"), [("id,rating\na,1\n", "no column 'cutout_id'"), ("", "not a readable CSV")]
)
def test_a_file_of_another_kind_is_refused(csv, text, message):
    with pytest.raises(RadiosslError, match=message):
        read_ratings(csv(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cutout_id,rating\na,5,3,4\n", "not a readable CSV file .*Expected 2 fields in line 2, saw 4"),
        ("cutout_id,rating,rating\na,5,4\n", "two columns are called 'rating'; leave one out or rename it"),
        ("cutout_id,rating,who,who\na,5,me,you\n", "two columns are called 'who'"),
    ],
)
def test_cells_that_belong_to_no_column_or_to_two_are_refused(csv, text, message):
    with pytest.raises(RadiosslError, match=message):
        read_ratings(csv(text))


def test_columns_without_a_name_are_passed_over(csv):
    assert read_ratings(csv("cutout_id,rating,,\na,5,x,\n"))["rating"].tolist() == [5]


def test_scores_come_in_the_order_that_is_asked_for(csv):
    path = csv("rank,cutout_id,score\n1,b,0.9\n2,a,0.5\n3,z,0.1\n")
    assert read_scores(path, ["a", "b"]).tolist() == [0.5, 0.9]
    assert read_all_scores(path).to_dict() == {"b": 0.9, "a": 0.5, "z": 0.1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cutout_id,score\na,1\n", r"no score for 1 of 2 objects, such as 'b'"),
        ("cutout_id,score\na,1\nb,much\n", r"row 3: score 'much'"),
        ("cutout_id,score\na,1\nb,2\na,3\n", r"row 4: cutout_id 'a': has a score already"),
        ("cutout_id,value\na,1\n", r"no column 'score'"),
    ],
)
def test_bad_scores_are_named(csv, text, message):
    with pytest.raises(RadiosslError, match=message):
        read_scores(csv(text), ["a", "b"])


def test_scores_are_brought_to_the_unit_range():
    assert unit_range(np.array([-2.0, 0.0, 2.0])).tolist() == [0.0, 0.5, 1.0]
    assert unit_range(np.array([3.0, 3.0])).tolist() == [1.0, 1.0]


def test_astronomaly_is_read_with_zero_raised_and_unlabelled_left_out(csv):
    table = read_astronomaly(csv(",score,human_label,trained_score\nobj1,4.5,5,4.4\n12,3.0,-1,1\nobj3,0.5,0,0.1\n"))
    assert table.scores.to_dict("list") == {"cutout_id": ["obj1", "12", "obj3"], "score": [4.5, 3.0, 0.5]}
    assert table.ratings[["cutout_id", "rating"]].to_dict("list") == {"cutout_id": ["obj1", "obj3"], "rating": [5, 1]}
    assert table.ratings["who"].tolist() == ["astronomaly", "astronomaly"]
    assert table.raised == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",score,human_label\na,1,6\n", r"row 2: human_label '6'"),
        (",score,human_label\na,1,\n", r"row 2: human_label ''"),
        (",score,human_label\na,1,2\na,1,2\n", r"row 3: cutout_id 'a'"),
        (",score\na,1\n", r"no column 'human_label'"),
        (";score\na;1,5\n", r"no column 'human_label'; there are , score"),
        ("score,human_label\n1,2\n", r"first column is 'score'"),
    ],
)
def test_a_bad_file_of_astronomaly_is_named(csv, text, message):
    with pytest.raises(RadiosslError, match=message):
        read_astronomaly(csv(text))


def test_what_is_written_for_astronomaly_is_what_it_reads(tmp_path):
    ids = np.array(["a", "7", "c"])
    table = astronomaly_table(ids, np.array([0.1, 0.5, 0.3]), pd.Series({"7": 4.0, "gone": 1.0}), np.array([0.0, 1, 2]))
    path = tmp_path / "ml_scores.csv"
    table.to_csv(path)
    # As its scripts read the file (scripts/galaxy_zoo_example.py).
    theirs = pd.read_csv(path, index_col=0, dtype={"human_label": "int"})
    assert theirs.index.astype("str").tolist() == ["7", "c", "a"]
    assert theirs["score"].tolist() == pytest.approx([5.0, 2.5, 0.0])
    assert theirs["human_label"].tolist() == [4, -1, -1]
    assert theirs["trained_score"].tolist() == [1.0, 2.0, 0.0]
    back = read_astronomaly(path)
    assert last_ratings(back.ratings).to_dict() == {"7": 4.0}
