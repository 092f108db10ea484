"""The result folder of a search for duplicates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radiossl.datasets.image_files import ImageFiles
from radiossl.duplicates.search import Duplicates, keep_table
from radiossl.features.table import FeatureTable
from radiossl.io.csv_cells import write_table
from radiossl.io.errors import counted
from radiossl.io.files import PathLike
from radiossl.io.results import writes_result_folder
from radiossl.report.html import Report
from radiossl.report.sheets import Picture, cutout_pictures
from radiossl.sky.angles import readable_angle
from radiossl.store.store import CutoutStore

_MOST_GROUPS = 24
_MOST_MEMBERS = 6
_SHOWN = 40


@writes_result_folder
def write_duplicates(
    found: Duplicates,
    table: FeatureTable,
    images: CutoutStore | ImageFiles | None,
    out: PathLike,
    by_pixels: bool = True,
) -> Path:
    """Write metrics.json, pairs.csv, groups.csv, keep.csv, a gallery and report.html; return the report's path.

    `images` are shown, if there are any; `by_pixels` says whether they were compared.
    """
    out = Path(out)
    pairs = found.pairs.drop(columns=["row_a", "row_b"])
    metrics = _metrics(found, table)
    write_table(pairs, out / "pairs.csv")
    write_table(found.groups.drop(columns="row"), out / "groups.csv")
    write_table(keep_table(table, found), out / "keep.csv")
    judged = "registered pixels decide" if by_pixels else "without pixels, so look at them before removing any"
    cutouts = counted(len(table), "cutout")
    groups = f"{counted(metrics['groups'], 'group')} with {metrics['in_groups']:,} of {cutouts}"
    report = Report("Duplicates")
    report.verdict(f"{groups if len(found.groups) else f'No source is shown twice by {cutouts}'}; {judged}.")
    (out / "gallery.png").unlink(missing_ok=True)  # of an earlier run, which would be taken for this one's
    if images is not None and len(found.groups):
        beside = "the correlations of sources and of noise, and the offset" if by_pixels else "the cosine similarity"
        report.gallery(
            _group_pictures(found, images),
            f"The largest groups, at most {_MOST_GROUPS}, by number: the one to keep in a frame, then its repetitions"
            f" with {beside}.",
            sheet=out / "gallery.png",
        )
    confirmed, wrong = pairs[pairs["duplicate"]], pairs[pairs["positions_disagree"]]
    if len(confirmed):
        text = f"First {min(_SHOWN, len(confirmed))} of {len(confirmed)}"
        report.section("Pairs").table(_shown(confirmed), text)
    if len(wrong):
        text = "One observation by their pixels, but positions apart: one of the two is wrong, so they are not joined"
        report.section("Wrong positions").table(_shown(wrong), text)
    refused = pairs[~pairs["duplicate"] & ~pairs["positions_disagree"]]
    if len(refused):
        report.section("Look-alikes").table(_shown(refused), "Alike in features, but not one source")
    if len(found.groups):
        report.text(
            "To leave the repetitions out: radiossl store join STORE keep.csv --on cutout_id --out JOINED, then"
            " radiossl store filter JOINED --where keep --out CLEAN."
        )
    how = "Candidates are mutual nearest neighbours by cosine similarity."
    return report.finish(out, metrics, ["groups.csv", "pairs.csv", "keep.csv"], how, table.metadata)


def _metrics(found: Duplicates, table: FeatureTable) -> dict[str, Any]:
    pairs, groups = found.pairs[found.pairs["duplicate"]], found.groups
    evidence = pairs["evidence"].value_counts().to_dict()
    return {
        "cutouts": len(table),
        "candidate_pairs": found.candidates,
        "pairs": len(pairs),
        "groups": int(groups["group"].nunique()),
        "largest_group": int(groups["group"].value_counts().max()) if len(groups) else 0,
        "in_groups": len(groups),
        "to_remove": int((~groups["keeper"]).sum()),
        "look_alikes": int((~found.pairs["duplicate"] & ~found.pairs["positions_disagree"]).sum()),
        "positions_disagree": int(found.pairs["positions_disagree"].sum()),
        **{f"pairs_by_{name}": count for name, count in sorted(evidence.items())},
    }


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The first rows, without empty columns; separations with their units."""
    hidden = ["duplicate", "positions_disagree", "offset_x_px", "offset_y_px"]
    shown = frame.drop(columns=hidden).head(_SHOWN).dropna(axis=1, how="all")
    if "separation_arcsec" in shown:
        shown["separation_arcsec"] = shown["separation_arcsec"].map(readable_angle, na_action="ignore")
    return shown.rename(columns={"separation_arcsec": "separation"})


def _group_pictures(found: Duplicates, images: CutoutStore | ImageFiles) -> list[Picture]:
    best: dict[int, dict[str, Any]] = {}
    for pair in found.pairs[found.pairs["duplicate"]].sort_values("similarity").to_dict("records"):
        best[pair["row_a"]] = best[pair["row_b"]] = pair
    sizes = found.groups["group"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    chosen, captions = [], []
    for group in sizes.index[:_MOST_GROUPS]:
        members = found.groups[found.groups["group"] == group].to_dict("records")
        for member in members[:_MOST_MEMBERS]:
            chosen.append(member)
            said = f"keep, of {len(members)}" if member["keeper"] else _agreement(best[member["row"]])
            captions.append(f"{group}: {said}\n{member['cutout_id']}")
    places = ([member[name] for member in chosen] for name in ("cutout_id", "ra_deg", "dec_deg"))
    pictures = cutout_pictures(images.select_ids(*places), captions)
    return [replace(picture, framed=member["keeper"]) for picture, member in zip(pictures, chosen, strict=True)]


def _agreement(pair: dict[str, Any]) -> str:
    if np.isnan(pair["offset_px"]):
        return f"similarity {pair['similarity']:.3f}"
    return f"{pair['source_correlation']:.2f} / {pair['noise_correlation']:.2f}, {pair['offset_px']:.0f} px"
