"""The result folder of a map, and how its columns are coloured."""

import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from radiossl import RadiosslError
from radiossl.cli.main import app, main
from radiossl.features.table import FeatureTable
from radiossl.maps import figures as drawing
from radiossl.maps.figures import (
    ClassColours,
    NumberColours,
    column_colours,
    draw_map,
    draw_thumbnails,
    map_limits,
    thumbnail_cells,
)
from radiossl.maps.layout import make_map
from radiossl.maps.report import existing_coordinates, write_map
from radiossl.report import figures as figures_of_reports


def table_of(**columns):
    count = len(next(iter(columns.values())))
    columns = {"cutout_id": [f"c{row:02d}" for row in range(count)], **columns}
    return FeatureTable(pa.table(columns), np.random.default_rng(0).normal(size=(count, 6)).astype(np.float32))


# Colours --------------------------------------------------------------------------------------------------------------


def test_numbers_are_coloured_between_robust_limits():
    values = np.concatenate([np.linspace(0, 100, 101), [1e9]])
    colours = column_colours(table_of(flux=values), "flux")
    assert isinstance(colours, NumberColours)
    np.testing.assert_allclose([colours.low, colours.high], np.percentile(values, [1, 99]))
    assert colours.high < 101
    assert not colours.logarithmic  # 0 has no logarithm


@pytest.mark.parametrize(("low", "high", "logarithmic"), [(1e-4, 1e-1, True), (1.0, 4.0, False), (-1.0, 1e5, False)])
def test_the_scale_is_logarithmic_where_it_spans_decades(low, high, logarithmic):
    values = np.geomspace(low, high, 50) if low > 0 else np.linspace(low, high, 50)
    assert column_colours(table_of(flux=values), "flux").logarithmic is logarithmic


def test_missing_and_infinite_numbers_are_unknown():
    colours = column_colours(table_of(flux=[1.0, None, np.inf, 3.0]), "flux")
    np.testing.assert_array_equal(np.isnan(colours.values), [False, True, True, False])


def test_text_and_few_integers_are_classes():
    colours = column_colours(table_of(kind=["b", "a", None, "b"]), "kind")
    assert (colours.names, colours.codes.tolist()) == (("a", "b"), [1, 0, -1, 1])
    codes = column_colours(table_of(kind=pa.array([200, 100, None, 310])), "kind")
    assert (codes.names, codes.codes.tolist()) == (("100", "200", "310"), [1, 0, -1, 2])
    assert codes.colours[0] == drawing.CLASS_COLOURS[0]
    assert isinstance(column_colours(table_of(bent=[True, False]), "bent"), ClassColours)
    assert isinstance(column_colours(table_of(size=np.arange(13)), "size"), NumberColours)


def test_consecutive_integers_are_shades_in_order():
    colours = column_colours(table_of(score=pa.array([1, 5, 3, 2, 4, None])), "score")
    brightness = [sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in colours.colours]
    assert colours.names == ("1", "2", "3", "4", "5")
    assert brightness == sorted(brightness)


