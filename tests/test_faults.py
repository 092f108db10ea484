"""Commands that are killed with `kill -9` or run out of disk, then given again: the result of an undisturbed run."""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file

from radiossl.cli.main import main
from radiossl.features.table import FeatureTable
from radiossl.images.preprocess import Preprocessing
from radiossl.pretraining.checkpoint import CHECKPOINT
from radiossl.pretraining.trainer import Trainer
from radiossl.survey.simulation import SurveySpec, simulate_survey
from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone, save_backbone

pytestmark = pytest.mark.slow

#: Small enough for several shards, pieces and blocks; as module, name and value.
SMALL = [
    ("radiossl.store.writing", "SHARD_BYTES", 12 * 4 * 48**2),
    ("radiossl.features.parts", "_LEAST_ROWS", 12),
    ("radiossl.features.index_building", "BLOCK_BYTES", 20 * 4 * 16),
    ("radiossl.features.feature_file", "BATCH_ROWS", 20),
]
#: Forks a process for each command and lets it kill itself instead of renaming its n-th finished file into place.
KILLER = """
import importlib, json, os, signal, sys
from pathlib import Path
import astropy.coordinates, astropy.io.fits, astropy.wcs, datasets, faiss, rich.progress, timm  # once for all
import radiossl.images.kernels, radiossl.survey.cutting, radiossl.features.parts, radiossl.features.index_building
from radiossl.cli.main import main

for module, name, value in json.loads(sys.argv[1]):
    setattr(importlib.import_module(module), name, value)
rename = Path.replace
for number, arguments in json.loads(sys.argv[2]):
    child = os.fork()
    if not child:
        renames = []

        def replace(self, target):
            renames.append(target)
            if len(renames) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(self, target)

        Path.replace = replace
        try:
            main(arguments)
        except SystemExit as stop:
            os._exit(stop.code or 0)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=sys.stderr)
"""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for module, name, value in SMALL:
        monkeypatch.setattr(importlib.import_module(module), name, value)


