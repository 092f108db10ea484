"""Rounds of proposals: what to rate next, as a folder with a table to fill in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import radiossl
from radiossl.datasets.image_sources import Images
from radiossl.features.confounders import size_column
from radiossl.features.feature_file import feature_cutouts
from radiossl.features.table import FeatureTable, seen_field_px
from radiossl.io.csv_cells import write_table
from radiossl.io.errors import check_choice, counted
from radiossl.io.files import PathLike, atomic_folder, one_or_more, path_list, read_json, write_json
from radiossl.io.locks import only_writer
from radiossl.ratings.active_learning import METHODS, Prediction, Proposal, choose, learn, rated_objects, rating_space
from radiossl.ratings.journal import PATIENCE_S
from radiossl.ratings.records import HIGHEST, LOWEST, last_ratings, read_ratings, read_scores
from radiossl.report.html import Report
from radiossl.report.sheets import Picture, cutout_pictures
from radiossl.store.store import CutoutStore


@dataclass(frozen=True)
class RoundSettings:
    """How a round was made: with the files, all that is needed to make it again; see `propose`."""

    features: str  # file, as it was given
    scores: str
    weights_sha256: str
    method: str
    rule: str
    explore: float
    columns: Sequence[str]
    seed: int
    count: int

    def __post_init__(self) -> None:
        # The first round learns nothing, but what it records is what the next ones are made with.
        check_choice("--method", self.method, METHODS)


@dataclass(frozen=True)
class Round:
    """A round of proposals."""

    path: Path  # its propose.csv
    proposed: int
    rated: int  # how many ratings they were chosen by
    columns: tuple[str, ...]  # learnt from beside the features
    new: bool  # False if the same round was there already, and nothing was written


def propose(
    features: PathLike,
    scores: PathLike,
    out: PathLike,
    *,
    ratings: Sequence[PathLike] = (),
    number: int = 25,
    method: str = "linear",
    rule: str = "ucb",
    explore: float = 0.5,
    columns: Sequence[str] | None = None,
    seed: int = 0,
    store: Images | None = None,
) -> Round:
    """Propose objects to rate: add a round with a table to fill in, a gallery and a report to a folder.

    The same call with the same ratings finds its round there and adds none.

    Parameters
    ----------
    features : path-like
        Feature table.
    scores : path-like
        CSV with ``cutout_id`` and ``score``, such as anomalies.csv; higher is more anomalous.
    out : path-like
        Folder of the rounds.
    ratings : sequence of path-like
        Ratings files; of an object rated several times the last one counts.
    number : int
        How many objects to propose.
    method : {'linear', 'gp', 'blend'}
        See `radiossl.ratings.active_learning.learn`.
    rule : {'top', 'ucb', 'ei', 'uncertain', 'random'}
        See `radiossl.ratings.active_learning.acquisition`.
    explore : float
        Fraction that is drawn at random, with any rule.
    columns : sequence of str, optional
        Columns to learn from beside the features; by default the size, if the table has a column for it.
    seed : int
        Random seed.
    store : images, optional
        The pixels, for the gallery; by default those that the features were made of, if they are still there.

    Raises
    ------
    RadiosslError
        If a file is missing or damaged, or belongs to other objects, or nothing is left to rate.

    See Also
    --------
    radiossl.ratings.journal.add_ratings : keep the filled-in ratings.
    radiossl.ratings.ranking.rank : order the list by them.
    """
    table = FeatureTable.read(features)
    cutouts = feature_cutouts(table.metadata, table.columns, store)
    known = read_ratings(*path_list(ratings))
    rated = rated_objects(table, last_ratings(known), read_scores(scores, table.column("cutout_id")))
    columns = learnt_columns(table, columns)
    sha256 = table.metadata.get("weights_sha256", "")
    settings = RoundSettings(str(features), str(scores), sha256, method, rule, explore, columns, seed, number)
    prediction = None
    if len(rated):
        prediction = learn(rating_space(table, columns), rated, method=method, seed=seed)
    proposal = choose(prediction, rated, number, rule=rule, explore=explore, seed=seed)
    frame = _proposed(table, prediction, rated.starting, proposal)
    path, new = write_round(Path(out), frame, known, settings, cutouts, table.metadata)
    return Round(path, len(proposal.rows), len(rated), columns, new)


def learnt_columns(table: FeatureTable, columns: Sequence[str] | None) -> tuple[str, ...]:
    """Return the columns to learn from beside the features: those given, by default the size if there is one."""
    if columns is not None:
        return one_or_more(columns)
    size = size_column(table)
    return () if size is None else (size,)


def write_round(
    out: Path,
    frame: pd.DataFrame,
    ratings: pd.DataFrame,
    settings: RoundSettings,
    store: CutoutStore | None,
    metadata: dict[str, Any],
) -> tuple[Path, bool]:
    """Write the next round of a folder of rounds; return the path of its propose.csv, and whether it is new.

    `frame` has what is proposed. The round is a folder ``round_001``, ``round_002``, ...: propose.csv with an empty
    column ``rating`` to fill in, gallery.png if there is a store, report.html, ratings.csv (what was known) and
    round.json (what was proposed, when, and with what). rounds.csv beside them lists the proposals of all rounds; it is
    made from their round.json each time, so that an interrupted command leaves nothing that the next one does not mend.
    """
    with only_writer(out, wait_s=PATIENCE_S):  # two at once would take the same number
        last = max(_rounds(out), default=0)
        folder = out / f"round_{last:03d}"
        new = not (last and _same_round(folder, frame, ratings, settings))
        if new:
            folder, number = out / f"round_{last + 1:03d}", last + 1
            frame.insert(2, "round", number)
            when = datetime.now(UTC).isoformat(timespec="seconds")
            record = {"round": number, "when": when, "radiossl_version": radiossl.__version__, **asdict(settings)}
            record |= {"ratings_known": len(ratings), "rated_objects": int(ratings["cutout_id"].nunique())}
            known = record["rated_objects"]
            basis = (
                f"by what {counted(known, 'rated object')} taught" if known else "by their scores, nothing is rated yet"
            )
            report = Report(f"What to rate next: round {number}").verdict(
                f"{counted(len(frame), 'object')} to rate, chosen {basis}."
            )
            report.text(
                f"Write a rating from {LOWEST} (dull) to {HIGHEST} (remarkable) into the column rating of propose.csv; "
                "leave it empty where you cannot say. Then add the ratings to your file with radiossl rate add."
            )
            proposed = frame.drop(columns="rating")
            with atomic_folder(folder, "round of proposals") as made:
                write_table(frame, made / "propose.csv")
                write_table(ratings, made / "ratings.csv")
                write_json(made / "round.json", record | {"proposed": proposed.to_dict("records")})
                if store is not None:
                    captions = [_caption(row) for row in frame.to_dict("records")]
                    pictures = rating_pictures(store, metadata, frame["cutout_id"], captions)
                    report.gallery(
                        pictures,
                        "In the order of propose.csv: expected rating, and why it is asked.",
                        sheet=made / "gallery.png",
                    )
                report.table(proposed).section("How this was made").values(record)
                for name in ("propose.csv", "ratings.csv", "round.json"):
                    report.link(made / name)
                report.write(made / "report.html")
        write_table(_all_rounds(out), out / "rounds.csv")
    return folder / "propose.csv", new


def named(table: FeatureTable) -> pd.DataFrame:
    """Return the ids of a table's objects as text, and their positions if known."""
    names = ["cutout_id", *(name for name in ("ra_deg", "dec_deg") if name in table.columns.column_names)]
    frame = pd.DataFrame({name: table.column(name) for name in names})
    return frame.assign(cutout_id=frame["cutout_id"].astype(str))


