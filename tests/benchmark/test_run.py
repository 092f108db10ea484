"""A benchmark from stores and weights to its folder; what it computed before is used again."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import radiossl.benchmark.methods as methods
import radiossl.benchmark.run as running
from radiossl.benchmark.changes import changed_store, fitting_sources
from radiossl.benchmark.methods import FeatureMethod, SameReadout
from radiossl.benchmark.report import markdown_table, write_benchmark
from radiossl.benchmark.run import run_benchmark
from radiossl.benchmark.tasks import Change, FindTask, read_tasks
from radiossl.cli.main import main
from radiossl.io.errors import RadiosslError
from radiossl.pretraining.whitening import fit_whitening
from radiossl.store.cutout import Beam, Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.store import open_store
from radiossl.store.writing import write_store
from radiossl.weights.backbone import Backbone
from radiossl.weights.readout import Whitening

TASKS = """
title: Doubles
tasks:
  classes: {kind: classify, train: wide, label: fr, field_px: 32, few: [8], retrieval: true}
  elsewhere: {kind: classify, train: wide, test: others, label: fr}
  found: {kind: find, store: wide, sources: 12, changes: {shift: {shift: 0.1}, survey: {beam_arcsec: 9, first: 10}}}
  ratings: {kind: rate, store: wide, label: rating, few: [12]}
  absent: {kind: rate, store: nowhere, label: rating}
