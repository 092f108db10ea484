"""The result folder of an anomaly search, and the command."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from radiossl.anomalies.report import write_anomalies
from radiossl.anomalies.scores import AnomalySettings
from radiossl.anomalies.search import AnomalyOptions, find_anomalies, summary_lines
from radiossl.cli.main import main
from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError
from radiossl.store.store import STATISTICS

QUICK = AnomalySettings("forest", trees=100)


@pytest.fixture
def table(small_store):
    """The small store with features; c03, c04 and c11 are far from the others."""
    rng = np.random.default_rng(0)
    features = np.eye(5)[np.zeros(24, int)] + rng.normal(size=(24, 5)) * 0.02
    features[[3, 4, 11]] = np.eye(5)[[1, 2, 3]]
    names = ["cutout_id", "ra_deg", "dec_deg", "width", "blank_fraction", "flux", *STATISTICS]
    columns = {name: small_store.column(name) for name in names}
    columns["rating"] = [5 if row in (3, 4, 11) else (row % 3 + 1 if row < 20 else None) for row in range(24)]
    return FeatureTable(pa.table(columns), features.astype(np.float32), {"preprocessing": {}})


def test_a_search_without_labels(table, small_store, tmp_path):
    search = find_anomalies(table, settings=QUICK)
    report = write_anomalies(search, table, tmp_path, small_store)
    frame = pd.read_csv(tmp_path / "anomalies.csv")
    assert frame.columns.tolist()[:5] == ["rank", "cutout_id", "ra_deg", "dec_deg", "score"]
    assert frame["rank"].tolist() == list(range(1, 25))
    assert set(frame["cutout_id"][:3]) == {"c03", "c04", "c11"}
    assert frame["score"].is_monotonic_decreasing
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["objects"] == 24
    assert metrics["highest_score"] == pytest.approx(frame["score"][0])
    assert "correlation[blank_fraction]" in metrics
    page = report.read_text()
    assert page.count('<figure class="gallery">') == 2
    assert page.count('<figure class="drawn">') == 1  # the histogram
    assert summary_lines(search) == []


def test_a_search_with_labels_is_judged_beside_its_baselines(table, small_store, tmp_path):
    search = find_anomalies(
        table,
        tmp_path,
        label="rating",
        anomalous=[">=4"],
        settings=QUICK,
        options=AnomalyOptions(baselines=["flux"], seeds=2),
        store=small_store,
    )
    quality = pd.read_csv(tmp_path / "quality.csv").set_index("name")
    assert quality.index.tolist() == [
        *("Isolation Forest, all features", "neighbour distance, all features", "whitened density, all features"),
        *("flux", "compressed size", "random"),
    ]
    assert quality["auc"].iloc[:2].tolist() == [1.0, 1.0]
    assert quality.loc["random", "auc"] == pytest.approx(0.5, abs=0.06)
    assert quality.loc["random", "seeds"] == 100
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["labelled"], metrics["anomalous"]) == (20, 3)
    assert metrics["Isolation_Forest_all_features_auc"] == 1.0
    assert metrics["Isolation_Forest_all_features_crossing_recall"] == 1.0
    page = (tmp_path / "report.html").read_text()
    assert page.count("<figure class=") == 6
    assert "cannot exceed 0.333 and" in page
    assert len(summary_lines(search)) == 6


def test_ranking_and_scan_have_their_own_files(tmp_path):
    rng = np.random.default_rng(1)
    odd = np.arange(90) % 3 == 0
    features = rng.normal(size=(90, 6))
    features[odd, 2] += 5
    columns = {"cutout_id": [f"s{row}" for row in range(90)], "kind": np.where(odd, "odd", "plain")}
    table = FeatureTable(pa.table(columns), features.astype(np.float32))
    options = AnomalyOptions(top=2, rank=True, scan=True, seeds=1, folds=3)
    settings = AnomalySettings("forest", trees=3)
    find_anomalies(table, tmp_path, label="kind", anomalous=["odd"], settings=settings, options=options)
    assert pd.read_csv(tmp_path / "features.csv")["feature"][0] == 2
    scan = pd.read_csv(tmp_path / "scan.csv")
    assert len(scan) == 3 * 15 * 4  # the best 2 and 5 of six features, and all
    assert "scan_chosen_by_folds_auc" in json.loads((tmp_path / "metrics.json").read_text())
    assert "no gallery" in (tmp_path / "report.html").read_text()


def test_what_needs_labels_says_so(table):
    with pytest.raises(RadiosslError, match="need labels"):
        find_anomalies(table, settings=QUICK, options=AnomalyOptions(scan=True))


def test_a_store_of_other_cutouts_is_refused(table, small_store, tmp_path):
    other = small_store.select(np.arange(3))
    with pytest.raises(RadiosslError, match="give the store of the features"):
        write_anomalies(find_anomalies(table, settings=QUICK), table, tmp_path, other)


def test_noise_and_edges_are_marked_and_kept_out_of_the_gallery(table, small_store, tmp_path):
    columns = table.columns.to_pandas()
    columns.loc[3, "maximum"] = columns.loc[3, "background"] + 2 * columns.loc[3, "rms"]
    columns.loc[4, "blank_fraction"] = 0.5
    marked = FeatureTable(pa.Table.from_pandas(columns, preserve_index=False), table.features, table.metadata)
    find_anomalies(marked, tmp_path, settings=QUICK, store=small_store)
    frame = pd.read_csv(tmp_path / "anomalies.csv").set_index("cutout_id")
    assert frame["artefact"][["c03", "c04"]].tolist() == ["noise", "edge"]
    assert pd.isna(frame["artefact"]["c11"])
    number = frame["artefact"].notna().sum()
    assert f"{number} objects are noise alone or at an edge" in (tmp_path / "report.html").read_text()


def test_the_size_is_a_baseline_wherever_there_is_one(table, tmp_path, capsys):
    sizes = pa.array(np.where(np.arange(24) % 2, 10.0, None), pa.float64())
    sized = FeatureTable(table.columns.append_column("las_arcsec", sizes), table.features, table.metadata)
    sized = sized.select(np.arange(20))
    assert find_anomalies(sized, settings=QUICK).size is None  # all that are known are the same
    known = np.where(sized.column("rating") == 5, 50.0, 10.0 + np.arange(20))
    columns = sized.columns.set_column(sized.columns.column_names.index("las_arcsec"), "las_arcsec", pa.array(known))
    FeatureTable(columns, sized.features, sized.metadata).write(tmp_path / "sized.parquet")
    arguments = ["anomalies", tmp_path / "sized.parquet", "--out", tmp_path / "out", "--label", "rating"]
    assert main_status([*map(str, arguments), "--anomalous", "5", "--seeds", "1"]) == 0
    assert "column las_arcsec" in capsys.readouterr().out
    quality = pd.read_csv(tmp_path / "out" / "quality.csv").set_index("name")
    assert quality.loc["las_arcsec", "auc"] == 1.0


def test_the_command(table, tmp_path, capsys):
    table.write(tmp_path / "f.parquet")
    arguments = ["anomalies", str(tmp_path / "f.parquet"), "--out", str(tmp_path / "out"), "--method", "neighbours"]
    main_status(arguments)
    assert "24 objects, highest score" in capsys.readouterr().out
    for wrong, message in (
        (["--anomalous", "5"], "give the column of the labels with --label"),
        (["--label", "rating"], "say which values are anomalous"),
        (["--top-features", "few"], "--top-features few: expected a number"),
        (["--max-samples", "many"], "--max-samples many: expected auto"),
        (["--baseline", "colour"], "no column 'colour'"),
    ):
        assert main_status([*arguments, *wrong]) == 1
        assert message in capsys.readouterr().err


def main_status(arguments):
    try:
        main(arguments)
    except SystemExit as end:
        return end.code
    return 0
