"""Ratings reach their file at once, and none that was saved is lost, whoever else writes to it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest

from radiossl.io.csv_cells import write_table
from radiossl.io.errors import RadiosslError
from radiossl.ratings.journal import RatingsFile, add_ratings
from radiossl.ratings.records import last_ratings, read_ratings


def test_every_rating_is_in_the_file_at_once(tmp_path):
    path = tmp_path / "ratings.csv"
    kept = RatingsFile(path, "me")
    assert kept.of("a") is None
    assert not path.exists()
    for number, rating in enumerate((5, 1, 3), 1):
        kept.add("a", rating)
        assert len(read_ratings(path)) == number
    assert kept.of("a") == 3
    assert RatingsFile(path).of("a") == 3
    assert set(read_ratings(path)["who"]) == {"me"}
    assert not list(tmp_path.glob(".*"))


def test_what_another_program_wrote_meanwhile_is_kept(tmp_path):
    path = tmp_path / "ratings.csv"
    kept = RatingsFile(path)
    kept.add("a", 5)
    write_table(pd.concat([read_ratings(path), pd.DataFrame([{"cutout_id": "b", "rating": 2}])]).fillna(""), path)
    kept.add("c", 1)
    assert read_ratings(path)["cutout_id"].tolist() == ["a", "b", "c"]
    assert kept.of("b") == 2


@pytest.mark.parametrize("rating", [0, 6])
def test_other_ratings_are_refused(tmp_path, rating):
    with pytest.raises(RadiosslError, match="from 1 to 5"):
        RatingsFile(tmp_path / "ratings.csv").add("a", rating)


def test_a_ratings_file_that_is_none_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("something,else\n1,2\n")
    with pytest.raises(RadiosslError, match="no column 'cutout_id'"):
        RatingsFile(path)
    kept = RatingsFile(tmp_path / "later.csv")
    path.rename(kept.path)
    with pytest.raises(RadiosslError, match="no column 'cutout_id'"):
        kept.add("a", 3)
    assert kept.path.read_text() == "something,else\n1,2\n"


@pytest.mark.parametrize(
    "before",
    [
        "cutout_id,rating\na,2\n",
        "cutout_id,rating,who,when,round\na,2,,,",  # no newline at the end
        'rating,note,cutout_id\r\n2,"x, y",a\r\n',
        "\ufeffcutout_id,rating,who\na,2,me\n",
        "cutout_id;rating;note;who;when;round\r\na;2;x, y;;;\r\n",
        "cutout_id\trating\tnote\r\na\t2\tx, y\r\n".encode("utf-16"),
    ],
)
def test_old_files_and_those_of_an_editor_take_further_ratings(tmp_path, before):
    path = tmp_path / "ratings.csv"
    path.write_bytes(before if isinstance(before, bytes) else before.encode())
    kept = RatingsFile(path, "you")
    assert kept.of("a") == 2
    kept.add('b "b", =1', 4)
    kept.add("c", 5)
    ratings = read_ratings(path)
    assert ratings["cutout_id"].tolist() == ["a", 'b "b", =1', "c"]
    assert ratings["rating"].tolist() == [2, 4, 5]
    assert ratings["who"].tolist()[1:] == ["you", "you"]
    assert "x, y" in path.read_text() or "note" not in str(before)


def test_a_changed_mind_counts(tmp_path):
    kept = RatingsFile(tmp_path / "ratings.csv")
    for rating in (3, 5, 3):
        kept.add("a", rating)
    assert kept.of("a") == 3
    filled = tmp_path / "propose.csv"
    for number, rating in enumerate((3, 5, 3)):
        filled.write_text(f"cutout_id,rating,round\nb,{rating},1\n")
        assert add_ratings(kept.path, filled) == 1, number
    assert last_ratings(read_ratings(kept.path)).to_dict() == {"a": 3.0, "b": 3.0}
    assert add_ratings(kept.path, filled) == 0


def test_a_rating_is_withdrawn_by_the_person_who_gave_it(tmp_path):
    path = tmp_path / "ratings.csv"
    ada, bob = RatingsFile(path, "ada"), RatingsFile(path, "bob")
    ada.add("a", 3)
    bob.add("a", 5)
    ada.add("b", 1)
    assert bob.refresh()
    assert not bob.refresh()
    assert bob.history("a")[["rating", "who"]].to_numpy().tolist() == [[3, "ada"], [5, "bob"]]
    assert bob.undo() == "a"
    assert bob.undo() is None
    assert last_ratings(read_ratings(path)).to_dict() == {"a": 3.0, "b": 1.0}
    ada.add("b", 2)
    assert [ada.undo(), ada.undo(), ada.undo()] == ["b", "b", "a"]
    assert len(read_ratings(path)) == 0
    assert len(path.read_text().splitlines()) == 9  # nothing that was written goes


def test_a_withdrawn_rating_can_be_given_again(tmp_path):
    path, filled = tmp_path / "ratings.csv", tmp_path / "filled.csv"
    filled.write_text("cutout_id,rating,who\na,4,ada\n")
    assert add_ratings(path, filled) == 1
    RatingsFile(path, "ada").undo()
    assert add_ratings(path, filled) == 0  # the very rows were withdrawn
    filled.write_text("cutout_id,rating,who\na,4,ada\n")
    assert add_ratings(path, filled) == 1
    assert last_ratings(read_ratings(path)).to_dict() == {"a": 4.0}


def test_a_full_disk_leaves_whole_rows(tmp_path, monkeypatch):
    kept = RatingsFile(tmp_path / "ratings.csv")
    kept.add("a", 1)
    before = kept.path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises((RadiosslError, OSError)):
            kept.add("b", 2)
    assert kept.path.read_bytes() == before
    kept.add("b", 2)
    assert read_ratings(kept.path)["cutout_id"].tolist() == ["a", "b"]


_ADD = """
import sys
from radiossl.ratings.journal import RatingsFile, add_ratings
path, who = sys.argv[1:]
kept = RatingsFile(path, who)
for number in range(25):
    if who == "explorer":
        kept.add(f"{who}-{number}", 1 + number % 5)
    else:
        filled = f"{path}-{who}.csv"
        open(filled, "w").write(f"cutout_id,rating\\n{who}-{number},{1 + number % 5}\\n")
        assert add_ratings(path, filled, who=who) == 1
