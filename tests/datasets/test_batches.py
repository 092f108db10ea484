"""Published batches are read; pickles that ask for anything else are refused without running."""

import os
import pickle

import numpy as np
import pytest

from radiossl import RadiosslError
from radiossl.datasets.batches import batch_columns, batch_image, read_batch


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def written(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_batch_of_arrays_text_and_numbers_is_read(tmp_path, protocol):
    data = [np.arange(4, dtype=np.uint8).reshape(2, 2), np.zeros((2, 2), np.uint8)]
    content = {"batch_label": "b", "labels": [0, np.int64(1)], "data": data, "filenames": [np.str_("a"), "b"]}
    batch = read_batch(written(tmp_path / "data_batch_1", content, protocol))
    assert batch["labels"] == [0, 1]
    assert batch["filenames"] == ["a", "b"]
    np.testing.assert_array_equal(batch["data"][0], data[0])


@pytest.mark.parametrize("function", [os.system, eval, exec, open, __import__, getattr, np.load, np.fromfile])
def test_a_pickle_that_calls_something_is_refused(tmp_path, function, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "evil", {"labels": Call(function, "touch pwned")})
    with pytest.raises(RadiosslError, match=r"evil: not a published batch, it is refused .*asks for"):
        read_batch(path)
    assert not (tmp_path / "pwned").exists()


def test_a_pickle_whose_array_hides_an_object_is_refused(tmp_path):
    path = written(tmp_path / "evil", {"data": np.array([Call(os.getcwd)], dtype=object)})
    with pytest.raises(RadiosslError, match="refused"):
        read_batch(path)


def test_damaged_and_other_files_are_named(tmp_path):
    good = pickle.dumps({"labels": np.zeros(100)}, protocol=4)
    (tmp_path / "short").write_bytes(good[:-40])
    (tmp_path / "text").write_text("not a pickle")
    written(tmp_path / "list", [1, 2])
    for name, said in [("short", "short: "), ("text", "text: "), ("list", "holds a list"), ("none", "no such file")]:
        with pytest.raises(RadiosslError, match=said):
            read_batch(tmp_path / name)


def test_columns_must_be_there_and_of_one_length(tmp_path):
    batch = {"labels": [1, 2], "data": [3]}
    with pytest.raises(RadiosslError, match="no column 'filenames'"):
        batch_columns("b", batch, "labels", "filenames")
    with pytest.raises(RadiosslError, match="labels 2, data 1"):
        batch_columns("b", batch, "labels", "data")
    assert batch_columns("b", {"labels": np.arange(2)}, "labels") == [[0, 1]]


def test_images_may_be_flat_or_square():
    image = np.arange(9, dtype=np.uint8)
    np.testing.assert_array_equal(batch_image("b", image, 3, 0), image.reshape(3, 3))
    with pytest.raises(RadiosslError, match="b: image 7 has 8 values"):
        batch_image("b", image[:8], 3, 7)
    with pytest.raises(RadiosslError, match="image 7"):
        batch_image("b", image.astype("S1"), 3, 7)
