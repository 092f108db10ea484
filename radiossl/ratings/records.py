"""What people think of objects: ratings from 1 (dull) to 5 (remarkable), in our CSV and in that of Astronomaly.

Astronomaly (Lochner & Bassett 2021, arXiv:2010.11202, https://github.com/MichelleLochner/astronomaly) keeps its anomaly
scores and a person's labels in one file, ``ml_scores.csv``: a first column without a name, the object's id; ``score``,
which its pipelines bring to 0 ... 5; ``human_label``, a whole number from 0 to 5, or -1 for an object that has not been
labelled; and ``trained_score`` once it has been trained (its frontend/interface.py, scripts/galaxy_zoo_example.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.io.csv_cells import csv_format, guarded, guarded_frame, unguarded_frame
from radiossl.io.errors import RadiosslError, check_columns, counted, reason_of
from radiossl.io.files import PathLike, atomic_file, existing_file, path_list
from radiossl.io.replacing import check_replaceable

LOWEST, HIGHEST = 1, 5
#: In place of a rating: takes back the last one that the same person gave the object.
WITHDRAWN = "-"
#: The columns of a ratings file; the first two must be there.
COLUMNS = ("cutout_id", "rating", "who", "when", "round")
#: What Astronomaly writes for an object that has no label, and the upper end of its scores.
UNLABELLED, ASTRONOMALY_HIGHEST = -1, 5


@dataclass(frozen=True)
class AstronomalyTable:
    """What a file of Astronomaly's holds."""

    scores: pd.DataFrame  # ``cutout_id`` and ``score``, as `radiossl rate` takes starting scores
    ratings: pd.DataFrame  # columns `COLUMNS`, one row for each labelled object
    raised: int  # how many labels of 0, which is below our scale, became 1


def read_ratings(*paths: PathLike) -> pd.DataFrame:
    """Read ratings from CSV files, the later ones last.

    They have columns ``cutout_id`` and ``rating``, and ``who``, ``when`` and ``round`` if you like; other columns are
    passed over, and so are rows without a rating, so that half-filled proposals can be given. Returns columns
    `COLUMNS`; ``rating`` is int64, all others are text, empty if not known. A row without an id, or with a rating that
    is no whole number from 1 to 5, is named with the file and its line.
    """
    nothing = pd.DataFrame(columns=list(COLUMNS), dtype=str)
    tables = [read_table(existing_file(path)) for path in paths]
    ratings = without_withdrawn(pd.concat([nothing, *tables], ignore_index=True))
    return ratings.assign(rating=ratings["rating"].astype(np.int64))


def without_withdrawn(ratings: pd.DataFrame) -> pd.DataFrame:
    """Leave out ratings that were withdrawn, and the rows that withdraw them."""
    withdrawn = ratings["rating"] == WITHDRAWN
    if not withdrawn.any():
        return ratings
    kept: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place, (name, who, gone) in enumerate(zip(ratings["cutout_id"], ratings["who"], withdrawn, strict=True)):
        given = kept[name, who]
        if not gone:
            given.append(place)
        elif given:
            given.pop()
    return ratings.iloc[sorted(place for given in kept.values() for place in given)].reset_index(drop=True)


def last_ratings(ratings: pd.DataFrame) -> pd.Series:
    """Return the rating that counts, the last one, of every rated object: indexed by cutout id, float64."""
    last = ratings.drop_duplicates("cutout_id", keep="last")
    return pd.Series(last["rating"].to_numpy(dtype=np.float64), index=last["cutout_id"].to_numpy(), name="rating")


def read_scores(path: PathLike, ids: Sequence[str] | NDArray[np.str_]) -> NDArray[np.float64]:
    """Read the starting scores of these objects, shape (n,), from a CSV such as anomalies.csv.

    It has columns ``cutout_id`` and ``score``, finite and higher for what is more anomalous, for each of the objects
    once; other columns and objects are passed over.
    """
    everything = read_all_scores(path)
    found = everything.reindex([str(name) for name in ids])
    missing = found.index[found.isna()]
    if len(missing):
        some = f"{len(missing)} of {counted(len(found), 'object')}, such as {missing[0]!r}"
        raise RadiosslError(f"{path}: has no score for {some}; give scores of the same objects")
    return found.to_numpy()


def read_all_scores(path: PathLike) -> pd.Series:
    """Read the scores of all objects of a CSV, indexed by their ids; see `read_scores` for the file and the errors."""
    path = existing_file(path)
    frame = read_csv_texts(path, ("cutout_id", "score"))
    scores = pd.to_numeric(frame["score"], errors="coerce")
    _refuse(path, frame, ~np.isfinite(scores), "score", "a finite number was expected")
    _refuse(path, frame, frame["cutout_id"].duplicated(), "cutout_id", "has a score already; one for each was expected")
    return pd.Series(scores.to_numpy(dtype=np.float64), index=frame["cutout_id"].to_numpy(), name="score")


