import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from radiossl.cli.main import main
from radiossl.features.table import FeatureTable
from radiossl.ratings.active_learning import Prediction, Rated
from radiossl.ratings.ranking import ranked_table
from radiossl.ratings.records import last_ratings, read_ratings

PNG = b"\x89PNG"


def run(capsys, *arguments):
    """Run a command; return its exit status and all that it printed."""
    status = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        status = stop.code or 0
    printed = capsys.readouterr()
    return status, printed.out + printed.err


@pytest.fixture
def files(tmp_path, small_store):
    """Features of the small store, whose second dimension is what makes an object interesting, and starting scores."""
    rng = np.random.default_rng(0)
    features = rng.normal(0, 0.1, (24, 4))
    features[:, 0] += 1
    features[12:, 1] += 1
    ids = [f"c{index:02d}" for index in range(24)]
    columns = {
        "cutout_id": ids,
        "ra_deg": 10.0 + np.arange(24) / 10,
        "dec_deg": np.full(24, -5.0),
        "size": np.arange(24),
    }
    metadata = {"stores": [str(path) for path in small_store.paths]}
    FeatureTable(pa.table(columns), features.astype(np.float32), metadata).write(tmp_path / "features.parquet")
    scores = pd.DataFrame({"rank": range(1, 25), "cutout_id": ids, "score": np.linspace(1, 0, 24)})
    scores.to_csv(tmp_path / "anomalies.csv", index=False)
    return tmp_path


def propose(capsys, files, *more):
    scores = files / "anomalies.csv"
    arguments = ["rate", "propose", files / "features.parquet", "--scores", scores, "--out", files / "loop", *more]
    return run(capsys, *arguments)


def fill(path):
    """Rate what was proposed, as a person would who likes c12 to c23; leave the first without a rating."""
    frame = pd.read_csv(path)
    frame["rating"] = [5 if int(name[1:]) >= 12 else 1 for name in frame["cutout_id"]]
    frame["rating"] = frame["rating"].astype("Int64")
    frame.loc[0, "rating"] = pd.NA
    frame.to_csv(path, index=False)
    return frame


def test_the_loop_from_first_proposals_to_a_ranking(capsys, files):
    status, printed = propose(capsys, files, "-n", 8)
    assert status == 0, printed
    first = files / "loop" / "round_001"
    assert {path.name for path in first.iterdir()} == {
        ".checksums.json",
        "propose.csv", "ratings.csv", "round.json", "gallery.png", "report.html",
    }  # fmt: skip
    assert (first / "gallery.png").read_bytes().startswith(PNG)
    empty = pd.read_csv(first / "propose.csv")
    assert empty["rating"].isna().all()
    assert set(empty["why"]) == {"start", "random"}

    filled = fill(first / "propose.csv")
    status, printed = run(capsys, "rate", "add", files / "ratings.csv", first / "propose.csv", "--who", "me")
    assert "7 ratings added, 7 objects rated" in printed
    ratings = read_ratings(files / "ratings.csv")
    assert ratings["cutout_id"].tolist() == filled["cutout_id"].tolist()[1:]
    assert set(ratings["who"]) == {"me"}
    assert set(ratings["round"]) == {"1"}
    assert ratings["when"].str.startswith("20").all()

    known = ["--ratings", files / "ratings.csv"]
    status, printed = propose(capsys, files, *known, "-n", 6, "--rule", "ucb", "--columns", "size")
    assert status == 0, printed
    second = pd.read_csv(files / "loop" / "round_002" / "propose.csv")
    assert not set(second["cutout_id"]) & set(ratings["cutout_id"])
    assert {"expected_rating", "spread"} <= set(second.columns)
    shown = re.findall(r"\d\.\d+ ± \d\.\d+", (files / "loop" / "round_002" / "report.html").read_text(encoding="utf-8"))
    assert shown
    assert all(re.fullmatch(r"\d\.\d\d ± \d\.\d\d", one) for one in shown), "a spread of 0.04 is no 0.0"
    rounds = pd.read_csv(files / "loop" / "rounds.csv")
    assert rounds["round"].value_counts().to_dict() == {1: 8, 2: 6}
    assert rounds["cutout_id"].tolist() == empty["cutout_id"].tolist() + second["cutout_id"].tolist()
    assert rounds["rated_objects"].unique().tolist() == [0, 7]

    arguments = ["rate", "rank", files / "features.parquet", "--scores", files / "anomalies.csv", *known]
    status, printed = run(capsys, *arguments, "--folds", 3, "--method", "linear", "--out", files / "rank")
    assert status == 0, printed
    ranked = pd.read_csv(files / "rank" / "ranked.csv")
    assert sorted(ranked["cutout_id"].head(12)) == [f"c{index}" for index in range(12, 24)]
    assert ranked["rank"].tolist() == list(range(1, 25))
    metrics = json.loads((files / "rank" / "metrics.json").read_text())
    assert metrics["objects"] == 24
    assert metrics["rated"] == 7
    assert metrics["crossvalidated_auc"] == pytest.approx(1.0)
    page = (files / "rank" / "report.html").read_text()
    assert page.count("<figure class=") == 3
    assert "ranked.csv" in page