def run(*arguments):
    """Run a command and return its exit status."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code or 0
    return 0


def run_apart(jobs):
    """Run commands in processes of their own, whose sums nothing that ran before can change, and return how they ended.

    Jobs are the number of the rename at which a command kills itself, 0 for never, and its arguments.
    """
    jobs = list(jobs)
    script = [sys.executable, "-c", KILLER, json.dumps(SMALL), json.dumps(jobs)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(script, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    said = done.stderr.decode().split("\n")
    ended = [int(line) for line in said if line.lstrip("-").isdigit()]
    assert len(ended) == len(jobs), said
    assert all(status == 0 for status, (moment, _) in zip(ended, jobs, strict=True) if not moment), said
    return ended


def files(folder):
    """The bytes of all files, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Commands by name, without ``--out``, and a folder with what each makes undisturbed."""
    root = tmp_path_factory.mktemp("world")
    simulate_survey(root / "survey", SurveySpec(tiles=1, size=256, sources=40, seed=0))
    backbone = Backbone.random(Architecture(name="test_resnet"), Preprocessing(size=32, views=1), seed=0)
    save_backbone(root / "weights", backbone.network, backbone.config)
    rng = np.random.default_rng(0)
    for number in range(2):
        ids = pa.table({"cutout_id": [f"t{number}c{row}" for row in range(50)]})
        FeatureTable(ids, rng.normal(size=(50, 16)).astype(np.float32)).write(root / f"table{number}.parquet")
    sources = ["cutouts", "sources", root / "survey", "--catalogue", root / "survey" / "truth.csv", "--size", 48]
    tables = [root / "table0.parquet", root / "table1.parquet"]
    with pytest.MonkeyPatch.context() as patched:
        for module, name, value in SMALL:
            patched.setattr(importlib.import_module(module), name, value)
        assert run("index", tables[0], "--out", root / "half") == 0
        commands = {
            "cut": [*sources, "--max-blank", 0.1],  # too near an edge for some
            "embed": ["embed", root / "weights", root / "whole" / "cut", "--batch-size", 16],
            "index": ["index", *tables],
            "add": ["index", tables[1]],
        }
        shutil.copytree(root / "half", root / "whole" / "add")
    commands = {name: [str(part) for part in command] for name, command in commands.items()}
    run_apart((0, [*command, "--out", str(root / "whole" / name)]) for name, command in commands.items())
    return root, commands


#: Before which renames each is killed: the first, one in the middle, and those that complete the result.
MOMENTS = {"cut": (1, 3, 7, 8), "embed": (2, 4), "index": (6, 11, 12), "add": (5,)}


@pytest.fixture(scope="module")
def killed(world, tmp_path_factory):
    """Folders of commands that were killed, by name and moment."""
    root, commands = world
    folders = {(name, moment): tmp_path_factory.mktemp(name) for name, moments in MOMENTS.items() for moment in moments}
    jobs = []
    for (name, moment), folder in folders.items():
        if name == "add":
            shutil.copytree(root / "half", folder / "add")
        jobs.append((moment, [*commands[name], "--out", str(folder / name)]))
    assert run_apart(jobs) == [-signal.SIGKILL] * len(jobs)
    return folders


@pytest.mark.parametrize("name", MOMENTS)
def test_a_killed_command_given_again_makes_the_very_same(name, world, killed):
    root, commands = world
    whole = root / "whole" / name
    folders = {moment: killed[name, moment] for moment in MOMENTS[name]}
    for folder in folders.values():
        assert any(".tmp-" in path.name for path in folder.rglob("*")), "killed at another moment than meant"
    run_apart((0, [*commands[name], "--out", str(folder / name)]) for folder in folders.values())
    for moment, folder in folders.items():
        if whole.is_file():
            assert files(folder) == {name: whole.read_bytes()}
        else:
            assert files(folder) == {f"{name}/{file}": content for file, content in files(whole).items()}, moment


# Full disks -----------------------------------------------------------------------------------------------------------


@contextmanager
def no_room_beyond(size):
    """Let no file grow beyond so many bytes; the system answers as a full disk does, by an error of the write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def says_no_room(capsys, size, *arguments):
    """Run a command with no room beyond so many bytes; return the file that its one line of complaint names."""
    capsys.readouterr()
    with no_room_beyond(size):
        assert run(*arguments) == 1
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("radiossl: error: ")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    file, _, rest = lines[0].removeprefix("radiossl: error: ").partition(": cannot be written, ")
    what, _, note = rest.partition("; make room and give the same command again")
    assert what == "it is larger than the system allows a file to be", said
    assert note in ("", "; nothing was saved yet") or note.startswith("; go on with the same command and --resume (")
    return file


EMBEDDED = [f".embed.unfinished/IDENTITY/part-{number:05d}-of-00003.parquet" for number in range(3)]


def without_identity(path):
    """The folder of unfinished parts is named by what they are made of."""
    return re.sub("unfinished/[0-9a-f]{16}/", "unfinished/IDENTITY/", path)


@pytest.mark.parametrize(
    ("name", "size", "named", "left"),
    [
        ("cut", 0, "cut/store.partial.json", set()),
        ("cut", 2**15, "cut/data-00000-of-00003.arrow", set()),
        ("cut", 2**10, "cut/data-00000-of-00003.arrow", set()),
        ("embed", 2**10, EMBEDDED[0], set()),
        ("embed", None, "embed", set(EMBEDDED)),  # room for the parts, not for the whole
        ("index", 0, "index", set()),
        ("index", 2**10, "index", set()),
    ],
)
def test_no_room_is_said_in_one_line_and_the_same_command_completes(capsys, world, tmp_path, name, size, named, left):
    root, commands = world
    out, whole = tmp_path / name, root / "whole" / name
    size = whole.stat().st_size - 1 if size is None else size
    said = says_no_room(capsys, size, *commands[name], "--out", out)
    assert without_identity(said) == str(tmp_path / named)
    assert set(map(without_identity, files(tmp_path))) == left
    assert run(*commands[name], "--out", out) == 0
    found = files(tmp_path)
    assert found == (
        {name: whole.read_bytes()} if whole.is_file() else {f"{name}/{k}": v for k, v in files(whole).items()}
    )