def read_astronomaly(path: PathLike) -> AstronomalyTable:
    """Read Astronomaly's ``ml_scores.csv``; what is wrong with it is named with the row."""
    path = existing_file(path)
    frame = read_csv_texts(path, ("score", "human_label"))
    first = frame.columns[0]
    if first in ("score", "human_label"):
        raise RadiosslError(f"{path}: its first column is {first!r}; the ids of the objects were expected there")
    frame = frame.rename(columns={first: "cutout_id"})
    scores = pd.to_numeric(frame["score"], errors="coerce")
    labels = pd.to_numeric(frame["human_label"], errors="coerce")
    _refuse(path, frame, frame["cutout_id"].duplicated(), "cutout_id", "occurs more than once")
    _refuse(path, frame, ~np.isfinite(scores), "score", "a finite number was expected")
    expected = f"a whole number from 0 to {ASTRONOMALY_HIGHEST}, or {UNLABELLED} for none, was expected"
    valid = labels.between(UNLABELLED, ASTRONOMALY_HIGHEST) & (labels == labels.round())
    _refuse(path, frame, ~valid, "human_label", expected)
    labelled = labels != UNLABELLED
    ratings = pd.DataFrame("", index=frame.index[labelled], columns=list(COLUMNS))
    ratings["cutout_id"] = frame.loc[labelled, "cutout_id"]
    ratings["rating"] = labels[labelled].clip(lower=LOWEST).astype(np.int64)
    ratings["who"] = "astronomaly"
    starting = pd.DataFrame({"cutout_id": frame["cutout_id"], "score": scores})
    return AstronomalyTable(starting, ratings.reset_index(drop=True), int((labels == 0).sum()))


def astronomaly_table(
    ids: NDArray[np.str_], scores: NDArray[np.floating], ratings: pd.Series, trained: NDArray[np.floating] | None = None
) -> pd.DataFrame:
    """Return the table that Astronomaly keeps as ``ml_scores.csv``; write it with its index, which is the id.

    Starting scores, shape (n,), are brought to 0 ... 5, as its `ScoreConverter` does, and come as ``score``, the
    highest first; ratings by id, as `last_ratings` returns them, as ``human_label`` (-1 without one); and scores after
    training, if given, as ``trained_score``.
    """
    columns = {
        "score": ASTRONOMALY_HIGHEST * unit_range(scores),
        "human_label": ratings.reindex(ids).fillna(UNLABELLED).to_numpy(dtype=np.int64),
    }
    if trained is not None:
        columns["trained_score"] = np.asarray(trained, dtype=np.float64)
    return pd.DataFrame(columns, index=ids).sort_values("score", ascending=False, kind="stable")


def write_astronomaly(
    out: PathLike, scores: PathLike, ratings: Sequence[PathLike] = (), ranked: PathLike | None = None
) -> pd.DataFrame:
    """Write scores and ratings as Astronomaly's ``ml_scores.csv``; return its table, see `astronomaly_table`.

    `scores` is a CSV with ``cutout_id`` and ``score``, `ratings` are ratings files; scores after training come from
    `ranked`, the ranked.csv of `radiossl rate rank`.
    """
    starting = read_all_scores(scores)
    ids = starting.index.to_numpy()
    trained = None if ranked is None else read_scores(ranked, ids)
    table = astronomaly_table(ids, starting.to_numpy(), last_ratings(read_ratings(*path_list(ratings))), trained)
    check_replaceable(out, r'\A[^,]*,"?score"?,"?human_label', "ml_scores.csv")
    with atomic_file(out) as temporary:
        guarded_frame(table).set_index(table.index.map(guarded)).to_csv(temporary)
    return table


def unit_range(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Bring scores linearly to 0 ... 1; equal ones become 1, so that a list without an opinion stays visible."""
    scores = np.asarray(scores, dtype=np.float64)
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.ones_like(scores)


def read_table(path: Path) -> pd.DataFrame:
    """Read the rows of a ratings file, withdrawals among them; all columns are text. Errors as `read_ratings`."""
    frame = read_csv_texts(path, ("cutout_id", "rating"))
    frame = frame.reindex(columns=list(COLUMNS), fill_value="")
    frame = frame[frame["rating"] != ""]
    numbers = pd.to_numeric(frame["rating"], errors="coerce")
    _refuse(path, frame, frame["cutout_id"] == "", "cutout_id", "an id was expected")
    withdrawn = frame["rating"] == WITHDRAWN
    valid = withdrawn | numbers.between(LOWEST, HIGHEST) & (numbers == numbers.round())
    expected = f"a whole number from {LOWEST} (dull) to {HIGHEST} (remarkable), or nothing, was expected"
    _refuse(path, frame, ~valid, "rating", expected)
    whole = numbers.fillna(0).astype(np.int64).astype(str)  # "5.0" is 5
    return frame.assign(rating=whole.where(~withdrawn, WITHDRAWN))


def read_csv_texts(path: Path, needed: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV with some columns as text; the index is the number of the row in the file, 1 for the heading."""
    form = csv_format(path, needed)
    try:
        # Blank lines stay in, so that the row that a message names is the one that an editor shows.
        # Without a heading, for pandas takes the first cells of rows that are longer than it for an index.
        frame = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False, **form)
    except (ValueError, pd.errors.ParserError) as error:
        raise RadiosslError(f"{path}: not a readable CSV file ({reason_of(error)})") from None
    names = frame.iloc[0].fillna("").str.strip()
    if len(twice := names[names.duplicated() & (names != "")]):
        raise RadiosslError(f"{path}: two columns are called {twice.iloc[0]!r}; leave one out or rename it")
    check_columns(needed, names, path)
    frame = frame.iloc[1:].set_axis(list(names), axis=1).loc[:, (~names.duplicated()).to_numpy()]
    frame.index = pd.RangeIndex(2, len(frame) + 2)
    frame = unguarded_frame(frame.apply(lambda column: column.fillna("").str.strip()))
    if form["sep"] == ";":  # where a comma is the decimal mark
        for name in set(needed) - {"cutout_id"}:
            frame[name] = frame[name].str.replace(",", ".")
    return frame[(frame != "").any(axis=1)]


def _refuse(path: Path, frame: pd.DataFrame, bad: pd.Series, column: str, expected: str) -> None:
    if bad.any():
        row = int(bad.idxmax())
        raise RadiosslError(f"{path}, row {row}: {column} {frame.loc[row, column]!r}: {expected}")
