"""What is said of a test set: what is refused, and what follows from it."""

import numpy as np
import pytest

from radiossl import RadiosslError
from radiossl.evaluation.calibration import Predictions


def predictions(**changes):
    parts = {
        "classes": ["FRI", "FRII"],
        "truth": np.array([0, 1, 1]),
        "probabilities": np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]),
        "ids": np.array(["a", "b", "c"]),
    }
    return Predictions(**parts | changes)


def test_the_most_probable_class_is_predicted_and_the_first_of_equals():
    assert predictions().predicted.tolist() == [0, 0, 1]
    assert predictions().correct.tolist() == [True, False, True]
    assert len(predictions()) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["FRII", "FRI"]}, "sorted and different"),
        ({"classes": ["FRI", "FRI"]}, "sorted and different"),
        ({"probabilities": np.ones((3, 1))}, r"shape \(3, 2\), not \(3, 1\)"),
        ({"truth": np.array([0, 1, 2])}, "from 0 to 1"),
        ({"truth": np.array([0, 1, -1])}, "from 0 to 1"),
        ({"truth": np.array([0.0, 1.0, 1.0])}, "numbers of classes"),
        ({"ids": np.array(["a"])}, r"shape \(n,\)"),
        ({"probabilities": np.array([[0.9, 0.1], [0.5, 0.6], [0.2, 0.8]])}, "of object b"),
        ({"probabilities": np.array([[0.9, 0.1], [0.5, 0.5], [np.nan, 0.8]])}, "of object c"),
        ({"probabilities": np.array([[1.1, -0.1], [0.5, 0.5], [0.2, 0.8]])}, "of object a"),
        ({"truth": np.empty(0, int), "probabilities": np.empty((0, 2)), "ids": np.empty(0)}, "no object"),
    ],
)
def test_predictions_that_cannot_be_are_refused(changes, message):
    with pytest.raises(RadiosslError, match=message):
        predictions(**changes)


def test_sums_may_miss_one_by_a_rounding_error():
    predictions(probabilities=np.array([[0.9, 0.1 + 9e-7], [0.5, 0.5], [0.2, 0.8]]))
