"""A survey from mosaics to one page, step by step; a step that is finished is not done again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from radiossl.io.errors import RadiosslError
from radiossl.io.extras import require
from radiossl.io.files import PathLike, check_folder, read_json, write_json
from radiossl.io.locks import only_writer
from radiossl.io.results import check_result_folder, writes_result_folder
from radiossl.io.tables import read_table
from radiossl.pipeline.plan import (
    Plan,
    Survey,
    cut,
    in_words,
    look_at,
    propose,
    read_survey,
    readable,
    survey_backbone,
)
from radiossl.store.store import open_store
from radiossl.survey.catalogue.reading import read_catalogue

#: What was decided when a run was begun, and for which file.
PLAN = "plan.json"
#: Boxes for training are so much wider than those for features, so that views can zoom and shift.
_WIDE = 2
#: Settings that may change in a run that was begun, and the step that is done again.
_LATER = {"colour": "map", "queries": "neighbours", "neighbours": "neighbours"}
#: Fewer sources than this are mapped by principal components.
_FEWEST_FOR_UMAP = 50
_SHOWN = 5
_PLANS = TypeAdapter(Plan)


def run_survey(
    path: PathLike, changes: Sequence[str] = (), *, plan_only: bool = False, say: Callable[[str], Any] = print
) -> Path | None:
    """Take a survey from mosaics to one page, as a file says; complete what an interrupted run left.

    Parameters
    ----------
    path
        YAML file; see `Survey` for its keys.
    changes
        ``KEY=VALUE`` that overrule the file.
    plan_only
        Say the settings, warnings and times, and do nothing.
    say
        Prints a line.

    Returns
    -------
    Path or None
        The page, `report.html` in the folder `out` of the file; None if nothing was done.

    Raises
    ------
    RadiosslError
        If the file is wrong, a step fails, or what is done already was made with other settings.

    See Also
    --------
    radiossl.cut_sources, radiossl.pretrain, radiossl.write_features, radiossl.find_anomalies : what it calls.
    """
    survey = read_survey(path, changes)
    require("umap", "datashader", *(["lightly"] if survey.pretrains else []))
    out = Path(survey.out)
    plan, again = _begun(out, survey, path) if (out / PLAN).is_file() else (None, [])
    check_folder(out, "survey run")
    for name, room in (("plan", "pipeline"), ("map", "maps"), ("anomalies", "anomalies"), ("neighbours", "similarity")):
        check_result_folder(out / name, f"radiossl.{room}")
    begun = plan is not None
    if plan is None:
        with tempfile.TemporaryDirectory() as scratch:
            plan = propose(survey, look_at(survey, Path(scratch)))
    if plan_only or not begun:
        for line in plan.lines():
            say(line)
    if plan_only:
        return None
    if begun:
        say(f"{out}: goes on with the settings that it was begun with ({out / 'plan' / 'report.html'})")
    with only_writer(out):
        for step in again:
            (out / step / "report.html").unlink(missing_ok=True)
        write_json(out / PLAN, {"file": survey.model_dump(mode="json"), "plan": _PLANS.dump_python(plan, mode="json")})
        return _do(plan, out, say)


def _begun(out: Path, survey: Survey, path: PathLike) -> tuple[Plan, list[str]]:
    """The plan of a run that was begun in a folder, and the steps that newer settings make do again."""
    stored = read_json(out / PLAN)
    try:
        before, plan = Survey.model_validate(stored["file"]), _PLANS.validate_python(stored["plan"])
    except (KeyError, TypeError, ValidationError):
        raise RadiosslError(f"{out / PLAN}: not the plan of a run; choose another out in {path}") from None
    now, then = survey.model_dump(), before.model_dump()
    changed = {key: value for key, value in now.items() if value != then[key]}
    for key in (key for key in changed if key not in _LATER):
        raise RadiosslError(
            f"{path}: {key} is {now[key]}, but {out} was begun with {then[key]}; choose another out, or remove {out}"
        )
    newer = replace(plan, survey=plan.survey.model_copy(update=changed))
    return newer, ["plan", *(_LATER[key] for key in changed)] if changed else []


def _do(plan: Plan, out: Path, say: Callable[[str], Any]) -> Path:
    from radiossl.report.html import index_report
    from radiossl.report.training import write_run_report

    survey, parts = plan.survey, [("plan", out / "plan")]
    steps: list[Step] = [
        ("plan", out / "plan" / "report.html", lambda: _write_plan(plan, out / "plan")),
        ("store", out / "store" / "store.json", lambda: _cut(survey, out / "store", 1)),
    ]
    if survey.pretrains:
        steps += [
            ("wide", out / "wide" / "store.json", lambda: _cut(survey, out / "wide", _WIDE)),
            ("pretraining", out / "run" / "backbone" / "config.json", lambda: _pretrain(survey, out)),
            ("its report", out / "run" / "report.html", lambda: write_run_report(out / "run", [out / "wide"])),
        ]
        parts.append(("pretraining", out / "run"))
    steps += [
        ("features", out / "features.parquet", lambda: _embed(survey, out)),
        ("map", out / "map" / "report.html", lambda: _map(survey, out)),
        ("anomalies", out / "anomalies" / "report.html", lambda: _anomalies(survey, out)),
        ("neighbours", out / "neighbours" / "report.html", lambda: _neighbours(survey, out)),
    ]
    _do_steps(steps, plan.seconds, say)
    parts += [(name, out / name) for name in ("map", "anomalies", "neighbours")]
    return index_report(out / "report.html", Path(survey.out).name, parts)


Step = tuple[str, Path, Callable[[], object]]


def _do_steps(steps: Sequence[Step], seconds: Mapping[str, float], say: Callable[[str], Any]) -> None:
    """Do what has no result yet; say how long it took beside the `seconds` that were expected, and what is left."""
    due, expected, taken = dict(seconds), 0.0, 0.0
    done = {name for name, result, _ in steps if result.exists()}
    left = {name: promised for name, promised in seconds.items() if name not in done}
    if done and left:
        say(f"left: {in_words(left)}")
    for name, result, work in steps:
        promised = due.pop(name, None)
        if result.exists():
            say(f"{name}: done before")
            continue
        start = time.perf_counter()
        work()
        spent = time.perf_counter() - start
        line = f"{name}: {readable(spent)}"
        if promised:  # other programs come and go: what is left is foretold from what was slower or faster so far
            expected, taken = expected + promised, taken + spent
            rest = readable(sum(due.values()) * taken / expected)
            line += f" ({readable(promised)} expected); about {rest} left at this pace"
        say(line)


def _cut(survey: Survey, out: Path, wide: int) -> None:
    catalogue = None if survey.catalogue is None else read_catalogue(survey.catalogue, **survey.columns)
    cut(survey, survey.mosaics, catalogue, out, survey.max_blank, wide)


def _pretrain(survey: Survey, out: Path) -> None:
    from radiossl.pretraining.checkpoint import CHECKPOINT
    from radiossl.pretraining.recipe import read_recipe
    from radiossl.pretraining.run import pretrain

    changes = {
        "preprocessing.size": survey.image_size,
        "batch_size": survey.batch_size,
        "schedule.epochs": survey.epochs,
        "schedule.warmup_epochs": survey.warmup_epochs,
        "seed": survey.seed,
    }
    recipe = read_recipe(survey.recipe, [f"{key}={value}" for key, value in changes.items()])
    run = out / "run"
    pretrain(recipe, out / "wide", run, device=survey.device, resume=(run / CHECKPOINT).exists())


def _embed(survey: Survey, out: Path) -> None:
    from radiossl.features.parts import write_features

    backbone = survey_backbone(survey, out / "run" / "backbone" if survey.pretrains else survey.backbone)
    write_features(backbone, [out / "store"], out / "features.parquet")


def _map(survey: Survey, out: Path) -> None:
    from radiossl.features.feature_file import FeatureFile
    from radiossl.maps.layout import make_map, map_columns
    from radiossl.maps.report import write_map

    features = FeatureFile(out / "features.parquet")
    method = "umap" if len(features) >= _FEWEST_FOR_UMAP else "pca"
    made = make_map(features, method, seed=survey.seed)  # type: ignore[arg-type]
    write_map(made, map_columns(features, survey.colour), out / "map", survey.colour, open_store(out / "store"))


def _anomalies(survey: Survey, out: Path) -> None:
    from radiossl.anomalies.scores import AnomalySettings
    from radiossl.anomalies.search import find_anomalies

    settings = AnomalySettings(seed=survey.seed)
    find_anomalies(out / "features.parquet", out / "anomalies", settings=settings, store=out / "store")


def _neighbours(survey: Survey, out: Path) -> None:
    from radiossl.similarity.run import search

    queries = survey.queries or read_table(out / "anomalies" / "anomalies.csv").column("cutout_id").to_pylist()[:_SHOWN]
    search(out / "features.parquet", list(queries), out / "neighbours", neighbours=survey.neighbours)


@writes_result_folder
def _write_plan(plan: Plan, out: Path) -> Path:
    from radiossl.report.html import Report

    settings = plan.survey.model_dump()
    report = Report("Plan").verdict(f"Expected to take {plan.lines()[-1]}.")
    report.text(*(f"Warning: {warning}." for warning in plan.warnings))
    given = {key: str(value) for key, value in settings.items() if value}
    rows = [{"setting": key, "value": given[key], "because": plan.reasons.get(key, "given")} for key in given]
    report.table(rows)
    report.section("Expected time").values({step: readable(seconds) for step, seconds in plan.seconds.items()})
    return report.write(out / "report.html")