def test_an_index_with_no_room_for_more_stays_as_it_was(capsys, world, tmp_path):
    root, commands = world
    shutil.copytree(root / "half", tmp_path / "add")
    vectors = (root / "whole" / "add" / "vectors-00003.faiss").stat().st_size
    columns = (root / "whole" / "add" / "columns-00003.parquet").stat().st_size
    assert vectors > columns
    named = says_no_room(capsys, vectors - 1, *commands["add"], "--out", tmp_path / "add")
    assert named == str(tmp_path / "add" / "vectors-00003.faiss")
    assert files(tmp_path / "add") == files(root / "half")
    assert run(*commands["add"], "--out", tmp_path / "add") == 0
    assert files(tmp_path / "add") == files(root / "whole" / "add")


def test_results_are_whole_or_missing(capsys, world, tmp_path):
    root, _ = world
    search = ["search", root / "table0.parquet", "--query", "t0c3", "-k", 4]
    assert run(*search, "--out", tmp_path / "whole") == 0
    whole = files(tmp_path / "whole")
    largest = max(whole, key=lambda name: len(whole[name]))
    named = says_no_room(capsys, len(whole[largest]) - 1, *search, "--out", tmp_path / "full")
    assert named == str(tmp_path / "full")  # a result is one thing
    assert not (tmp_path / "full").exists()
    assert run(*search, "--out", tmp_path / "full") == 0
    assert set(files(tmp_path / "full")) == set(whole)


def test_an_evaluation_with_no_room_can_be_repeated(capsys, world, tmp_path):
    root, _ = world
    evaluate = ["evaluate", "knn", root / "weights", "--train", root / "whole" / "cut", "--label", "class", "-k", 3]
    evaluate += ["--group", "compact=compact", "--group", "resolved=FRI,FRII,bent,hybrid,ring,diffuse", "--folds", 2]
    evaluate += ["--seeds", 1, "--keep-shared", "--out", tmp_path / "knn"]
    named = says_no_room(capsys, 2**13, *evaluate)
    left = files(tmp_path)
    assert run(*evaluate) == 0
    whole = set(files(tmp_path))
    assert set(left) < whole
    assert named in {str(tmp_path / "knn"), *(str(tmp_path / name) for name in whole - set(left))}


def test_training_without_room_resumes_to_the_same_weights(capsys, world, tmp_path, monkeypatch):
    root, _ = world
    changes = ["backbone.name=test_resnet", "preprocessing.views=1", "checkpoint_steps=1", "schedule.epochs=2"]
    train = ["pretrain", "--recipe", "radiossl", "--data", root / "whole" / "cut", "--device", "cpu"]
    train += ["--image-size", 32, "--batch-size", 10, *(part for change in changes for part in ("--set", change))]
    assert run(*train, "--out", tmp_path / "whole") == 0
    step = Trainer.train_step

    def filling(self, *arguments):
        if self.step == 3:  # from here on there is no room
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return step(self, *arguments)

    monkeypatch.setattr(Trainer, "train_step", filling)
    out = tmp_path / "full"
    assert says_no_room(capsys, resource.RLIM_INFINITY, *train, "--out", out) == str(out / CHECKPOINT)
    monkeypatch.undo()
    assert set(files(out)) == {"recipe.yaml", "run.json", "metrics.csv", str(CHECKPOINT)}
    assert run(*train, "--out", out, "--resume") == 0
    ours, theirs = (load_file(tmp_path / name / "backbone" / "model.safetensors") for name in ("full", "whole"))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert set(files(out)) == set(files(tmp_path / "whole"))


def test_a_run_stopped_before_its_first_checkpoint_resumes_from_the_start(capsys, world, tmp_path):
    root, _ = world
    train = ["pretrain", "--recipe", "radiossl", "--data", root / "whole" / "cut", "--device", "cpu", "--epochs", 1]
    train += ["--image-size", 32, "--batch-size", 10, "--set", "backbone.name=test_resnet", "--out", tmp_path / "run"]
    assert says_no_room(capsys, 2**16, *train) == str(tmp_path / "run" / CHECKPOINT)
    assert run(*train, "--resume") == 0
    assert (tmp_path / "run" / "backbone" / "model.safetensors").is_file()


def test_a_refusal_of_the_system_is_one_line(capsys, world, tmp_path):
    root, _ = world
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    assert run("search", root / "table0.parquet", "--query", "t0c3", "--out", out) == 1
    said = f"{out}: cannot be written, {tmp_path / 'file'} is a file; choose another --out"
    assert capsys.readouterr().err == f"radiossl: error: {said}\n"
