"""Numbers that users give: one line for whatever is none, wherever it is given."""

import re

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

import radiossl
from radiossl import Augmentation, Catalogue, Cutout, Preprocessing, RadiosslError
from radiossl.datasets.merge_entries import ParentCatalogue
from radiossl.io.errors import check_number
from radiossl.pretraining.recipe import Optimizer
from radiossl.store.cutout import Beam
from radiossl.survey.catalogue import read_catalogue
from radiossl.survey.simulation.spec import SurveySpec

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.5), np.int64(1), 10**400])
def test_numbers_are_taken(value):
    check_number("x", value, 0)


@pytest.mark.parametrize(
    ("value", "limits", "expected"),
    [
        (NAN, {}, "nan: expected a number"),
        (INF, {}, "inf: expected a number"),
        ("5", {"low": 1, "whole": True}, "'5': expected a whole number of at least 1"),
        (True, {"low": 0, "high": 1}, "True: expected a number of at least 0 and at most 1"),
        (np.True_, {}, "np.True_: expected a number"),
        (None, {}, "None: expected a number"),
        (1.0, {"low": 1, "whole": True}, "1.0: expected a whole number of at least 1"),
        (0, {"low": 0, "above": True}, "0: expected a number above 0"),
        (1, {"low": 0, "high": 1, "below": True}, "1: expected a number of at least 0 and below 1"),
        (2, {"high": 1}, "2: expected a number of at most 1"),
    ],
)
def test_what_is_no_number_within_the_limits_is_refused(value, limits, expected):
    with pytest.raises(RadiosslError, match=f"^--x {re.escape(expected)}$"):
        check_number("--x", value, **limits)


@pytest.fixture(scope="module")
def parents():
    frame = pd.DataFrame({"id": ["a", "b"], "ra": [10.0, 10.01], "dec": [0.0, 0.0]})
    return [ParentCatalogue(name, read_catalogue(frame)) for name in ("one", "two")]


@pytest.mark.parametrize("value", [NAN, INF, -1, True, "5"])
def test_no_number_of_a_merge_joins_everything(parents, value):
    with pytest.raises(RadiosslError, match="--same-radius"):
        radiossl.merge_catalogues(parents, same_arcsec=value)
    with pytest.raises(RadiosslError, match=r"a radius of .* arcsec: expected an angle"):
        radiossl.merge_catalogues(parents, value)


@pytest.mark.parametrize("value", [NAN, -1, 0, 1.5, True, "5"])
def test_no_batch_size_gives_features_of_nothing(small_store, tiny_backbone, value):
    for call in (radiossl.embed, lambda backbone, store, batch_size: backbone.features(store, batch_size=batch_size)):
        with pytest.raises(RadiosslError, match=r"batch.size .*: expected a whole number of at least 1"):
            call(tiny_backbone, small_store, batch_size=value)


@pytest.mark.parametrize("value", [NAN, INF, -1, "x", True])
def test_constructors_refuse_what_is_no_number(value):
    for name in ("pixel_scale_arcsec", "rms_jybeam", "beam_minor_arcsec", "tiles"):
        with pytest.raises(RadiosslError, match=name):
            SurveySpec(**{name: value})
    with pytest.raises(RadiosslError, match="beam"):
        Beam(value, value)
    if value != -1 and value == value:
        with pytest.raises(RadiosslError, match="beam: pa_deg"):
            Beam(5.0, 4.0, value)
    if isinstance(value, str):
        with pytest.raises(RadiosslError, match="cutout a: ra_deg 'x': expected a number"):
            Cutout("a", np.zeros((4, 4), np.float32), "m", value, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("schema", "key", "value"),
    [
        (Optimizer, "lr", INF),
        (Optimizer, "lr", True),
        (Preprocessing, "floor_sigma", INF),
        (Preprocessing, "mean", NAN),
        (Augmentation, "log_gain", INF),
        (Augmentation, "blur_sigma", (-1, 1)),
        (Augmentation, "blur_sigma", (NAN, 1)),
        (Augmentation, "noise_sigma", (2, 1)),
        (Augmentation, "threshold_percentile", (40, 160)),
        (Augmentation, "crop_side", (0.5, 1.5)),
        (Augmentation, "crop_area", (0, 1)),
        (Augmentation, "flips", (0.5, 1.5)),
    ],
)
def test_settings_hold_finite_numbers_in_order(schema, key, value):
    with pytest.raises(ValidationError, match=key):
        schema(**{key: value})


def test_ids_in_the_index_of_a_data_frame_are_the_ids():
    frame = pd.DataFrame({"id": ["x", "y"], "ra": [1.0, 2.0], "dec": [1.0, 2.0]}).set_index("id")
    found = read_catalogue(frame)
    assert isinstance(found, Catalogue)
    assert found.ids.tolist() == ["x", "y"]
