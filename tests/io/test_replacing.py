"""A command that writes one file replaces what it wrote there before, and never another file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from PIL import Image

import radiossl
from tests.command import run


@pytest.fixture(scope="module")
def work(small_store, tmp_path_factory):
    """What the commands read: features, scores, ratings, a result folder and a forest."""
    folder = tmp_path_factory.mktemp("work")
    store = radiossl.open_store(small_store.paths[0])
    table = radiossl.FeatureTable(store.table, np.random.default_rng(0).normal(size=(len(store), 4)).astype("f4"))
    table.write(folder / "features.parquet")
    scores = pd.DataFrame({"cutout_id": store.column("cutout_id"), "score": np.arange(len(store)) / 9})
    scores.to_csv(folder / "scores.csv", index=False)
    scores.assign(score=scores.score / 3, human_label=[3] + [-1] * (len(store) - 1)).set_index("cutout_id").to_csv(
        folder / "astronomaly.csv"
    )
    places = {"name": ["a", "b"], "ra_deg": [1.0, 2.0], "dec_deg": [3.0, 4.0]}
    pd.DataFrame(places).to_csv(folder / "catalogue.csv", index=False)
    columns = {"cutout_id": scores.cutout_id, "kind": store.column("kind"), "a": scores.score, "b": scores.score % 2}
    pd.DataFrame(columns).to_csv(folder / "table.csv", index=False)
    radiossl.train_forest(folder / "table.csv", "kind", folder / "forest", columns=["a", "b"], folds=2, trees=20)
    return folder, small_store.paths[0]


#: Name of what is written, and how.
COMMANDS = {
    "export-fits": ("x.fits", "export {f}/features.parquet --format fits --out"),
    "export-votable": ("x.vot", "export {f}/features.parquet --format votable --out"),
    "export-csv": ("x.csv", "export {f}/features.parquet --format csv --out"),
    "export-atlas": ("x.parquet", "export {f}/features.parquet --format embedding-atlas --store {s} --out"),
    "store-show": ("x.png", "store show {s} --rows 3 --out"),
    "views": ("x.png", "views --recipe radiossl --data {s} --rows 2 --count 2 --image-size 32 --out"),
    "moc": ("x.fits", "store info {s} --moc"),
    "croissant": ("x.json", "store info {s} --croissant"),
    "crossmatch": ("x.csv", "store crossmatch {s} {s} --out"),
    "merge": ("x.csv", "datasets merge a={f}/catalogue.csv b={f}/catalogue.csv --review review.csv --out"),
    "review": ("x.csv", "datasets merge a={f}/catalogue.csv b={f}/catalogue.csv --out merged.csv --review"),
    "report": ("x.html", "report forest={f}/forest --out"),
    "explore": ("x.html", "explore {f}/features.parquet --export"),
    "export-astronomaly": ("x.csv", "rate export-astronomaly --scores {f}/scores.csv --out"),
    "import-scores": ("x.csv", "rate import-astronomaly {f}/astronomaly.csv --out ratings.csv --scores"),
    "import-ratings": ("x.csv", "rate import-astronomaly {f}/astronomaly.csv --out"),
    "predict-csv": ("x.csv", "table predict {f}/forest {f}/table.csv --out"),
    "predict-fits": ("x.fits", "table predict {f}/forest {f}/table.csv --out"),
    "predict-parquet": ("x.parquet", "table predict {f}/forest {f}/table.csv --out"),
    "weights": ("x.ts", "weights export simclr-first-zoom --format torchscript --out"),
}


def other_file(path):
    """A file of the same format that somebody else made."""
    frame = pd.DataFrame({"name": ["a", "b"], "ra": [1.0, 2.0], "dec": [3.0, 4.0]})
    if path.suffix == ".fits":
        fits.PrimaryHDU(np.ones((9, 9), "f4")).writeto(path)
    elif path.suffix == ".png":
        Image.new("L", (9, 9)).save(path)
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pandas(frame), path)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        path.write_text("<p>mine</p>")
    return path.read_bytes()


@pytest.mark.parametrize("command", COMMANDS)
def test_another_file_stays_and_an_earlier_result_is_replaced(command, work, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name, text = COMMANDS[command]
    arguments = [part.format(f=work[0], s=work[1]) for part in text.split()]
    path = tmp_path / name
    before = other_file(path)
    status, _, said = run(capsys, *arguments, name)
    assert status != 0
    assert name in said
    assert "Traceback" not in said
    assert path.read_bytes() == before
    path.unlink()
    for _ in range(2):
        status, _, said = run(capsys, *arguments, name)
        assert status == 0, said
    assert path.read_bytes() != before


def test_features_do_not_take_the_place_of_a_catalogue(small_store, tmp_path, capsys):
    catalogue = tmp_path / "catalogue.parquet"
    before = other_file(catalogue)
    command = ["embed", "simclr-first-zoom", small_store.paths[0], "--out"]
    status, _, said = run(capsys, *command, catalogue)
    assert (status, "exists already and is no table of features" in said) == (1, True)
    assert catalogue.read_bytes() == before
    catalogue.write_bytes(before[: len(before) // 2])  # one that is damaged, as one of features may be
    assert run(capsys, *command, catalogue)[0] == 0
    assert radiossl.FeatureTable.read(catalogue).features.shape[0] == len(small_store)
