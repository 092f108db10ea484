"""The core works without any extra, and what needs one says so in a line before it begins."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from radiossl import RadiosslError
from radiossl.io import extras as extras_module
from radiossl.io.extras import EXTRAS, require

PROJECT = Path(__file__).parents[2] / "pyproject.toml"

#: Runs commands where no package of an extra can be found, as after `pip install radiossl`, and prints what they said.
WITHOUT_EXTRAS = """
import contextlib, io, json, sys
from importlib.machinery import PathFinder
from radiossl import RadiosslError
from radiossl.io import extras as extras_module
from radiossl.io.extras import EXTRAS, require

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = {module for modules in EXTRAS.values() for module in modules}
        return None if name.partition(".")[0] in hidden else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from radiossl.cli.main import main
said = []
for arguments in json.loads(sys.argv[1]):
    status, text = 0, io.StringIO()
    with contextlib.redirect_stderr(text), contextlib.redirect_stdout(io.StringIO()):
        try:
            main(["--quiet", *arguments])
        except SystemExit as error:
            status = error.code or 0
    said.append([status, text.getvalue()])
print(json.dumps(said))
"""


def run_without_extras(folder, *commands):
    """Run commands in a folder and return the exit status and errors of each."""
    arguments = [sys.executable, "-c", WITHOUT_EXTRAS, json.dumps([command.split() for command in commands])]
    paths = os.pathsep.join([str(PROJECT.parent), os.environ.get("PYTHONPATH", "")])
    here = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False, env=here)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("core")
    done = run_without_extras(
        folder,
        "simulate survey --tiles 1 --size 600 --sources 60 --seed 0",
        "cutouts sources survey --catalogue survey/truth.csv --out store",
        "store info store",
        "embed simclr-first-zoom store --out features.parquet",
        "search features.parquet --query sim0_000_00000 -k 5 --out found",
        "evaluate knn simclr-first-zoom --train store --label class --folds 3 --keep-shared --out knn",
        "duplicates features.parquet --out twins",
        "anomalies features.parquet --out odd",
        "map features.parquet --method pca --out flat",
    )
    return folder, done


@pytest.mark.slow
def test_cutting_inference_search_and_evaluation_need_no_extra(survey):
    folder, done = survey
    assert [status for status, _ in done] == [0] * len(done), done
    assert (folder / "found" / "gallery.png").is_file()
    assert (folder / "knn" / "report.html").is_file()


@pytest.mark.slow
def test_what_needs_an_extra_names_it_in_one_line(survey):
    folder, _ = survey
    assert run_without_extras(folder, "detect train --help") == [[0, ""]]
    commands = {
        "pretrain --recipe radiossl --data store --out run": ("lightly", "train"),
        "map features.parquet --out map": ("umap", "discover"),
        "detect train survey --weights simclr-first-zoom --out detector": ("pycocotools", "detect"),
        "explore features.parquet": ("tornado", "explore"),
        "embed simclr-first-zoom store --workers 2 --out again.parquet": ("distributed", "cluster"),
        "export features.parquet --format hats --out hats": ("hats", "formats"),
        "weights export simclr-first-zoom --format onnx --out b.onnx": ("onnx", "formats"),
    }
    for (module, extra), (status, text) in zip(commands.values(), run_without_extras(folder, *commands), strict=True):
        line = f'radiossl: error: the package {module} is not installed: pip install "radiossl[{extra}]"\n'
        assert (status, text) == (1, line)
    assert not {"run", "map", "detector", "hats", "b.onnx"} & {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(("extra", "module"), [(extra, module) for extra in EXTRAS for module in EXTRAS[extra]])
def test_the_first_missing_package_is_named_with_its_extra(monkeypatch, extra, module):
    monkeypatch.setattr(extras_module, "find_spec", lambda name: None if name == module else name)
    with pytest.raises(RadiosslError, match=rf'^the package {module} .*: pip install "radiossl\[{extra}\]"$'):
        require("numpy", module)


def test_each_package_of_an_extra_is_known_by_its_module():
    extras = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    modules = {"umap-learn": "umap"}
    for extra, known in EXTRAS.items():
        declared = {re.split(r"[><=\[]", one)[0] for one in extras[extra] if not one.startswith("radiossl[")}
        assert {modules.get(name, name.replace("-", "_")) for name in declared} <= set(known), extra


def test_all_brings_every_extra_and_what_the_project_is_built_on_is_declared():
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    (everything,) = project["optional-dependencies"]["all"]
    assert set(everything.removeprefix("radiossl[").removesuffix("]").split(",")) == set(EXTRAS)
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    declared = " ".join([*project["dependencies"], *extras])
    for name in ("torch", "torchvision", "lightly", "numpy", "astropy", "faiss-cpu", "umap-learn", "scikit-learn"):
        assert re.search(rf"(^| ){name}>=", declared), name
