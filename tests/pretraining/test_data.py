"""What is trained on when stores are excluded, what is told of it, and what may be resumed."""

from __future__ import annotations

import numpy as np
import pytest

from radiossl.cli.main import main
from radiossl.io.errors import RadiosslError
from radiossl.pretraining.checkpoint import CHECKPOINT
from radiossl.pretraining.data import Exclusion, training_data
from radiossl.pretraining.recipe import read_recipe
from radiossl.pretraining.run import pretrain
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.store import store_manifest
from radiossl.store.writing import write_store
from radiossl.weights.backbone import load_backbone

#: A two-stage run and its stages are quick with these.
FAST = ["backbone.name=test_resnet", "preprocessing.size=32", "preprocessing.views=1", "batch_size=4",
        "schedule.epochs=1", "schedule.warmup_epochs=0"]  # fmt: skip


def make_store(path, rows, sky, dec=0.0):
    """Cutouts of 40 pixels (72 arcsec) at right ascensions of so many tenths of a degree; images by number."""
    cutouts = [Cutout(f"c{row}", sky(row, (40, 40)), "m", 0.1 * row, dec, 0.0, 0.0, 1.8) for row in rows]
    schema = store_schema()
    write_store(path, [0], lambda _: cutout_batches(cutouts, schema), schema, {"command": path.name})
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory, sky):
    root = tmp_path_factory.mktemp("stores")
    make_store(root / "one", range(8), sky)
    make_store(root / "two", range(8, 16), sky)
    make_store(root / "near", [2, 3, 9], lambda row, shape: sky(100 + row, shape), dec=90 / 3600)
    make_store(root / "pixels", [5], sky, dec=40.0)
    return root


def identity(path):
    return store_manifest(path)["identity"]


def test_without_exclusion_everything_is_there(stores):
    store, provenance = training_data([stores / "one", stores / "two"], Exclusion())
    assert len(store) == 16
    assert [entry["store"] for entry in provenance] == ["one", "two"]
    assert "excluded" not in provenance[0]


def test_what_is_near_or_equal_is_left_out_and_told(stores, capsys):
    # Half a box is 36 arcsec, so that a source 90 arcsec north is shown from a radius of 54 arcsec on.
    exclusion = Exclusion([stores / "near", stores / "pixels"], 55.0)
    store, (one, two) = training_data([stores / "one", stores / "two"], exclusion)
    left = np.round(10 * store.column("ra_deg")).astype(int).tolist()
    assert left == [row for row in range(16) if row not in (2, 3, 5, 9)]
    assert (one["cutouts"], one["removed"], two["removed"]) == (8, 3, 1)
    assert one["excluded"] == [
        {"store": "near", "identity": identity(stores / "near"), "radius_arcsec": 55.0, "removed": 2},
        {"store": "pixels", "identity": identity(stores / "pixels"), "radius_arcsec": 55.0, "removed": 1},
    ]
    printed = capsys.readouterr().err
    assert f"{stores / 'one'}: 3 of 8 cutouts left out" in printed
    assert f"{stores / 'two'}: 1 of 8 cutouts left out" in printed
    assert len(training_data([stores / "one"], Exclusion([stores / "near"], 53.0))[0]) == 8


def test_nothing_left_is_refused(stores):
    with pytest.raises(RadiosslError, match=r"every cutout shows what is in .*one; give other"):
        training_data([stores / "one"], Exclusion([stores / "one"]))
    with pytest.raises(RadiosslError, match="--exclude-radius of -1 arcsec"):
        Exclusion([], -1)
    with pytest.raises(RadiosslError, match="no such cutout store"):
        training_data([stores / "one"], Exclusion([stores / "nowhere"]))


def test_the_card_tells_and_a_run_resumes_with_the_same_excludes_only(stores, tmp_path):
    recipe, out = read_recipe("radiossl", FAST), tmp_path / "run"
    backbone = pretrain(recipe, stores / "one", out, exclude=[stores / "near"])
    config = load_backbone(backbone).config
    assert config.data[0]["excluded"][0] == {
        "store": "near", "identity": identity(stores / "near"), "radius_arcsec": 60.0, "removed": 2
    }  # fmt: skip
    assert "without 2 that show a source of near (within 60 arcsec)" in (backbone / "README.md").read_text()
    assert (out / CHECKPOINT).exists()
    others = [
        {},
        {"exclude": [stores / "pixels"]},
        {"exclude": [stores / "near", stores / "pixels"]},
        {"exclude": stores / "near", "exclude_radius_arcsec": 61},
    ]
    for other in others:
        with pytest.raises(RadiosslError, match="was started with other --exclude stores or another --exclude-radius"):
            pretrain(recipe, stores / "one", out, resume=True, **other)
    assert pretrain(recipe, stores / "one", out, resume=True, exclude=stores / "near") == backbone


def test_stages_all_leave_out_and_a_finished_one_is_checked(stores, tmp_path):
    stages, data, out = read_recipe("radiossl", FAST) * 2, [stores / "one", stores / "two"], tmp_path / "run"
    pretrain(stages, data, out, exclude=[stores / "near"])
    removed = [load_backbone(out / f"stage{n}" / "backbone").config.data[0]["removed"] for n in (1, 2)]
    assert removed == [2, 1]
    pretrain(stages, data, out, resume=True, exclude=[stores / "near"])
    with pytest.raises(RadiosslError, match="stage1: was started with other --exclude"):
        pretrain(stages, data, out, resume=True)


def test_on_the_command_line(stores, tmp_path, capsys):
    changes = [part for change in FAST for part in ("--set", change)]
    command = ["pretrain", "--recipe", "radiossl", "--data", stores / "one", "--out", tmp_path / "run", *changes]
    excludes = ["--exclude", stores / "near", "--exclude", stores / "pixels", "--exclude-radius", "0.95arcmin"]
    with pytest.raises(SystemExit) as stop:
        main([str(part) for part in [*command, *excludes]])
    assert not stop.value.code
    assert "3 of 8 cutouts left out" in capsys.readouterr().err
    entry = load_backbone(tmp_path / "run" / "backbone").config.data[0]
    assert [item["radius_arcsec"] for item in entry["excluded"]] == [57.0, 57.0]
    with pytest.raises(SystemExit) as stop:
        main([str(part) for part in [*command, "--exclude-radius", "wide"]])
    assert stop.value.code == 1
    assert "--exclude-radius wide: expected an angle" in capsys.readouterr().err