def test_rare_classes_share_a_colour():
    kinds = [f"k{i:02d}" for i in range(30) for _ in range(31 - i)] + [None]
    colours = column_colours(table_of(kind=kinds), "kind", most=16)
    assert colours.names == (*(f"k{i:02d}" for i in range(16)), "14 others")
    counts = np.bincount(colours.codes + 1)
    assert counts[0] == 1
    assert counts[1] == 31
    assert counts[-1] == sum(31 - i for i in range(16, 30))
    pairs = {(colour, index // 8) for index, colour in enumerate(colours.colours)}
    assert len(pairs) == 17  # colour and marker together tell them apart


def test_what_cannot_be_coloured_is_refused():
    with pytest.raises(RadiosslError, match="no column 'x'"):
        column_colours(table_of(flux=[1.0]), "x")
    with pytest.raises(RadiosslError, match="--colour flux: the column has no value"):
        column_colours(table_of(flux=pa.array([None, None], pa.float64())), "flux")
    with pytest.raises(RadiosslError, match=r"--colour beam: a column of list<.*> cannot be coloured"):
        column_colours(table_of(beam=[[1.0], [2.0]]), "beam")


# Thumbnails -----------------------------------------------------------------------------------------------------------


def test_limits_hold_all_points_at_one_scale():
    points = np.random.default_rng(0).normal(size=(50, 2)) * [1, 30]
    left, right, bottom, top = map_limits(points)
    assert left < points[:, 0].min() < points[:, 0].max() < right
    assert bottom < points[:, 1].min() < points[:, 1].max() < top
    assert (right - left) / (top - bottom) == pytest.approx(1.2)


def test_each_cell_shows_the_source_nearest_to_its_centre():
    points = np.random.default_rng(0).uniform(size=(300, 2))
    cells = thumbnail_cells(points, (0, 1, 0, 1), 6, 5)
    for row in range(5):
        for column in range(6):
            centre = np.array([(column + 0.5) / 6, (row + 0.5) / 5])
            inside = [
                i for i, (x, y) in enumerate(points) if int(x * 6) == column and int(y * 5) == row
            ]  # the slow twin
            nearest = min(inside, key=lambda i: np.sum(((points[i] - centre) * [6, 5]) ** 2))
            assert cells[row, column] == nearest
    assert thumbnail_cells(np.array([[1.0, 1.0], [0.0, 0.0]]), (0, 1, 0, 1), 6, 5) == {(4, 5): 0, (0, 0): 1}


def test_thumbnails_stand_where_their_sources_lie(store_of, tmp_path):
    """A cutout that is bright below and dark above lies upper right, with its first row lowest."""
    image = np.zeros((20, 20), np.float32)
    image[:10] = 1.0
    store = store_of([image, np.full((20, 20), np.nan, np.float32)])
    coordinates = np.array([[1.0, 1.0], [0.0, 0.0]])
    draw_thumbnails(coordinates, ["c0", "c1"], store, out=tmp_path / "t.png")
    rgb = np.asarray(Image.open(tmp_path / "t.png").convert("RGB")).astype(int)

    def pixels_of(colour):  # resampling may move a colour by a little
        return np.argwhere((np.abs(rgb - colour) < 8).all(axis=2))

    bright, dark = pixels_of([252, 255, 164]), pixels_of([0, 0, 4])  # the ends of inferno
    blank = pixels_of([140, 140, 140])
    dark = dark[dark[:, 1] > bright[:, 1].min()]  # not the axis at the left
    dark = dark[dark[:, 0] < bright[:, 0].max()]  # nor that below
    assert bright[:, 0].mean() > dark[:, 0].mean()  # rows of a PNG count from above
    assert blank[:, 0].mean() > bright[:, 0].mean()
    assert blank[:, 1].mean() < bright[:, 1].mean()


def test_letters_of_a_map_are_read_at_any_size_of_it(small_store, tmp_path, monkeypatch):
    kept, save = [], figures_of_reports.save_figure
    monkeypatch.setattr(figures_of_reports, "save_figure", lambda figure, out: (kept.append(figure), save(figure, out)))
    draw_map(np.eye(2), None, out=tmp_path / "m.png", label="")
    draw_thumbnails(np.eye(2), ["c00", "c01"], small_store, out=tmp_path / "t.png")
    widths, sizes = zip(
        *((figure.get_figwidth(), figure.axes[0].xaxis.label.get_size()) for figure in kept), strict=True
    )
    assert widths[1] > 1.9 * widths[0]
    on_page = [size * min(1, 10 / width) for size, width in zip(sizes, widths, strict=True)]  # 60 rem are 10 inches
    assert on_page[1] == pytest.approx(on_page[0])


def test_cells_at_the_edge_of_a_map_are_not_cut(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(figures_of_reports, "save_figure", lambda figure, out: kept.append(figure))
    draw_map(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), None, out=tmp_path / "m.png", label="")
    axes = kept[0].axes[0]
    (cells,) = axes.collections
    outline = cells.get_paths()[0].vertices
    corners = np.concatenate([outline + offset for offset in cells.get_offsets()])
    for values, (low, high) in zip(corners.T, (axes.get_xlim(), axes.get_ylim()), strict=True):
        assert low < values.min()
        assert values.max() < high


def test_thumbnails_need_the_store_of_the_features(small_store, tmp_path):
    with pytest.raises(RadiosslError, match="has no cutout 'elsewhere'"):
        draw_thumbnails(np.eye(2), ["c00", "elsewhere"], small_store, out=tmp_path / "t.png")


# Millions -------------------------------------------------------------------------------------------------------------


def test_pixels_hold_the_number_and_the_mean_of_their_sources():
    rng = np.random.default_rng(0)
    points, values = rng.normal(size=(20_000, 2)), rng.normal(size=20_000)
    limits = map_limits(points)
    counts, means = drawing._raster(points, limits, None), drawing._raster(points, limits, values)
    edges = [np.linspace(*limits[2:], counts.shape[0] + 1), np.linspace(*limits[:2], counts.shape[1] + 1)]
    expected, _, _ = np.histogram2d(points[:, 1], points[:, 0], edges)
    sums, _, _ = np.histogram2d(points[:, 1], points[:, 0], edges, weights=values)
    assert counts.sum() == 20_000
    assert (counts != expected).mean() < 1e-3  # points on an edge may round to either side
    same = (counts == expected) & (expected > 0)
    np.testing.assert_allclose(means[same], sums[same] / expected[same], atol=1e-9)
    assert np.isnan(means[counts == 0]).all()


def test_pixels_blend_the_classes_of_their_sources():
    points = np.array([[0.0, 0.0]] * 100 + [[1.0, 1.0]] * 100 + [[1.0, 0.0]] * 2)
    codes = np.array([0] * 100 + [1] * 100 + [0, 1])
    blend = drawing._blended(points, ClassColours(codes, ("a", "b"), ("#ff0000", "#0000ff")), (-0.1, 1.1, -0.1, 1.1))
    filled = blend[blend[..., 3] > 0]
    assert len(filled) == 3
    assert blend[: len(blend) // 2, : blend.shape[1] // 2][..., 0].max() == 255  # red lies lower left
    assert {tuple(pixel[:3]) for pixel in filled} == {(255, 0, 0), (0, 0, 255), (127, 0, 127)}


@pytest.mark.parametrize("column", ["flux", "kind", None])
def test_rasters_have_axes_and_legends_like_points(tmp_path, column):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(3000, 2))
    table = table_of(flux=rng.lognormal(0, 2, 3000), kind=rng.choice(["a", "b", "c"], 3000))
    colours = None if column is None else column_colours(table, column)
    sizes = []
    for above, name in ((10, "raster"), (10_000, "points")):
        draw_map(points, colours, out=tmp_path / f"{name}.png", label=str(column), raster_above=above)
        sizes.append(np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")))
    for picture in sizes:
        assert (picture[-60:] < 100).any()  # writing below
        assert (picture[:, -60:] < 160).any()  # and at the right
    assert not np.array_equal(*(picture[:600, :600] for picture in sizes))


# Folder ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def features(small_store, tmp_path):
    """A feature table of the small store whose first direction is the flux."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 0.05, (24, 8))
    vectors[:, 0] += 1
    vectors[:, 1] += np.arange(24) / 10
    about = {"weights": "w", "weights_sha256": "a" * 64, "stores": [str(small_store.paths[0])]}
    table = FeatureTable(small_store.table, vectors.astype(np.float32), about)
    table.write(tmp_path / "f.parquet")
    return tmp_path / "f.parquet"


FIGURES = ("density", "map_flux", "map_kind", "thumbnails")


def test_the_command_writes_a_result_folder(features, tmp_path, capsys):
    out = tmp_path / "map"
    app(
        ["map", str(features), "--method", "pca", "--colour", "kind", "--colour", "flux", "--out", str(out)],
        standalone_mode=False,
    )
    assert "24 sources, trustworthiness" in capsys.readouterr().out
    figures = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg", "pdf")}
    others = {"map.csv", "map.parquet", "metrics.json", "reducer.safetensors"}
    assert {path.name for path in out.iterdir()} == {".checksums.json", "report.html", *figures, *others}
    frame = pd.read_parquet(out / "map.parquet")
    assert frame.columns.tolist() == ["cutout_id", "ra_deg", "dec_deg", "x", "y", "fitted", "kind", "flux"]
    made = make_map(FeatureTable.read(features), "pca")
    np.testing.assert_array_equal(frame[["x", "y"]].to_numpy(), made.coordinates)
    np.testing.assert_allclose(pd.read_csv(out / "map.csv")["x"], frame["x"], rtol=1e-6)
    np.testing.assert_array_equal(existing_coordinates(out), made.coordinates)
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["method"], metrics["objects"], metrics["fitted"]) == ("pca", 24, 24)
    assert abs(metrics["spearman_pc_1_flux"]) > 0.9
    page = (out / "report.html").read_text()
    assert "follows flux" in page
    assert set(re.findall(r'href="([^"#]+)"', page)) == figures | others


@pytest.mark.slow
def test_later_sources_are_placed_on_the_map(features, tmp_path):
    app(["map", str(features), "--method", "pca", "--out", str(tmp_path / "one")], standalone_mode=False)
    onto = ["--onto", str(tmp_path / "one"), "--out", str(tmp_path / "two")]
    app(["map", str(features), *onto], standalone_mode=False)
    one, two = (existing_coordinates(tmp_path / name) for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)
    assert json.loads((tmp_path / "two" / "metrics.json").read_text())["fitted"] == 0
    assert "placed on an existing map" in (tmp_path / "two" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--colour", "nothing"], "no column 'nothing' in the features"),
        (["--colour", "x"], "--colour x: map.parquet has its own column"),
        (["--onto", "there", "--method", "pca"], "--method: the map of --onto is already made"),
        (["--method", "pca", "--min-dist", "0.2"], "--min-dist: settings of UMAP, but --method is pca"),
        (["--onto", "there"], "no such file"),
        (["--neighbours", "24"], "24 sources: a map by umap with these options needs at least 25"),
    ],
)
def test_bad_options_end_in_one_line_and_leave_nothing(features, tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    pca = [] if any(a in arguments for a in ("--method", "--onto", "--neighbours")) else ["--method", "pca"]
    with pytest.raises(SystemExit):
        main(["map", str(features), *arguments, *pca, "--out", str(out)])
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_without_a_store_no_cutout_is_drawn(tmp_path):
    table = table_of(kind=["a", "b"] * 10)
    report = write_map(make_map(table, "pca"), table, tmp_path / "out", ["kind"])
    assert not (tmp_path / "out" / "thumbnails.png").exists()
    assert report.is_file()
