"""`radiossl datasets ...` from the outside."""

import pytest
from PIL import Image

from radiossl import open_store
from radiossl.datasets.published import published_set, set_names
from radiossl.io.tables import read_table
from tests.command import run


def test_list_names_every_set(capsys):
    status, out, _ = run(capsys, "datasets", "list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == set_names()


@pytest.mark.parametrize("name", set_names())
def test_list_describes_a_set(capsys, name):
    status, out, _ = run(capsys, "datasets", "list", name)
    assert status == 0
    dataset = published_set(name)
    assert dataset.title in out
    for selection in dataset.selections:
        assert f"--select {selection}:" in out


def test_import_makes_a_store_and_says_what_is_missing(capsys, tmp_path):
    source = tmp_path / "images" / "FRI"
    source.mkdir(parents=True)
    Image.new("L", (8, 8), 3).save(source / "a.png")
    status, out, _ = run(
        capsys, "datasets", "import", "images", source.parent, "--out", tmp_path / "s", "--set", "unit=counts"
    )
    assert status == 0
    assert out.splitlines()[-1] == f"{tmp_path / 's'}: 1 cutout"
    assert open_store(tmp_path / "s").column("unit")[0] == "counts"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "mirabset"], "no data set 'mirabset'; there are mirabest-f"),
        (["import", "images", "nowhere", "--out", "s"], "nowhere: no such file or folder"),
        (["import", "images", ".", "--out", "s", "--set", "unit"], "--set unit: expected KEY=VALUE"),
        (["fetch", "images", "--out", "s"], "images: has no stable address"),
    ],
)
def test_mistakes_end_in_one_line(capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, "datasets", *arguments)
    assert status == 1
    assert err.startswith("radiossl: error: ")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_catalogues_are_merged_with_a_list_to_review(capsys, tmp_path):
    (tmp_path / "a.csv").write_text("name,ra,dec,kind\na1,10.0,0.0,FRI\na2,20.0,0.0,FRII\n")
    (tmp_path / "b.csv").write_text("name,ra,dec,kind\nb1,10.01,0.0,FRII\nb3,30.0,0.0,FRI\n")
    parents = [f"A={tmp_path / 'a.csv'}:kind", f"B={tmp_path / 'b.csv'}:kind"]
    where = ["--out", tmp_path / "merged.csv", "--review", tmp_path / "pairs.csv"]
    status, out, err = run(capsys, "datasets", "merge", *parents, *where)
    assert status == 0, err
    assert out.splitlines() == [
        f"{tmp_path / 'pairs.csv'}: 1 pair, 1 of them not reviewed",
        f"{tmp_path / 'merged.csv'}: 3 sources",
    ]
    first = read_table(tmp_path / "merged.csv").to_pylist()[0]
    assert (first["ra_deg"], first["A"], first["B"]) == (10.0, "FRI", "FRII")
    status, out, _ = run(capsys, "datasets", "merge", *parents, *where, "--radius", "10arcsec")
    assert out.splitlines()[-1].endswith("merged.csv: 4 sources")
    status, _, err = run(capsys, "datasets", "merge", "A", parents[1], *where)
    assert (status, "expected NAME=FILE" in err) == (1, True)


def test_published_catalogues_become_ones_to_cut_and_build_from(capsys, tmp_path, real_data):
    catalogues = real_data / "catalogues"
    status, out, err = run(
        capsys, "datasets", "catalogue", "crumb", catalogues / "crumb_combined.csv", "--out", tmp_path / "crumb.csv"
    )
    assert status == 0, err
    assert "932 FRI, 918 FRII, 93 hybrid as published, 903 FRI, 947 FRII, 93 hybrid corrected; 29" in out
    rgz = ["datasets", "catalogue", "rgz-dr1", catalogues / "rgz_d1.csv", "--out", tmp_path / "rgz.csv"]
    status, out, _ = run(capsys, *rgz, "--set", "draw=0", "--set", "train=10", "--set", "test=5")
    assert (status, out.splitlines()[-1]) == (0, f"{tmp_path / 'rgz.csv'}: 90 sources")
    status, _, err = run(capsys, *rgz, "--set", "draws=0")
    assert (status, "--set draws=0: unknown key 'draws'; did you mean 'draw'" in err) == (1, True)
    tiles = str(real_data / "first" / "tiles" / "J00*.fits.fz")
    build = ["datasets", "build", tiles, "--catalogue", tmp_path / "crumb.csv", "--out", tmp_path / "set"]
    status, out, err = run(capsys, *build, "--batches", 2)
    assert status == 0, err
    made = int(out.splitlines()[-1].split(": ")[1].split()[0])
    assert made > 5
    assert f"note: {1943 - made:,} sources without an image: outside" in out
    status, out, err = run(
        capsys, "datasets", "import", "crumb", tmp_path / "set" / "batches", "--out", tmp_path / "store"
    )
    assert status == 0, err
    assert len(open_store(tmp_path / "store")) == made
