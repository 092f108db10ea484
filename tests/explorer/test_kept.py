"""Ratings and labels reach their files at once, and no other program's are lost."""

from __future__ import annotations

import pandas as pd
import pytest

from radiossl.explorer.kept import KeptLabels, KeptRatings
from radiossl.io.errors import RadiosslError
from radiossl.ratings.records import read_ratings
from radiossl.report.results import write_table


def test_every_rating_is_in_the_file_at_once(tmp_path):
    path = tmp_path / "ratings.csv"
    kept = KeptRatings(path, "me")
    assert kept.of("a") is None
    assert not path.exists()
    for number, rating in enumerate((5, 1, 3), 1):
        kept.add("a", rating)
        assert len(read_ratings(path)) == number
    assert kept.of("a") == 3
    assert KeptRatings(path).of("a") == 3
    assert set(read_ratings(path)["who"]) == {"me"}
    assert not list(tmp_path.glob(".*"))


def test_what_another_program_wrote_meanwhile_is_kept(tmp_path):
    path = tmp_path / "ratings.csv"
    kept = KeptRatings(path)
    kept.add("a", 5)
    write_table(pd.concat([read_ratings(path), pd.DataFrame([{"cutout_id": "b", "rating": 2}])]).fillna(""), path)
    kept.add("c", 1)
    assert read_ratings(path)["cutout_id"].tolist() == ["a", "b", "c"]
    assert kept.of("b") == 2


@pytest.mark.parametrize("rating", [0, 6])
def test_other_ratings_are_refused(tmp_path, rating):
    with pytest.raises(RadiosslError, match="from 1 to 5"):
        KeptRatings(tmp_path / "ratings.csv").add("a", rating)


def test_a_ratings_file_that_is_none_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("something,else\n1,2\n")
    with pytest.raises(RadiosslError, match="no column 'cutout_id'"):
        KeptRatings(path)
    assert path.read_text() == "something,else\n1,2\n"


def test_the_last_label_of_a_source_counts_and_an_empty_one_goes(tmp_path):
    path = tmp_path / "labels.csv"
    kept = KeptLabels(path)
    kept.add(["a", "b", "c"], "FRI")
    kept.add(["b"], " FRII ")
    assert KeptLabels(path).counts() == {"FRI": 2, "FRII": 1}
    kept.add(["a"], "")
    assert KeptLabels(path).labels.to_dict() == {"c": "FRI", "b": "FRII"}
    assert pd.read_csv(path).columns.tolist() == ["cutout_id", "label"]


def test_labels_of_control_characters_or_any_length_are_refused(tmp_path):
    kept = KeptLabels(tmp_path / "labels.csv")
    for label in ("a\nb", "x" * 61):
        with pytest.raises(RadiosslError, match="printable"):
            kept.add(["a"], label)


def test_a_labels_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("id,class\n")
    with pytest.raises(RadiosslError, match="were expected"):
        KeptLabels(tmp_path / "labels.csv")