def rating_pictures(
    store: CutoutStore, metadata: dict[str, Any], ids: Iterable[str], captions: Sequence[str]
) -> list[Picture]:
    """Return cutouts as the backbone saw them."""
    field_px = seen_field_px(metadata)
    return cutout_pictures(store.select_ids(ids), captions, field_px)


def _same_round(folder: Path, frame: pd.DataFrame, ratings: pd.DataFrame, settings: RoundSettings) -> bool:
    """Whether a round was made with these settings and ratings, and proposes the same."""
    record = read_json(folder / "round.json")
    wanted = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}
    if {name: record.get(name) for name in wanted} != wanted:
        return False
    same = frame["cutout_id"].tolist() == [row["cutout_id"] for row in record["proposed"]]
    return same and read_ratings(folder / "ratings.csv").equals(ratings.reset_index(drop=True))


def _proposed(
    table: FeatureTable, prediction: Prediction | None, starting: NDArray[np.float64], proposal: Proposal
) -> pd.DataFrame:
    rows = proposal.rows
    frame = named(table).iloc[rows].reset_index(drop=True).assign(why=proposal.why, starting_score=starting[rows])
    frame.insert(1, "rating", "")
    if prediction is None:
        return frame
    return frame.assign(expected_rating=prediction.rating[rows], spread=prediction.spread[rows])


#: Rules in words, under pictures.
_WHY = {"top": "high score", "ucb": "promising", "ei": "promising"}


def _caption(row: dict[Any, Any]) -> str:
    expected = f"{row['expected_rating']:.2f} ± {row['spread']:.2f} " if "expected_rating" in row else ""
    return f"{row['cutout_id']}\n{expected}({_WHY.get(row['why'], row['why'])})"


def _rounds(out: Path) -> dict[int, Path]:
    """The folders of the rounds by their numbers, in order."""
    found = [re.fullmatch(r"round_(\d+)", path.name) for path in out.glob("round_*")]
    return dict(sorted((int(match[1]), out / match[0]) for match in found if match))


def _all_rounds(out: Path) -> pd.DataFrame:
    frames = []
    for folder in _rounds(out).values():
        record = read_json(folder / "round.json")
        about = {name: record[name] for name in ("when", "method", "rule", "explore", "seed", "rated_objects")}
        frames.append(pd.DataFrame(record["proposed"]).assign(**about))
    return pd.concat(frames, ignore_index=True)