"""


def _double(index, side=96):
    """A double source of some size, angle and brightness ratio; FRII are brightest at their ends."""
    rng = np.random.default_rng(index)
    y, x = np.indices((side, side)) - (side - 1) / 2
    angle, half = rng.uniform(0, np.pi), rng.uniform(5, 10)
    ends = half * (1.0 if index % 2 else 0.4)
    image = rng.normal(0, 1e-4, (side, side))
    for sign in (-1, 1):
        dy, dx = y - sign * ends * np.sin(angle), x - sign * ends * np.cos(angle)
        image += 0.01 * rng.uniform(0.5, 1) * np.exp(-(dy**2 + dx**2) / (2 * 1.3**2))
    return image.astype(np.float32), 2 * half * 1.8


def _write(path, indices):
    schema = store_schema(pa.schema([("fr", pa.string()), ("las_arcsec", pa.float64()), ("rating", pa.float64())]))

    def cutout(index):
        pixels, size = _double(index)
        extra = {"fr": ["FRI", "FRII"][index % 2], "las_arcsec": size, "rating": 2.0 + 2 * (index % 2)}
        place = (10 + 0.1 * index, -5.0, 48.0, 48.0, 1.8)
        return Cutout(f"s{index:03d}", pixels, "m.fits", *place, "Jy/beam", Beam(5.4, 5.4), extra)

    return write_store(path, [0], lambda _: cutout_batches(map(cutout, indices), schema), schema, {"command": "test"})


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    _write(folder / "wide", range(24))
    _write(folder / "others", range(24, 36))
    (folder / "tasks.yaml").write_text(TASKS)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory, tiny_backbone):
    from radiossl.weights.backbone import save_backbone

    path = tmp_path_factory.mktemp("weights") / "tiny"
    save_backbone(path, tiny_backbone.network, tiny_backbone.config)
    return path


@pytest.fixture(scope="module")
def result(stores, weights, tmp_path_factory):
    return run_benchmark([weights], stores / "tasks.yaml", tmp_path_factory.mktemp("cache"), seeds=1, initialisations=2)


@pytest.mark.slow
def test_every_measure_stands_beside_all_baselines(result):
    table = result.scores.pivot(index=["task", "measure"], columns="method", values="score")
    assert {"tiny", "random weights", "raw pixels", "moments"} <= set(table.columns)
    assert table.notna().all(axis=None)
    assert ((table >= 0) & (table <= 1)).all(axis=None)
    assert set(table.index.get_level_values("task")) == {"classes", "elsewhere", "found", "ratings"}
    assert list(result.missing) == ["absent"]
    counts = result.scores.set_index(["task", "measure", "method"])["objects"]
    assert counts["classes", "regression", "tiny"] == 24
    assert counts["elsewhere", "regression", "tiny"] == 12
    assert counts["found", "shift", "tiny"] == 12
    moments = table["moments"]
    assert moments["classes", "regression"] > 0.9  # the concentration of these doubles gives them away


@pytest.mark.slow
def test_random_weights_are_as_good_as_themselves(result):
    """The tested backbone is one of the two random initialisations."""
    rows = result.scores[result.scores["method"].isin(["tiny", "random weights"])]
    for _, pair in rows.groupby(["task", "measure"]):
        mine, random = pair.set_index("method").loc[["tiny", "random weights"]].itertuples()
        assert random.lowest <= mine.score <= random.highest


@pytest.mark.slow
def test_the_folder_has_one_table_and_one_picture(result, tmp_path):
    report = write_benchmark(result, tmp_path / "out")
    table = (tmp_path / "out" / "table.md").read_text()
    assert table.startswith(markdown_table(result))
    assert "| found | shift | 12 |" in table
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert len(scores) == len(result.scores)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    chosen = scores[(scores["task"] == "ratings") & (scores["method"] == "moments")].iloc[0]
    assert metrics[f"ratings, {chosen['measure']}: moments"] == pytest.approx(chosen["score"])
    assert "nowhere is not there" in report.read_text()
    assert "**" in table
    assert "**" not in report.read_text()
    mean = scores[scores["method"] == result.backbones[0]]["score"].mean()
    assert f'<p class="verdict">{result.backbones[0]}: mean {mean:.3f} over ' in report.read_text()
    assert (tmp_path / "out" / "benchmark.png").stat().st_size > 10_000


def test_nothing_is_computed_twice(stores, weights, tmp_path, monkeypatch):
    first = run_benchmark([weights], stores / "tasks.yaml", tmp_path, quick=True)

    def refuse(*_):
        raise AssertionError("features were made again")

    def lazy(name, backbone):
        return FeatureMethod(name, backbone.adapted(views=8, field_px=None).identity, refuse)

    monkeypatch.setattr(running, "backbone_method", lazy)
    again = run_benchmark([weights], stores / "tasks.yaml", tmp_path, quick=True)
    pd.testing.assert_frame_equal(first.scores, again.scores)
    with pytest.raises(AssertionError, match="made again"):
        run_benchmark([weights], stores / "tasks.yaml", tmp_path / "other", quick=True)


@pytest.mark.slow
def test_baselines_are_whitened_on_the_same_images_or_it_is_said(stores, tiny_backbone, tmp_path, monkeypatch):
    store = open_store(stores / "wide")
    whitening = fit_whitening(tiny_backbone, [store], "last", components=4, views=2)
    config = replace(tiny_backbone.config, whitening=whitening)
    white = Backbone(tiny_backbone.network, config, "white").with_readout("last", 4)
    same = SameReadout([store], tmp_path / "whitenings")
    drawn = same(Backbone.random(config.architecture, config.preprocessing, 1), white)
    assert drawn.feature_dim == 4
    assert len(list((tmp_path / "whitenings").iterdir())) == 1
    fewer = Whitening(whitening.mean, whitening.components[:3])  # fewer directions may tell sources apart
    monkeypatch.setattr(methods, "fit_whitening", lambda *_: fewer)
    assert same(Backbone.random(config.architecture, config.preprocessing, 2), white).feature_dim == 3
    one = stores / "one.yaml"
    one.write_text(
        "title: One\ntasks: {found: {kind: find, store: wide, sources: 10, changes: {shift: {shift: 0.1}}}}\n"
    )
    with pytest.warns(UserWarning, match=r"not whitened: give its training images \(--unlabelled\)"):
        run_benchmark([white], one, tmp_path / "cache", seeds=1, initialisations=1)


def test_the_command_prints_the_table(stores, weights, tmp_path, capsys):
    with pytest.raises(SystemExit) as done:
        main(
            [
                "benchmark",
                str(weights),
                "--tasks",
                str(stores / "tasks.yaml"),
                "--out",
                str(tmp_path / "out"),
                "--quick",
            ]
        )
    assert done.value.code == 0
    printed = capsys.readouterr()
    assert "| classes | regression, 8 labels | 24 |" in printed.out
    assert "absent is left out" in printed.err
    assert "random weights" not in printed.out


def test_faults_are_one_line(stores, weights, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("title: t\ntasks: {x: {kind: classify, train: wide, label: fr, fiel_px: 3}}")
    with pytest.raises(RadiosslError, match="fiel_px"):
        read_tasks(bad)
    bad.write_text("title: t\ntasks: {x: {kind: rate, store: wide, label: rating}}")
    with pytest.raises(RadiosslError, match="none of its stores is there"):
        run_benchmark([weights], bad, tmp_path)
    columns = stores / "columns.yaml"  # told before the first task is measured
    columns.write_text(TASKS.replace("kind: find, store: wide,", "kind: find, store: wide, extent: size,"))
    with pytest.raises(RadiosslError, match=r"wide: no column 'size'; there are cutout_id"):
        run_benchmark([weights], columns, tmp_path)
    with pytest.raises(RadiosslError, match="given twice"):
        run_benchmark([weights, weights], stores / "tasks.yaml", tmp_path)


# Changed images -------------------------------------------------------------------------------------------------------


TASK = FindTask(kind="find", store="wide", changes={"zoom": Change(zoom=1.33)})


def _changed(stores, tmp_path, **change):
    store = open_store(stores / "wide")
    return store, changed_store(store, TASK, Change(**change), tmp_path / "changed", 0)


def test_the_original_is_the_central_box(stores, tmp_path):
    store, changed = _changed(stores, tmp_path)
    for row in range(5):
        side = round(1.5 * store.column("las_arcsec")[row] / 1.8)
        assert changed.pixels(row).shape == (side, side)
        top = round((96 - side) / 2)
        np.testing.assert_array_equal(changed.pixels(row), store.pixels(row)[top : top + side, top : top + side])


def test_benchmarks_that_share_a_cache_do_not_wait_for_each_other(stores, tmp_path):
    from radiossl.io.locks import only_writer

    with only_writer(tmp_path / "changed"):  # as another one holds it that writes the same store
        _, changed = _changed(stores, tmp_path)
    assert len(changed) == 24
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["changed"]


def test_zoom_shows_more_of_the_field(stores, tmp_path):
    store, changed = _changed(stores, tmp_path, zoom=1.33)
    sides = 1.33 * np.maximum(1.5 * store.column("las_arcsec") / 1.8, 16)
    np.testing.assert_allclose(changed.shapes[:, 0], sides, atol=0.51)


def test_shift_moves_the_source_by_its_share_of_the_box(stores, tmp_path):
    from scipy.ndimage import center_of_mass

    store, changed = _changed(stores, tmp_path, shift=0.1)
    for row in range(10):
        image = np.where(changed.pixels(row) > 1e-3, changed.pixels(row), 0)
        whole = np.where(store.pixels(row) > 1e-3, store.pixels(row), 0)
        side = len(image)
        moved = np.array(center_of_mass(image)) - (side - 1) / 2 - (np.array(center_of_mass(whole)) - 47.5)
        assert np.hypot(*moved) == pytest.approx(0.1 * 1.5 * store.column("las_arcsec")[row] / 1.8, abs=0.8)


def test_rotation_turns_by_its_angle(stores, tmp_path):
    from scipy.ndimage import rotate

    store, changed = _changed(stores, tmp_path, rotation_deg=30)
    for row in range(5):
        side = len(changed.pixels(row))
        whole = rotate(store.pixels(row), 30, reshape=False)
        margin = (96 - side) / 2
        top = int(margin)
        if margin != top:
            continue
        mine, other = changed.pixels(row), whole[top : top + side, top : top + side]
        assert max(np.corrcoef(mine.ravel(), each.ravel())[0, 1] for each in (other, other.T)) > 0.9


def test_a_larger_beam_keeps_the_flux_and_widens_the_source(store_of, tmp_path):
    y = np.arange(64) - 31.5
    sigma = 5.4 / 1.8 / np.sqrt(8 * np.log(2))  # a point source
    store = store_of([np.exp(-(y[:, None] ** 2 + y**2) / (2 * sigma**2)).astype(np.float32)])
    task = FindTask(kind="find", store="", extent="x", beam_arcsec=5.4, min_px=48, changes={"beam": Change()})
    image = changed_store(store, task, Change(beam_factor=2), tmp_path / "changed", 0).pixels(0).astype(float)
    assert image.sum() == pytest.approx(
        4 * store.pixels(0).sum(), rel=0.02
    )  # brightness is per beam, now 4 times larger
    y = np.arange(48) - 23.5
    assert (image * y**2).sum() / image.sum() == pytest.approx(4 * sigma**2, rel=0.02)


def test_noise_is_added_in_units_of_the_rms_and_looks_like_the_beam(stores, tmp_path):
    store, changed = _changed(stores, tmp_path, noise=3)
    _, plain = store, changed_store(store, TASK, Change(), tmp_path / "plain", 0)
    added = [changed.pixels(row).astype(float) - plain.pixels(row) for row in range(24)]
    ratio = np.mean([noise.std() / store.column("rms")[row] for row, noise in enumerate(added)])
    assert ratio == pytest.approx(3, rel=0.15)
    neighbours = np.mean([np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1] for noise in added])
    assert neighbours > 0.6  # white noise would give 0


def test_the_noise_of_a_changed_box_is_that_of_its_field(stores, tmp_path):
    store, changed = _changed(stores, tmp_path)
    np.testing.assert_allclose(changed.column("rms"), store.column("rms"), rtol=1e-5)
    assert (changed.shapes < store.shapes).all()


def test_another_survey_has_its_own_pixels(stores, tmp_path):
    store, changed = _changed(stores, tmp_path, beam_arcsec=15, pixel_arcsec=4)
    np.testing.assert_allclose(changed.column("pixel_scale_arcsec"), 4.0)
    sides = np.maximum(1.5 * store.column("las_arcsec") / 4, 16)
    np.testing.assert_allclose(changed.shapes[:, 0], sides, atol=0.51)


def test_sources_too_large_for_their_cutouts_are_left_out(stores):
    store = open_store(stores / "wide")
    wide = FindTask(kind="find", store="wide", changes={"zoom": Change(zoom=4)})
    fits = fitting_sources(store, wide)
    assert 10 <= len(fits) < len(store)
    assert (fits.column("las_arcsec") / 1.8 * 1.5 * 4 < 96).all()
    with pytest.raises(RadiosslError, match="cut wider ones"):
        fitting_sources(store, FindTask(kind="find", store="wide", box_factor=4, changes={"zoom": Change(zoom=4)}))


def test_an_unknown_beam_is_asked_for(stores, tmp_path, store_of):
    store = store_of([np.ones((40, 40), np.float32)])
    task = FindTask(kind="find", store="wide", extent="x", changes={"beam": Change(beam_factor=2)})
    with pytest.raises(RadiosslError, match="give beam_arcsec"):
        changed_store(store, task, Change(beam_factor=2), tmp_path / "changed", 0)
