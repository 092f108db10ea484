"""Labels from a column, and the groups that a user makes of them."""

import re
import warnings

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from radiossl import RadiosslError
from radiossl.evaluation.labels import _class_of, read_labels
from radiossl.io.values import as_texts

CODES = np.array([100.0, np.nan, 210.0, 102.0, 300.0, 100.0])


def test_every_value_is_a_class():
    labels = read_labels(np.array(["b", None, "a", "b"], dtype=object), "kind")
    assert labels.rows.tolist() == [0, 2, 3]
    assert labels.names.tolist() == ["b", "a", "b"]
    assert labels.classes == ["a", "b"]


def test_whole_numbers_are_written_without_decimals():
    """A missing value turns a column of integers into floats."""
    assert read_labels(CODES, "code").names.tolist() == ["100", "210", "102", "300", "100"]
    assert read_labels(np.array([1, 2]), "code").names.tolist() == ["1", "2"]
    assert read_labels(np.array([0.5, 2.0], np.float32), "code").names.tolist() == ["0.5", "2"]


def test_groups():
    labels = read_labels(CODES, "code", ["FRI=100,102", "FRII= 210"])
    assert labels.rows.tolist() == [0, 2, 3, 5]
    assert labels.names.tolist() == ["FRI", "FRII", "FRI", "FRI"]


def test_one_group_may_be_a_text():
    assert _class_of("A=1,2") == _class_of(["A=1,2"]) == {"1": "A", "2": "A"}


def test_a_group_may_be_given_in_pieces():
    whole, pieces = ["FRI=100,102", "FRII=210"], ["FRI=100", "FRI=102", "FRII=210"]
    assert read_labels(CODES, "c", pieces).names.tolist() == read_labels(CODES, "c", whole).names.tolist()


@pytest.mark.parametrize("group", ["FRI", "=100", "FRI=", ""])
def test_malformed_groups_are_refused(group):
    with pytest.raises(RadiosslError, match=r"--group .*expected NAME=VALUE"):
        read_labels(CODES, "code", [group])


def test_a_value_that_does_not_occur_is_refused():
    with pytest.raises(
        RadiosslError, match=r"'999' does not occur in column 'code'; its values are 100, 102, 210, 300"
    ):
        read_labels(CODES, "code", ["FRI=100,999", "FRII=210"])


def test_a_value_in_two_groups_is_refused():
    with pytest.raises(RadiosslError, match=r"--group FRII=210,102: '102' is in group FRI already"):
        read_labels(CODES, "code", ["FRI=100,102", "FRII=210,102"])


@pytest.mark.parametrize(
    ("values", "groups"),
    [(["a", "a"], []), ([None, None], []), (["a", "b"], ["X=a"]), (["a", "b"], ["X=a,b"])],
)
def test_fewer_than_two_classes_are_refused(values, groups):
    with pytest.raises(RadiosslError, match="at least two are needed"):
        read_labels(np.array(values, dtype=object), "kind", groups)


def test_many_values_are_not_all_listed():
    with pytest.raises(RadiosslError) as caught:
        read_labels(np.arange(1000), "number", ["X=-1", "Y=2"])
    assert len(str(caught.value)) < 300


def test_labels_are_read_alike_however_they_were_written():
    """Padding, Unicode forms and bytes make no classes of their own; masked, empty and blank values have none."""
    composed, decomposed = "Doppelkn\u00e4uel", "Doppelkna\u0308uel"
    values = np.array(["FRI", "FRI ", b"FRI", b"FRI\0\0", composed, decomposed, "", "  ", None, np.nan], dtype=object)
    assert as_texts(values).tolist() == ["FRI"] * 4 + [composed] * 2 + [None] * 4
    labels = read_labels(values, "kind")
    assert (labels.rows.tolist(), labels.classes) == ([0, 1, 2, 3, 4, 5], [composed, "FRI"])
    assert as_texts(np.array(["caf\u00e9".encode("latin-1")], dtype=object)).tolist() == ["caf\u00e9"]
    assert as_texts(np.ma.masked_array(["a", "b"], [False, True])).tolist() == ["a", None]
    assert as_texts(np.ma.masked_array([100, 999], [False, True])).tolist() == ["100", None]
    with pytest.raises(RadiosslError, match="one value in each row"):
        read_labels(np.array([[1], [2]]), "kind")


def test_groups_are_read_like_the_column():
    composed, decomposed = "kn\u00e4uel", "kna\u0308uel"
    values = np.array([b"FRI ", composed, "FRII"], dtype=object)
    names = read_labels(values, "kind", ["one = FRI ,", f"two={decomposed}, FRII"]).names
    assert names.tolist() == ["one", "two", "two"]


@pytest.mark.parametrize("form", ["fits", "votable"])
def test_masked_text_of_a_table_has_no_label(tmp_path, form):
    column = MaskedColumn(["FRI", "FRII ", "", "FRI", "FRII", ""], mask=[False, False, True, False, False, True])
    Table({"label": column}).write(tmp_path / "t", format=form)
    labels = read_labels(Table.read(tmp_path / "t", format=form)["label"].data, "label")
    assert labels.classes == ["FRI", "FRII"]
    assert labels.rows.tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["1", "2", "Unknown"], "'Unknown'"),
        (["FRI", "FRII", "?"], "'?'"),
        ([1, 0, -1], "'-1'"),
        ([1.0, 0.0, -99.0], "'-99'"),
    ],
)
def test_what_is_written_for_no_label_is_said(values, said):
    with pytest.warns(UserWarning, match=rf"column 'kind': {re.escape(said)} is taken for a class \(2 rows\)"):
        read_labels(np.array(values * 2), "kind")


def test_negative_numbers_of_a_scale_are_classes(recwarn):
    read_labels(np.array([-2, -1, 0, 1, 2]), "kind")
    read_labels(np.array(["-1", "A", "B"]), "kind")
    assert not recwarn.list


def test_a_class_that_may_be_a_missing_value_is_said():
    with pytest.warns(UserWarning, match=r"column 'kind': 'None' is taken for a class \(2 rows\)"):
        labels = read_labels(np.array(["FRI", "None", "FRI", "None", None], dtype=object), "kind")
    assert labels.classes == ["FRI", "None"]


@pytest.mark.parametrize("pair", [("STAR", "star"), ("FR II", "FRII"), ("class-1", "class 1"), ("2", "2.0")])
def test_two_spellings_of_a_class_are_announced(pair):
    values = np.array([*pair, "other", "other"])
    with pytest.warns(UserWarning, match="are taken for two classes; if they are one, join them: --group"):
        assert len(read_labels(values, "kind").classes) == 3


def test_classes_that_look_alike_but_differ_are_left_in_peace():
    values = np.array(["FRI", "FRII", "1", "-1", "10", "1.5", "15", "1-2", "12", "1 2"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_labels(values, "kind")
