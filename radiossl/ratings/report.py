"""The folders of `radiossl rate`: a round of proposals to be filled in, and a list re-ranked by the ratings."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import radiossl
from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_folder, read_json, write_json
from radiossl.io.results import writes_result_folder
from radiossl.ratings.active_learning import METHODS, Opinion, Proposal
from radiossl.ratings.records import HIGHEST, LOWEST
from radiossl.report.figures import BLUE, GREY, new_figure, plain_axes, save_figure
from radiossl.report.html import Report
from radiossl.report.results import cutout_images, write_table
from radiossl.report.sheets import image_grid
from radiossl.store.store import CutoutStore

_GALLERY = 30
_IN_REPORT = 100


@dataclass(frozen=True)
class Settings:
    """What a round was made with: together with the files, all that is needed to make it again.

    Attributes
    ----------
    features, scores
        Files, as they were given.
    weights_sha256
        Of the backbone that made the features, empty if not known.
    method, rule, explore, columns, seed, count
        See `radiossl.ratings.active_learning`.
    """

    features: str
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
        if self.method not in METHODS:
            raise RadiosslError(f"method {self.method!r} is unknown; there are {', '.join(METHODS)}")


@dataclass(frozen=True)
class Pixels:
    """Where the pictures of a table's objects come from.

    Attributes
    ----------
    store
        With the cutouts of the table; None for no pictures.
    field_px
        Side of the central field that is shown, as the backbone saw it; None for all.
    """

    store: CutoutStore | None
    field_px: int | None = None

    def draw(self, ids: Sequence[str], captions: Sequence[str], out: Path) -> None:
        """Draw a contact sheet of these cutouts."""
        assert self.store is not None
        images = cutout_images(self.store, ids, self.field_px)
        # As Protege shows them (Lochner & Rudnick 2025, figure 9): structure in bright sources is what is rated.
        image_grid(images, captions, out=out, how="asinh")


def write_round(
    out: str | os.PathLike[str],
    table: FeatureTable,
    opinion: Opinion | None,
    starting: NDArray[np.float64],
    proposal: Proposal,
    ratings: pd.DataFrame,
    settings: Settings,
    pixels: Pixels,
) -> Path:
    """Write the next round of a folder of rounds; return the path of its propose.csv.

    The round is a folder ``round_001``, ``round_002``, ...: propose.csv with an empty column ``rating`` to fill in,
    gallery.png, report.html, ratings.csv (what was known) and round.json (what was proposed, when, and with what).
    rounds.csv beside them lists the proposals of all rounds; it is made from their round.json each time, so that an
    interrupted command leaves nothing that the next one does not mend.

    Parameters
    ----------
    out
        The folder of rounds.
    table, opinion, starting, proposal
        What was asked of `radiossl.ratings.active_learning.propose`, and its answer.
    ratings
        All ratings that were known, as `read_ratings` returns them.
    settings
        To be recorded.
    pixels
        For the gallery.
    """
    out = Path(out)
    number = 1 + max((_number(folder) for folder in _rounds(out)), default=0)
    frame = _proposed(table, opinion, starting, proposal, number)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    with atomic_folder(out / f"round_{number:03d}") as folder:
        write_table(frame, folder / "propose.csv")
        write_table(ratings, folder / "ratings.csv")
        record = {"round": number, "when": when, "radiossl_version": radiossl.__version__, **asdict(settings)}
        record |= {"ratings_known": len(ratings), "rated_objects": int(ratings["cutout_id"].nunique())}
        write_json(folder / "round.json", record | {"proposed": frame.drop(columns="rating").to_dict("records")})
        report = Report(f"What to rate next: round {number}").text(
            f"Write a rating from {LOWEST} (dull) to {HIGHEST} (remarkable) into the column rating of propose.csv; "
            "leave it empty where you cannot say. Then take the ratings into your file with radiossl rate add."
        )
        if pixels.store is not None:
            captions = [_caption(row) for row in frame.to_dict("records")]
            pixels.draw(frame["cutout_id"].tolist(), captions, folder / "gallery.png")
            report.figure(folder / "gallery.png", "The proposals in the order of propose.csv.")
        report.table(frame.drop(columns="rating"))
        report.section("How this was made").values(record)
        for name in ("propose.csv", "ratings.csv", "round.json"):
            report.link(folder / name)
        report.write(folder / "report.html")
    write_table(_all_rounds(out), out / "rounds.csv")
    return out / f"round_{number:03d}" / "propose.csv"


def ranked_table(
    table: FeatureTable,
    opinion: Opinion,
    starting: NDArray[np.float64],
    rated: NDArray[np.int64],
    ratings: NDArray[np.float64],
) -> pd.DataFrame:
    """Return the list ordered by the ratings.

    Returns
    -------
    DataFrame
        Columns ``rank`` (from 1), ``cutout_id``, ``ra_deg`` and ``dec_deg`` if known, ``score`` (what the order
        follows; of equal ones the starting score), ``expected_rating`` and its ``spread``, ``starting_score``,
        ``starting_rank``, and ``rating`` where there is one.
    """
    frame = _named(table)
    frame["score"] = opinion.score
    frame["expected_rating"], frame["spread"] = opinion.rating, opinion.spread
    frame["starting_score"] = starting
    frame["starting_rank"] = pd.Series(-starting).rank(method="first").astype(np.int64)
    frame["rating"] = pd.Series(ratings, index=rated).reindex(range(len(table))).astype("Int64")
    frame = frame.sort_values(["score", "starting_score"], ascending=False, kind="stable").reset_index(drop=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    return frame


@writes_result_folder
def write_ranking(
    out: str | os.PathLike[str], ranked: pd.DataFrame, metrics: dict[str, Any], notes: Sequence[str], pixels: Pixels
) -> Path:
    """Write ranked.csv, metrics.json, galleries, a figure and report.html; return the report's path.

    Parameters
    ----------
    out
        Folder.
    ranked
        From `ranked_table`.
    metrics
        Numbers for metrics.json and the report.
    notes
        Sentences for the top of the report.
    pixels
        For the galleries.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_table(ranked, out / "ranked.csv")
    write_json(out / "metrics.json", metrics)
    report = Report("The list, re-ranked by ratings").text(*notes)
    if pixels.store is not None:
        unseen = ranked[ranked["rating"].isna()].head(_GALLERY)
        if len(unseen):
            _gallery(pixels, unseen, out / "gallery.png")
            report.figure(out / "gallery.png", "The highest of those that nobody has rated; above what is expected.")
        risen = ranked[ranked["rating"].isna() & (ranked["rank"] <= max(_GALLERY, len(ranked) // 20))]
        risen = risen.assign(gain=risen["starting_rank"] - risen["rank"]).nlargest(_GALLERY // 2, "gain")
        risen = risen[risen["gain"] > 0]
        if len(risen):
            _gallery(pixels, risen, out / "risen.png")
            report.figure(out / "risen.png", "What the ratings brought into the first 5 % from farthest down.")
    draw_expected_against_rated(ranked, out / "ratings.png")
    report.section("Ratings").figure(
        out / "ratings.png",
        "Expected rating of the rated objects, which were learnt from, and of all others.",
    )
    report.section("Numbers").values(metrics)
    report.section(f"The first {min(_IN_REPORT, len(ranked))}").table(ranked.head(_IN_REPORT))
    report.link(out / "ranked.csv").link(out / "metrics.json")
    return report.write(out / "report.html")


def draw_expected_against_rated(ranked: pd.DataFrame, out: Path) -> None:
    """Draw the distribution of the expected ratings, of all objects and of those of each rating, as PNG."""
    figure = new_figure(5.6, 3.2)
    axes = plain_axes(figure.add_subplot())
    values = ranked["expected_rating"].to_numpy(dtype=float)
    groups = [("not rated", values[ranked["rating"].isna()])]
    groups += [
        (f"rated {rating}", values[(ranked["rating"] == rating).fillna(False).to_numpy(dtype=bool)])
        for rating in range(LOWEST, HIGHEST + 1)
    ]
    for place, (_, group) in enumerate(groups):
        if len(group):
            colour = BLUE if place else GREY
            low, middle, high = np.percentile(group, [10, 50, 90])
            axes.plot([low, high], [place, place], color=colour, linewidth=5, alpha=0.4, solid_capstyle="butt")
            axes.plot(middle, place, "o", color=colour, markersize=6)
    axes.set_yticks(range(len(groups)), [f"{name} ({len(group)})" for name, group in groups], fontsize=9)
    axes.set_xlim(min(LOWEST, values.min()) - 0.1, max(HIGHEST, values.max()) + 0.1)
    axes.set_ylim(-0.6, len(groups) - 0.4)
    axes.set_xlabel("expected rating: median, and range of the middle 80 %", fontsize=9)
    save_figure(figure, out)


def _gallery(pixels: Pixels, frame: pd.DataFrame, out: Path) -> None:
    captions = [
        f"#{row['rank']}: {row['expected_rating']:.1f} ± {row['spread']:.1f}\n{row['cutout_id']}"
        f"\nwas {row['starting_rank']}"
        for row in frame.to_dict("records")
    ]
    pixels.draw(frame["cutout_id"].tolist(), captions, out)


def _proposed(
    table: FeatureTable, opinion: Opinion | None, starting: NDArray[np.float64], proposal: Proposal, number: int
) -> pd.DataFrame:
    frame = _named(table).iloc[proposal.rows].reset_index(drop=True)
    frame.insert(1, "rating", "")
    frame.insert(2, "round", number)
    frame["why"] = proposal.why
    frame["starting_score"] = starting[proposal.rows]
    if opinion is not None:
        frame["expected_rating"] = opinion.rating[proposal.rows]
        frame["spread"] = opinion.spread[proposal.rows]
    return frame


def _named(table: FeatureTable) -> pd.DataFrame:
    names = ["cutout_id", *(name for name in ("ra_deg", "dec_deg") if name in table.columns.column_names)]
    frame = pd.DataFrame({name: table.column(name) for name in names})
    return frame.assign(cutout_id=frame["cutout_id"].astype(str))


def _caption(row: dict[Any, Any]) -> str:
    expected = f"{row['expected_rating']:.1f} ± {row['spread']:.1f} " if "expected_rating" in row else ""
    return f"{row['cutout_id']}\n{expected}({row['why']})"


def _rounds(out: Path) -> list[Path]:
    return sorted(folder for folder in out.glob("round_*") if re.fullmatch(r"round_\d+", folder.name))


def _number(folder: Path) -> int:
    return int(folder.name.removeprefix("round_"))


def _all_rounds(out: Path) -> pd.DataFrame:
    frames = []
    for folder in sorted(_rounds(out), key=_number):
        record = read_json(folder / "round.json")
        frame = pd.DataFrame(record["proposed"])
        for name in ("when", "method", "rule", "explore", "seed", "rated_objects"):
            frame[name] = record[name]
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)
