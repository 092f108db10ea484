"""A simulated survey from mosaics to one page, interrupted on the way."""

import json
import re
import signal

import pytest

from radiossl import RadiosslError
from radiossl.cli.main import main
from radiossl.io.tables import read_table
from radiossl.maps import report as map_report
from radiossl.pipeline.run import run_survey
from radiossl.survey.simulation.survey import SurveySpec, simulate_survey

pytestmark = pytest.mark.slow

SURVEY = """
mosaics: survey
catalogue: survey/truth.csv
backbone: pretrain
epochs: 2
image_size: 32
batch_size: 16
colour: class
neighbours: 4
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    simulate_survey(folder / "survey", SurveySpec(tiles=1, size=700, sources=45, seed=0))
    (folder / "survey.yaml").write_text(SURVEY)
    return folder


def test_a_plan_is_said_and_nothing_is_done(folder):
    said = []
    assert run_survey(folder / "survey.yaml", ["out=planned"], plan_only=True, say=said.append) is None
    assert any(line.startswith("warning: 4") and "few to train on" in line for line in said)
    assert said[-1].startswith("about ")
    assert not (folder / "planned").exists()


def test_a_run_goes_on_where_it_was_stopped(folder, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    said = []
    with monkeypatch.context() as patch:
        patch.setattr(map_report, "draw_map", stop)
        with pytest.raises(KeyboardInterrupt):
            run_survey(folder / "survey.yaml", say=said.append)
    results = folder / "results"
    assert not (results / "map").exists()
    trained = (results / "run" / "backbone" / "model.safetensors").stat().st_mtime_ns
    said.clear()
    page = run_survey(folder / "survey.yaml", say=said.append)
    assert said[0].startswith(f"{results}: goes on with the settings that it was begun with")
    assert re.match(r"left: about \d+ s \(map \d+ s, anomalies \d+ s, neighbours \d+ s\)$", said[1])
    assert page == results / "report.html"
    assert [line for line in said if line.endswith("done before")] == [
        f"{step}: done before" for step in ("plan", "store", "wide", "pretraining", "its report", "features")
    ]
    assert (results / "run" / "backbone" / "model.safetensors").stat().st_mtime_ns == trained
    text = page.read_text(encoding="utf-8")
    assert all(name in text for name in ("plan", "pretraining", "map", "anomalies", "neighbours"))
    assert 'alt="What was recorded' in text  # the figure of the training
    assert "2 epochs of SimCLR" in text
    recipe = json.loads((results / "plan.json").read_text())["plan"]["survey"]
    assert (recipe["epochs"], recipe["box_factor"]) == (2, 1.5)
    with pytest.raises(RadiosslError, match=r"survey.yaml: seed is 4, but .*results was begun with 0; choose another"):
        run_survey(folder / "survey.yaml", ["seed=4"])
    said.clear()
    features = (results / "features.parquet").stat().st_mtime_ns
    run_survey(folder / "survey.yaml", ["neighbours=2", "queries=[sim0_000_00003]"], say=said.append)
    done = {line.partition(":")[0] for line in said if line.endswith("done before")}
    assert done == {
        "store",
        "wide",
        "pretraining",
        "its report",
        "features",
        "map",
        "anomalies",
    }  # the rest was made again
    assert (results / "features.parquet").stat().st_mtime_ns == features
    found = read_table(results / "neighbours" / "neighbours.csv")
    assert found.column("query").to_pylist() == ["sim0_000_00003"] * 2


def test_a_stopped_command_says_how_to_continue(folder, capsys, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("radiossl.pipeline.run.look_at", stop)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(folder / "survey.yaml"), "--set", "out=stopped"])
    assert ended.value.code == 128 + signal.SIGINT
    assert capsys.readouterr().err == "radiossl: stopped by Ctrl-C; run the same command again to continue\n"
    assert not (folder / "stopped").exists()
