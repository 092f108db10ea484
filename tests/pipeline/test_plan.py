"""Settings proposed from what is known of a survey, and what is warned of."""

import numpy as np
import pytest

from radiossl import RadiosslError
from radiossl.pipeline import plan, run
from radiossl.pipeline.plan import Facts, Survey, propose, read_survey, training_seconds
from radiossl.survey.simulation.survey import SurveySpec, simulate_survey


def facts(**changes):
    known = {"store": None, "sources": 4000, "has_extents": True, "beam_px": 3.0, "cut_s": 40.0}
    return Facts(**known | {"sides_px": np.full(48, 80), "blank": np.zeros(48)} | changes)


@pytest.fixture(autouse=True)
def _half_a_second_a_step(monkeypatch):
    monkeypatch.setattr(plan, "training_seconds", lambda survey, store, image_size, batch_size: (0.5, 0.02))
    monkeypatch.setattr(plan, "feature_seconds", lambda survey, store: 0.04)


def survey(**changes):
    return Survey(mosaics="tiles", **changes)


def test_steps_fill_the_time_that_is_given():
    plan = propose(survey(backbone="pretrain", minutes=10), facts())
    known = plan.survey
    assert (known.image_size, known.batch_size, known.box_factor) == (64, 256, 1.5)  # 500 a step would be the most
    assert known.epochs == 10 * 60 // (0.5 * (4000 // 256))
    assert 0 < known.warmup_epochs < 0.1 * known.epochs
    assert plan.seconds["pretraining"] == pytest.approx(600, rel=0.05)
    assert set(plan.reasons) == {"box_factor", "image_size", "batch_size", "epochs", "warmup_epochs"}
    assert plan.warnings == []
    assert plan.reasons["epochs"] == "10 minutes, an epoch of 15 steps of 0.5 s each"
    line = plan.lines()[-1]
    assert line.startswith("about 14 min (store 40 s, wide 40 s, pretraining 10 min, its report 16 s, features 80 s, ")
    assert line.endswith(") if the machine stays as busy as it is")
    assert plan.seconds["pretraining"] == pytest.approx(plan.survey.epochs * (4000 // 256) * 0.5)
    assert plan.seconds["its report"] == pytest.approx(2 * 400 * 0.02)


def test_what_is_not_measured_takes_longer_on_a_slow_machine():
    idle, slow = propose(survey(), facts()).seconds, propose(survey(), facts(slow=3.0)).seconds
    assert {step for step in idle if slow[step] != idle[step]} == {"map", "anomalies", "neighbours"}
    assert slow["map"] == 3 * idle["map"]


def test_busy_and_slow_machines_are_seen(monkeypatch):
    wall, used = iter(np.arange(0, 9, 0.5)), iter((0.0, 0.5))  # three passes in two seconds of which it had half of one
    monkeypatch.setattr(plan, "_PASSES", 15.0)
    monkeypatch.setattr(plan.time, "perf_counter", lambda: next(wall))
    monkeypatch.setattr(plan.time, "thread_time", lambda: next(used))
    assert plan._pace() == (4, 10)


def simulated(folder, **changes):
    simulate_survey(folder / "survey", SurveySpec(**{"tiles": 1, "size": 300, "sources": 8, "seed": 0} | changes))
    return Survey(mosaics=str(folder / "survey"), catalogue=str(folder / "survey" / "truth.csv"))


def test_time_to_cut_grows_with_mosaics_and_sources(tmp_path, monkeypatch):
    known = simulated(tmp_path, tiles=6)
    monkeypatch.setattr(plan, "_seconds", lambda work: work() or 3.0)
    monkeypatch.setattr(plan, "_MOST_ON_ONE", 4)
    few = plan.look_at(known, tmp_path)
    assert few.sources == 48
    assert len(few.store) == 24  # four on each mosaic
    assert few.cut_s == 3 * 2
    monkeypatch.setattr(plan, "_MOST_BYTES", 1)
    blind = plan.look_at(known.model_copy(update={"catalogue": None}), tmp_path / "blind")
    assert set(blind.store.column("mosaic")) == {"tile_000.fits"}
    assert blind.sources == pytest.approx(6 * len(blind.store), rel=0.01, abs=1)
    assert blind.cut_s == pytest.approx(3 * 6, rel=0.01)  # by their bytes


def test_short_work_is_timed_several_times(monkeypatch):
    spent = iter(np.cumsum([0.0, 9.0, 0.0, 0.5, 0.0, 2.0, 0.0, 4.0]))  # the clock, read before and after each time
    monkeypatch.setattr(plan.time, "perf_counter", lambda: float(next(spent)))
    calls = []
    assert plan._seconds(lambda: calls.append(1)) == pytest.approx(6.5 / 4)
    assert len(calls) == 1 + 4  # the first is not counted


def test_long_work_is_done_once(monkeypatch):
    spent = iter((0.0, 11.0))
    monkeypatch.setattr(plan.time, "perf_counter", lambda: next(spent))
    assert plan._seconds(lambda: None) == 11


def test_a_column_that_is_not_there_is_found_before_the_work(tmp_path):
    known = simulated(tmp_path).model_copy(update={"colour": ("morphology",)})
    with pytest.raises(
        RadiosslError, match=r"colour: no column 'morphology' in the cutouts; there are cutout_id, .*class"
    ):
        plan.look_at(known, tmp_path)


def test_a_step_is_timed_by_training(small_store):
    settings = survey(backbone="pretrain", device="cpu")
    few, feature_s = training_seconds(settings, small_store, 32, 24)
    many, _ = training_seconds(settings, small_store, 32, 240)  # more than there are sources
    assert many > few > 0  # ten times the pairs: even a busy machine sees it
    assert feature_s > 0


def test_what_the_user_wants_stays():
    wanted = {"image_size": 32, "batch_size": 64, "epochs": 7, "warmup_epochs": 1, "size": 50}
    plan = propose(survey(backbone="pretrain", **wanted), facts())
    assert {key: getattr(plan.survey, key) for key in wanted} == wanted
    assert plan.reasons == {}


def test_a_released_backbone_needs_no_training():
    plan = propose(survey(), facts(has_extents=False))
    assert "pretraining" not in plan.seconds
    assert "measured on the mosaics" in plan.reasons["box_factor"]


@pytest.mark.parametrize(
    ("settings", "changes", "said"),
    [
        ({}, {"beam_px": 1.4}, "the beam is 1.4 pixels wide, undersampled"),
        ({}, {"blank": np.repeat([0.0, 0.7], 24)}, "50% of the boxes looked at are too blank"),
        ({}, {"busy": 2.5}, "other programs are running: computations take 2.5 times as long"),
        ({"backbone": "pretrain"}, {"sources": 80}, "80 sources are few to train on"),
        ({"backbone": "pretrain", "epochs": 20, "warmup_epochs": 20}, {}, "the warm-up of 20 epochs is as long as"),
    ],
)
def test_what_speaks_against_a_good_result_is_said(settings, changes, said):
    (warning,) = propose(survey(**settings), facts(**changes)).warnings
    assert warning.startswith(said)


def test_what_is_left_follows_the_pace_so_far(tmp_path, monkeypatch):
    clock = iter([0.0, 20.0, 20.0, 23.0, 23.0, 63.0])
    monkeypatch.setattr(run.time, "perf_counter", lambda: next(clock))
    said = []
    (tmp_path / "plan").touch()
    steps = [(name, tmp_path / name, lambda: None) for name in ("plan", "store", "its report", "features")]
    run._do_steps(steps, {"store": 10.0, "features": 40.0, "map": 30.0}, said.append)
    assert said == [
        "left: about 80 s (store 10 s, features 40 s, map 30 s)",
        "plan: done before",
        "store: 20 s (10 s expected); about 2 min left at this pace",
        "its report: 3 s",
        "features: 40 s (40 s expected); about 36 s left at this pace",
    ]


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "s.yaml").write_text("mosaics: tiles\ncatalogue: c.csv\n")
    monkeypatch.chdir(tmp_path)
    known = read_survey("a/s.yaml", ["seed=3"])
    assert known.mosaics == (str(tmp_path / "a" / "tiles"),)
    assert (known.catalogue, known.out) == (str(tmp_path / "a" / "c.csv"), str(tmp_path / "a" / "results"))
    assert (known.seed, known.backbone) == (3, "simclr-first-zoom")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("catalogue: c.csv", "key 'mosaics' is missing"),
        ("mosaics: tiles\nminuets: 3", "unknown key 'minuets'; did you mean 'minutes'"),
        ("mosaics: tiles\nmax_blank: 2", "max_blank: should be less than 1"),
        ("mosaics: []", "mosaics"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, text, said):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(RadiosslError, match=f"s.yaml: {said}"):
        read_survey(tmp_path / "s.yaml")
