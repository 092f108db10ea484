"""How far several people agree."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from radiossl.ratings.ranking import agreement


def rated(**people):
    rows = [(f"s{number}", rating, who) for who, ratings in people.items() for number, rating in enumerate(ratings)]
    return pd.DataFrame(rows, columns=["cutout_id", "rating", "who"])


def test_full_agreement_and_none():
    same = agreement(rated(ada=[1, 3, 5], bob=[1, 3, 5]))
    assert same == {"people": 2, "pairs": 3, "within_one": 1.0, "kappa": 1.0}
    assert agreement(rated(ada=[1, 5], bob=[5, 1]))["kappa"] == pytest.approx(-1.0)
    alone = agreement(rated(ada=[1, 2]))
    assert (alone["people"], alone["pairs"]) == (1, 0)
    assert math.isnan(alone["within_one"])


def test_kappa_is_that_of_scikit_learn_where_both_use_the_scale_alike():
    ada, bob = [1, 2, 3, 4, 5, 2, 4], [2, 1, 3, 5, 4, 4, 2]
    found = agreement(rated(ada=ada, bob=bob))
    assert found["kappa"] == pytest.approx(cohen_kappa_score(ada, bob, weights="quadratic"))
    assert found["within_one"] == pytest.approx(5 / 7)


def test_the_last_rating_of_each_person_counts():
    changed = pd.concat([rated(ada=[1], bob=[5]), rated(ada=[5])], ignore_index=True)
    assert agreement(changed)["within_one"] == 1.0
