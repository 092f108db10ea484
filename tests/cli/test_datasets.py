"""`radiossl datasets ...` from the outside."""

import pytest
from PIL import Image

from radiossl import open_store
from radiossl.cli.main import main
from radiossl.datasets.published import published_set, set_names


def run(capsys, *arguments):
    """Run the command line; return exit status, standard output and standard error."""
    try:
        main([str(argument) for argument in arguments])
        status = 0
    except SystemExit as exit_:
        status = exit_.code or 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


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
    assert out.splitlines()[-1] == f"{tmp_path / 's'}: 1 cutouts"
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