"""


@pytest.mark.slow
def test_eight_programs_at_once_lose_nothing(tmp_path):
    path = tmp_path / "ratings.csv"
    writers = [f"add{number}" for number in range(5)] + ["explorer"] * 3
    running = [subprocess.Popen([sys.executable, "-c", _ADD, path, who]) for who in writers]
    assert [process.wait(timeout=120) for process in running] == [0] * 8
    ratings = read_ratings(path)
    assert len(ratings) == 8 * 25
    assert (ratings["who"].value_counts() == [75, 25, 25, 25, 25, 25]).all()


def test_two_explorers_that_began_without_a_file_both_save(tmp_path):
    one, two = (RatingsFile(tmp_path / "ratings.csv", who) for who in ("one", "two"))

    def rate(kept):
        for number in range(30):
            kept.add(f"{kept.who}{number}", 3)

    threads = [threading.Thread(target=rate, args=(kept,)) for kept in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_ratings(one.path)) == 60
    one.refresh()
    two.refresh()
    assert one.last.to_dict() == two.last.to_dict()


def test_a_program_that_is_killed_while_it_adds_leaves_whole_rows(tmp_path):
    path = tmp_path / "ratings.csv"
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", _ADD, path, "explorer"])
        deadline = time.monotonic() + 60
        size = path.stat().st_size if path.exists() else 0
        while not path.exists() or path.stat().st_size == size:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.kill()
        process.wait()
        assert len(read_ratings(path)) == len(path.read_text().splitlines()) - 1
    RatingsFile(path).add("after", 4)
    assert read_ratings(path)["cutout_id"].iloc[-1] == "after"