def test_a_round_can_be_made_again_from_its_record(capsys, files):
    (files / "ratings.csv").write_text("cutout_id,rating\nc00,1\nc13,5\nc20,4\n")
    propose(capsys, files, "--ratings", files / "ratings.csv", "-n", 6, "--seed", 7, "--rule", "ei")
    folder = files / "loop" / "round_001"
    record = json.loads((folder / "round.json").read_text())
    status, _ = run(
        capsys, "rate", "propose", record["features"], "--scores", record["scores"],
        "--ratings", folder / "ratings.csv",
        "-n", record["count"], "--method", record["method"], "--rule", record["rule"], "--explore", record["explore"],
        "--seed", record["seed"], "--out", files / "again",
    )  # fmt: skip
    assert status == 0
    assert (files / "again" / "round_001" / "propose.csv").read_text() == (folder / "propose.csv").read_text()
    other = propose(capsys, files, "--ratings", files / "ratings.csv", "-n", 6, "--seed", 8, "--rule", "ei")
    assert other[0] == 0
    assert pd.read_csv(files / "loop" / "round_002" / "propose.csv")["cutout_id"].tolist() != [
        row["cutout_id"] for row in record["proposed"]
    ]


def test_the_record_survives_a_lost_rounds_file(capsys, files):
    propose(capsys, files, "-n", 4)
    (files / "loop" / "rounds.csv").unlink()
    propose(capsys, files, "-n", 4, "--seed", 1)
    assert pd.read_csv(files / "loop" / "rounds.csv")["round"].tolist() == [1] * 4 + [2] * 4


def test_the_same_proposal_twice_does_nothing_twice(capsys, files):
    (files / "ratings.csv").write_text("cutout_id,rating\nc00,1\nc13,5\n")
    known = ["--ratings", files / "ratings.csv", "-n", 4]
    assert propose(capsys, files, *known)[0] == 0
    first = files / "loop" / "round_001" / "propose.csv"
    filled = fill(first)
    (files / "loop" / "rounds.csv").unlink()
    status, printed = propose(capsys, files, *known)
    assert status == 0
    assert "proposed already" in printed
    assert str(first) in printed
    assert [path.name for path in sorted((files / "loop").glob("round*"))] == ["round_001", "rounds.csv"]
    assert pd.read_csv(first)["rating"].sum() == filled["rating"].sum() > 0  # what was filled in stays
    (files / "ratings.csv").write_text("cutout_id,rating\nc00,1\nc13,4\n")
    assert "proposed already" not in propose(capsys, files, *known)[1]
    assert (files / "loop" / "round_002").is_dir()


def test_two_proposals_at_once_are_two_rounds(files):
    command = [sys.executable, "-m", "radiossl.cli.main", "rate", "propose", files / "features.parquet", "-n", "3"]
    command += ["--scores", files / "anomalies.csv", "--out", files / "loop", "--seed"]
    running = [subprocess.Popen([*command, str(seed)], stdout=subprocess.DEVNULL) for seed in range(3)]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    assert len(list((files / "loop").glob("round_*"))) == 3
    assert len(pd.read_csv(files / "loop" / "rounds.csv")) == 9


