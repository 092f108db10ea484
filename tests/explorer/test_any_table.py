"""Tables of any origin become what the explorer opens."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from PIL import Image

from radiossl.explorer.any_table import is_feature_table, open_table
from radiossl.explorer.session import Files, Session
from radiossl.explorer.start import explore
from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError
from radiossl.io.parquet import write_parquet

COUNT, SIDE = 24, 12


def png(row):
    stream = io.BytesIO()
    Image.fromarray(np.full((SIDE, SIDE), row, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def fits_bytes(row):
    stream = io.BytesIO()
    fits.PrimaryHDU(np.full((SIDE, SIDE), row, np.float32)).writeto(stream)
    return stream.getvalue()


@pytest.fixture
def frame(rng):
    return pd.DataFrame(
        {
            "Source_name": [f"J{row:03d}" for row in range(COUNT)],
            "RA": 10 + np.arange(COUNT) / 100,
            "DEC": -5.0,
            "embedding": list(rng.normal(size=(COUNT, 6))),
            "morphology": ["FRI", "FRII"] * (COUNT // 2),
        }
    )


def opened(source, folder, **options):
    path, images = open_table(source, folder, **options)
    assert is_feature_table(path)
    session = Session(Files(path, ratings=folder / "r.csv", labels=folder / "l.csv"), images)
    session.load()
    assert len(session) == COUNT
    return session


def written(frame, kind, path):
    if kind == "astropy":
        vectors = np.stack(frame["embedding"])
        plain = frame.drop(columns="embedding")
        cuts = np.array(frame["cut"].tolist(), object)
        return Table({name: plain[name].tolist() for name in plain} | {"embedding": vectors, "cut": cuts})
    table = pa.Table.from_pandas(frame)
    if kind == "pandas":
        return frame
    if kind == "arrow":
        return table
    if kind == "stream":
        with pa.ipc.new_stream(path / "t.arrow", table.schema) as stream:
            stream.write_table(table)
        return path / "t.arrow"
    name = path / f"t.{kind}"
    pq.write_table(table, name) if kind == "parquet" else pyarrow.feather.write_feather(table, name)
    return name


@pytest.mark.parametrize("kind", ["pandas", "astropy", "arrow", "parquet", "feather", "stream"])
def test_vectors_names_positions_and_images_are_found_whatever_they_are_called(frame, tmp_path, kind):
    session = opened(written(frame.assign(cut=list(map(png, range(COUNT)))), kind, tmp_path), tmp_path)
    assert session.cutout_id(3) == "J003"
    assert session.find("10.07 -5.0") == 7
    assert session.shown.class_column == "morphology"
    assert session.pixels(9).shape == (SIDE, SIDE)
    assert float(session.pixels(9).max()) == 9
    one = frame["embedding"][4] / np.linalg.norm(frame["embedding"][4])
    other = np.stack(frame["embedding"])
    best = np.argsort(-(other @ one) / np.linalg.norm(other, axis=1))[1]
    assert session.neighbours(4, 1)["row"].tolist() == [best]


@pytest.mark.parametrize(
    "images",
    [
        pytest.param(lambda row: {"bytes": png(row), "path": "x.png"}, id="as Hugging Face datasets have them"),
        pytest.param(fits_bytes, id="FITS"),
        pytest.param(lambda row: np.full((SIDE, SIDE), row, np.float32), id="arrays"),
    ],
)
def test_images_may_be_files_or_arrays_in_the_table(frame, tmp_path, images):
    session = opened(frame.assign(image=[images(row) for row in range(COUNT)]), tmp_path)
    assert float(session.pixels(5).max()) == 5
    assert session.picture(5, "minmax", "gray", 64).startswith(b"\x89PNG")


def test_images_may_be_files_beside_the_table_and_one_that_is_missing_is_not_shown(frame, tmp_path):
    for row in range(COUNT - 1):
        (tmp_path / f"c{row}.png").write_bytes(png(row))
    source = written(frame.assign(thumb=[f"c{row}.png" for row in range(COUNT)]), "parquet", tmp_path)
    session = opened(source, tmp_path / "..")
    assert float(session.pixels(6).max()) == 6
    assert session.pixels(COUNT - 1) is None


def test_sources_are_cut_from_a_mosaic_by_their_positions(frame, tmp_path):
    header = fits.Header(
        {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 10.12, "CRVAL2": -5.0, "CRPIX1": 100.5, "CRPIX2": 20.5}
    )
    header.update({"CDELT1": -0.002, "CDELT2": 0.002, "CUNIT1": "deg", "CUNIT2": "deg", "BUNIT": "Jy/beam"})
    pixels = np.random.default_rng(1).normal(size=(40, 200)).astype(np.float32)
    fits.writeto(tmp_path / "mosaic.fits", pixels, header)
    session = opened(frame, tmp_path, mosaics=[tmp_path / "mosaic.fits"], size=SIDE)
    assert session.pixels(11).shape == (SIDE, SIDE)
    assert abs(float(session.pixels(11)[0, 0])) in np.abs(pixels)
    with pytest.raises(RadiosslError, match="has no positions"):
        open_table(frame.drop(columns=["RA", "DEC"]), tmp_path, mosaics=[tmp_path / "mosaic.fits"])


def test_vectors_of_several_lengths_are_refused_and_masked_ones_left_out(frame, tmp_path):
    with pytest.raises(RadiosslError, match="table: column 'embedding' has vectors of 6 and of 5 features"):
        open_table(frame.assign(embedding=[*frame["embedding"][:-1], np.ones(5)]), tmp_path)
    vectors = np.ma.array(np.stack(frame["embedding"]), mask=False)
    vectors[3, 2] = np.ma.masked
    path, _ = open_table(Table({"name": frame["Source_name"].tolist(), "z": vectors}), tmp_path)
    with pytest.warns(UserWarning, match="1 of 24 rows left out"):
        assert "J003" not in FeatureTable.read(path).columns["cutout_id"].to_pylist()


def test_several_columns_of_vectors_are_asked_about(frame, tmp_path):
    several = frame.assign(other=frame["embedding"] * 2)
    with pytest.raises(RadiosslError, match="there are embedding, other; choose with --vectors"):
        open_table(several, tmp_path)
    with pytest.raises(RadiosslError, match="--vectors morphology: no such column of vectors"):
        open_table(several, tmp_path, vectors="morphology")
    with pytest.raises(RadiosslError, match="there is none"):
        open_table(frame.drop(columns=["embedding"]), tmp_path)
    assert opened(several, tmp_path, vectors="other", ids="morphology").cutout_id(2) == "FRI_2"


def test_sources_without_names_and_positions_are_numbered(frame, tmp_path):
    session = opened(frame[["embedding", "morphology"]], tmp_path)
    assert session.cutout_id(0) == "1"
    assert list(session.maps.coordinates) == ["principal components"]


def test_what_is_no_table_is_said(tmp_path):
    (tmp_path / "t.arrow").write_bytes(b"no table")
    with pytest.raises(RadiosslError, match="not a readable Arrow table"):
        open_table(tmp_path / "t.arrow", tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RadiosslError, match=r"\*.parquet"):
        open_table(tmp_path / "t.csv", tmp_path)


def test_units_of_an_astropy_table_count(frame, tmp_path):
    columns = {"name": frame["Source_name"], "z": np.stack(frame["embedding"])}
    images = np.arange(COUNT)[:, None, None] * np.ones((SIDE, SIDE))
    position = {"ra": frame["RA"].to_numpy() / 15 * u.hourangle, "dec": np.full(COUNT, -300.0) * u.arcmin}
    session = opened(Table({**columns, **position, "cut": images}), tmp_path)
    assert session.find("10.07 -5.0") == 7
    assert float(session.pixels(9).max()) == 9


def test_a_folder_of_features_is_a_table_and_a_folder_of_images_is_none(frame, tmp_path):
    (tmp_path / "parts").mkdir()
    features = pa.array(frame["embedding"].tolist(), pa.list_(pa.float32(), 6))
    table = pa.table({"cutout_id": frame["Source_name"], "note": list(map(str, range(COUNT))), "features": features})
    for part in range(2):
        write_parquet(
            table.slice(part * COUNT // 2, COUNT // 2), tmp_path / "parts" / f"part-0000{part}-of-00002.parquet"
        )
    assert opened(tmp_path / "parts", tmp_path, vectors="features").cutout_id(14) == "J014"
    assert opened(tmp_path / "parts", tmp_path, ids="note").cutout_id(14) == "14"
    (tmp_path / "images").mkdir()
    with pytest.raises(RadiosslError, match="images: is a folder without features; --vectors is of a table"):
        open_table(tmp_path / "images", tmp_path, vectors="features")


def test_names_of_images_are_refused_and_those_of_a_catalogue_checked_before_the_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    catalogue = pd.DataFrame({"name": ["a", "b", "c"], "ra": [10.0, 10.01, 9.99], "dec": -5.0})
    with pytest.raises(RadiosslError, match="no column 'nmae' for --id; there are name, ra, dec"):
        explore(catalogue, mosaics=[tmp_path / "m.fits"], ids="nmae", export="page.html")
    (tmp_path / "images").mkdir()
    with pytest.raises(RadiosslError, match="--id name: images have their own names"):
        explore(tmp_path / "images", ids="name", export="page.html")
    (tmp_path / "taken").write_text("")
    with pytest.raises(RadiosslError, match="taken: is a file, a folder was expected"):
        explore(tmp_path / "images", export=tmp_path / "taken")
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(RadiosslError, match=r"taken\.html: is a folder, a file was to be written"):
        explore(tmp_path / "images", export=tmp_path / "taken.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "taken", "taken.html"]


def test_a_wrong_column_of_names_is_said_with_the_file(frame, tmp_path):
    path = written(frame, "parquet", tmp_path)
    with pytest.raises(RadiosslError, match=r"^t\.parquet: no column 'nmae' for --id; there are Source_name"):
        open_table(path, tmp_path, ids="nmae")


def test_a_folder_without_a_map_is_not_taken_for_one(frame, tmp_path):
    (tmp_path / "survey").mkdir()
    path, images = open_table(frame, tmp_path)
    files = Files(path, ratings=tmp_path / "r.csv", labels=tmp_path / "l.csv", map_folder=tmp_path / "survey")
    assert len(Session(files, images)) == COUNT  # empty: where a map can be written
    (tmp_path / "survey" / "mosaic.fits").write_text("")
    with pytest.raises(RadiosslError, match="survey: holds no map"):
        Session(files, images)


def test_a_frame_is_exported_in_one_call(frame, tmp_path):
    said = []
    options = {"ratings": tmp_path / "r.csv", "labels": tmp_path / "l.csv"}
    explore(frame.assign(cut=list(map(png, range(COUNT)))), export=tmp_path / "page.html", say=said.append, **options)
    assert said == [f"{tmp_path / 'page.html'}: opens in a browser, from a disk or a web server"]
    assert "data:image/jpeg" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("count", [1, 2, 6])
def test_few_sources_are_explored_too(frame, tmp_path, count):
    few = frame.iloc[:count].assign(cut=[png(row) for row in range(count)])
    explore(few, export=tmp_path / "page.html", say=lambda line: None, ratings=tmp_path / "r.csv")
    path, images = open_table(few, tmp_path)
    session = Session(Files(path, ratings=tmp_path / "r.csv", labels=tmp_path / "l.csv"), images)
    places = session.maps.coordinates["principal components"]
    assert len(np.unique(places.round(3), axis=0)) == count  # none on top of another


def test_a_catalogue_is_explored_again_with_other_boxes(survey, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 10.0, "CRVAL2": -5.0})
    header.update({"CRPIX1": 50.5, "CRPIX2": 50.5, "CDELT1": -0.001, "CDELT2": 0.001, "BUNIT": "Jy/beam"})
    fits.writeto("m.fits", np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32), header)
    catalogue = pd.DataFrame({"name": ["a", "b", "c"], "ra": [10.0, 10.01, 9.99], "dec": -5.0})
    options = {"mosaics": [tmp_path / "m.fits"], "weights": survey.weights, "export": "page.html"}
    said = []
    for size in (16, 24):
        explore(catalogue, size=size, say=said.append, **options)
        assert set(pq.read_table("explored.parquet")["height"].to_pylist()) == {size}
    assert [line for line in said if "replaced" in line] == ["explored.images: replaced by what is cut now"]
    before = {path.name: path.read_bytes() for path in Path("explored.images").iterdir()}
    fits.writeto("m.fits", np.full((100, 100), np.nan, np.float32), header, overwrite=True)
    with pytest.raises(RadiosslError, match="every pixel of the mosaic is blank"):
        explore(catalogue, size=20, say=said.append, **options)
    assert len([line for line in said if "replaced" in line]) == 2, "it had been put aside"
    assert {path.name: path.read_bytes() for path in Path("explored.images").iterdir()} == before
    assert set(pq.read_table("explored.parquet")["height"].to_pylist()) == {24}
    assert not Path("explored.before").exists()


def test_a_frame_of_images_alone_is_explored(frame, survey, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = [np.random.default_rng(row).normal(size=(SIDE + row % 3, SIDE)) for row in range(COUNT)]
    source = frame.drop(columns="embedding").assign(picture=images)
    for ids, name in ((None, "J003"), ("morphology", "FRII_2")):
        explore(source, weights=survey.weights, ids=ids, export="page.html", say=lambda line: None)
        made = pq.read_table("explored.parquet")
        assert made["cutout_id"][3].as_py() == name
        assert made["ra_deg"][3].as_py() == pytest.approx(10.03)
    session = opened(Path("explored.parquet"), tmp_path)
    assert session.find("10.07 -5.0") == 7
    np.testing.assert_allclose(session.pixels(7), images[7], rtol=1e-6)
    with pytest.raises(RadiosslError, match=r"row 2 \(J001\): no image"):
        explore(source.assign(picture=[images[0], None, *images[2:]]), weights=survey.weights, export="page.html")
