"""Labels reach their file at once."""

from __future__ import annotations

import pandas as pd
import pytest

from radiossl.explorer.kept import KeptLabels
from radiossl.io.errors import RadiosslError


def test_the_last_label_of_a_source_counts_and_an_empty_one_goes(tmp_path):
    path = tmp_path / "labels.csv"
    kept = KeptLabels(path)
    kept.add(["a", "b", "c"], "FRI")
    kept.add(["b"], " FRII ")
    assert KeptLabels(path).counts() == {"FRI": 2, "FRII": 1}
    kept.add(["a"], "")
    assert KeptLabels(path).labels.to_dict() == {"c": "FRI", "b": "FRII"}
    assert pd.read_csv(path).columns.tolist() == ["cutout_id", "label"]


@pytest.mark.parametrize(("mark", "encoding"), [(";", "utf-8"), ("\t", "utf-16")])
def test_labels_that_a_spreadsheet_saved_are_kept(tmp_path, mark, encoding):
    path = tmp_path / "labels.csv"
    path.write_text(f"cutout_id{mark}label\né, 1{mark}FRI\n", encoding=encoding)
    KeptLabels(path).add(["b"], "FRII")
    assert pd.read_csv(path).to_dict("list") == {"cutout_id": ["é, 1", "b"], "label": ["FRI", "FRII"]}


def test_labels_of_control_characters_or_any_length_are_refused(tmp_path):
    kept = KeptLabels(tmp_path / "labels.csv")
    for label in ("a\nb", "x" * 61):
        with pytest.raises(RadiosslError, match="printable"):
            kept.add(["a"], label)


def test_a_labels_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("id,class\n")
    with pytest.raises(RadiosslError, match="were expected"):
        KeptLabels(tmp_path / "labels.csv")