def test_the_size_is_learnt_from_where_there_is_one(capsys, files):
    table = FeatureTable.read(files / "features.parquet")
    sizes = pa.array(np.where(np.arange(24) % 2, 10.0, 1.0))
    columns = table.columns.append_column("size_pixels", sizes)
    rng = np.random.default_rng(1)
    FeatureTable(columns, rng.normal(size=(24, 4)).astype(np.float32), table.metadata).write(files / "sized.parquet")
    (files / "ratings.csv").write_text(
        "cutout_id,rating\n" + "".join(f"c{i:02d},{5 if i % 2 else 1}\n" for i in range(12))
    )
    command = ["rate", "rank", files / "sized.parquet", "--scores", files / "anomalies.csv"]
    command += ["--ratings", files / "ratings.csv", "--out", files / "rank"]
    status, printed = run(capsys, *command)
    assert status == 0, printed
    assert "learning from size_pixels too" in printed
    ranked = pd.read_csv(files / "rank" / "ranked.csv")
    assert all(int(name[1:]) % 2 for name in ranked["cutout_id"].head(12))
    assert json.loads((files / "rank" / "metrics.json").read_text())["columns"] == ["size_pixels"]
    status, printed = run(capsys, *command, "--columns", "none")
    assert "size_pixels" not in printed
    assert json.loads((files / "rank" / "metrics.json").read_text())["columns"] == []


def test_adding_a_file_twice_changes_nothing_and_a_new_rating_counts(capsys, files):
    (files / "one.csv").write_text("cutout_id,rating,who\nc00,1,me\nc01,2,me\n")
    (files / "two.csv").write_text("cutout_id,rating,who\nc00,4,me\n")
    for name in ("one.csv", "two.csv", "one.csv"):
        status, _ = run(capsys, "rate", "add", files / "ratings.csv", files / name)
        assert status == 0
    assert last_ratings(read_ratings(files / "ratings.csv")).to_dict() == {"c01": 2.0, "c00": 4.0}
    assert len(read_ratings(files / "ratings.csv")) == 3


def test_to_astronomaly_and_back(capsys, files):
    (files / "ratings.csv").write_text("cutout_id,rating\nc00,1\nc13,5\n")
    export = ["rate", "export-astronomaly", "--scores", files / "anomalies.csv", "--ratings", files / "ratings.csv"]
    status, printed = run(capsys, *export, "--out", files / "ml_scores.csv")
    assert status == 0, printed
    assert "24 objects, 2 of them labelled" in printed
    back = ["rate", "import-astronomaly", files / "ml_scores.csv", "--out", files / "back.csv"]
    status, printed = run(capsys, *back, "--scores", files / "scores.csv")
    assert status == 0, printed
    assert last_ratings(read_ratings(files / "back.csv")).to_dict() == {"c00": 1.0, "c13": 5.0}
    assert pd.read_csv(files / "scores.csv")["score"].tolist() == pytest.approx(np.linspace(5, 0, 24).tolist())


@pytest.mark.parametrize(
    ("ratings", "more", "message"),
    [
        ("cutout_id,rating\nc00,7\n", [], "row 2: rating '7'"),
        ("cutout_id,rating\nx,3\n", [], "none of the 1 rated objects"),
        ("cutout_id,rating\nc00,3\n", ["--method", "oracle"], "--method oracle: expected one of"),
        ("cutout_id,rating\nc00,3\n", ["--columns", "depth"], "no column 'depth'"),
        ("cutout_id,rating\nc00,3\n", ["--rule", "best"], "--rule best: expected one of"),
    ],
)
def test_bad_input_is_one_clear_line_and_no_round(capsys, files, ratings, more, message):
    (files / "ratings.csv").write_text(ratings)
    status, printed = propose(capsys, files, "--ratings", files / "ratings.csv", *more)
    assert status == 1
    assert message in printed
    assert "Traceback" not in printed
    assert not (files / "loop").exists()


def test_an_unknown_method_is_refused_before_anything_is_rated(capsys, files):
    status, printed = propose(capsys, files, "--method", "oracle")
    assert status == 1
    assert "--method oracle: expected one of" in printed
    assert not (files / "loop").exists()


def test_the_ranked_table_by_hand():
    table = FeatureTable(pa.table({"cutout_id": ["a", "b", "c"]}), np.zeros((3, 1), np.float32))
    prediction = Prediction(np.array([2.0, 3.0, 2.0]), np.zeros(3), np.array([0.5, 0.7, 0.5]))
    ranked = ranked_table(table, prediction, Rated(np.array([1]), np.array([4.0]), np.array([0.1, 0.2, 0.9])))
    assert ranked["cutout_id"].tolist() == ["b", "c", "a"]  # c before a by its starting score
    assert ranked["starting_rank"].tolist() == [2, 1, 3]
    assert ranked["rating"].fillna(0).tolist() == [4, 0, 0]
