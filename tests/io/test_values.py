"""One reading of names, labels and missing values."""

import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from radiossl.io.values import as_text, as_texts, clean_texts, numbers, typed, warn_of_marker


def column(*texts):
    return pa.chunked_array([pa.array(texts, pa.string())])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("FRI ", "FRI"),
        ("FRI \0\0", "FRI"),
        ("\ufeffFRI\u00a0\u200b", "FRI"),
        (Decimal("2.00"), "2"),
        (b"FRI", "FRI"),
        (b"M\xe4dler", "Mädler"),
        ("Ma\u0308dler", "M\u00e4dler"),
        (np.str_("a"), "a"),
        (2.0, "2"),
        (2.5, "2.5"),
        (np.float32(3), "3"),
        (np.int16(7), "7"),
        (True, "True"),
        ("NA", "NA"),
        ("007", "007"),
        ("", None),
        ("  ", None),
        ("nan", None),
        ("--", None),
        (None, None),
        (float("nan"), None),
        (pd.NaT, None),
        (pd.NA, None),
        (np.ma.masked, None),
    ],
)
def test_a_label_is_the_same_text_however_it_is_stored(value, text):
    assert as_text(value) == text
    assert as_texts([value, value]).tolist() == [text, text]


def test_labels_of_every_kind_of_column():
    expected = ["FRI", None]
    assert as_texts(np.ma.array(["FRI", "x"], mask=[False, True])).tolist() == expected
    assert as_texts(pd.Series(["FRI", None])).tolist() == expected
    assert as_texts(pd.array(["FRI", None], dtype="string")).tolist() == expected
    assert as_texts(pa.array(["FRI ", ""])).tolist() == expected
    assert as_texts(pa.array(["\ufeffFRI \0", "\u200b"])).tolist() == expected
    assert as_texts(pa.array(["FRI", None]).dictionary_encode()).tolist() == expected
    assert as_texts(pd.Categorical(["FRI", None])).tolist() == expected
    assert as_texts(pa.array([Decimal("7.0"), None])).tolist() == ["7", None]
    assert as_texts(pa.chunked_array([["FRI"], [None]])).tolist() == expected
    assert as_texts(pd.array([1, None], dtype="Int64")).tolist() == ["1", None]


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["1", "", "NA"], "int64", [1, None, None]),
        (["+1", "-2"], "int64", [1, -2]),
        (["1", "2.5", "nan"], "double", [1, 2.5, None]),
        (["1D-3", ".5"], "double", [0.001, 0.5]),
        (["05", "12.5"], "double", [5, 12.5]),
        (["inf", "1"], "double", [np.inf, 1]),
        (["1E-05", "2E+003"], "double", [1e-5, 2000]),
        (["1237668298218242241"], "int64", [1237668298218242241]),
        (["True", "false"], "bool", [True, False]),
        (["00123", "45000"], "string", ["00123", "45000"]),
        (["1E0657", "3"], "string", ["1E0657", "3"]),
        (["1E0102", "3"], "string", ["1E0102", "3"]),
        (["1e400", "3"], "string", ["1e400", "3"]),
        (["12345678901234567890"], "string", ["12345678901234567890"]),
        (["123456789012345678", "1.5"], "string", ["123456789012345678", "1.5"]),
        (["NA", "3C 273"], "string", ["NA", "3C 273"]),
        (["NA"], "string", ["NA"]),
        (["2020-01-01", ""], "string", ["2020-01-01", None]),
    ],
)
def test_text_becomes_numbers_only_where_nothing_is_lost(texts, kind, values):
    result = typed(clean_texts(column(*texts)))
    assert str(result.type) == kind
    assert result.to_pylist() == values


def test_numbers_are_found_in_text_too():
    np.testing.assert_array_equal(numbers(column("007", " 1.5 ", "NA", None)), [7, 1.5, np.nan, np.nan])
    np.testing.assert_array_equal(numbers(pa.chunked_array([[1, None]])), [1, np.nan])
    assert numbers(column("1", "east")) is None
    assert numbers(pa.chunked_array([[True]])) is None


@pytest.mark.parametrize(
    ("values", "marker"),
    [
        ([17.0, 18.0, -9999, 19.0, -9999], "-9999"),
        ([0.1, 99.99, 0.3, 99.99, 0.2], "99.99"),
        ([10.0, 999, 999, np.nan, 12.0, 11.0], "999"),
        ([17.0, 18.0, -9999, 19.0, 20.0], None),  # once: a number like others
        ([90.0, 99, 99, 95.0, 93.0], None),  # among the others
        ([1.0, 50.0, 50.0, 2.0, 1.5], None),
        ([1, 1, 1, 9, 9], None),  # a single nine is a number
        ([np.nan, np.nan], None),
        ([-999, -999], None),
    ],
)
def test_numbers_that_seem_to_mean_missing_are_announced(values, marker):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warn_of_marker(np.array(values), "u", "give --missing {}")
    assert len(seen) == (marker is not None)
    if marker:
        assert f"column 'u': {marker} occurs" in str(seen[0].message)
        assert str(seen[0].message).endswith(f"give --missing {marker}")
