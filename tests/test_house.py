"""The house keeps its order: imports point one way, and the front door opens quickly."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import radiossl

#: Each room may import from those named before it; the subjects not from each other, but for SHARED.
ROOMS = [
    "io",
    "sky",
    "store",
    "survey",
    "datasets",
    "images",
    "weights",
    "features",
    "pretraining",
    "report",
]
SUBJECTS = ["evaluation", "similarity", "duplicates", "maps", "anomalies", "ratings", "detection", "tables"]
DOORS = ["benchmark", "explorer", "pipeline", "cli"]
#: What one subject may take from another: folds, labels and intervals, and the ratings' starting scores.
SHARED = {
    **{room: {"evaluation"} for room in SUBJECTS},
    "ratings": {"evaluation", "anomalies"},
}
PACKAGE = Path(radiossl.__file__).parent
TESTS = Path(__file__).parent
#: The tests of no room; beside them `tests/docs` runs the pages and notebooks.
OF_THE_WHOLE = {
    "test_examples.py",  # of docstrings
    "test_faults.py",  # commands that are killed or run out of disk
    "test_fuzz.py",  # damaged files, given to every reader
    "test_house.py",
    "test_image_folders.py",  # commands that take whatever holds images
    "test_installation.py",
}


def _imported_rooms(file: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
    parts = [module.split(".") for module in modules if module.startswith("radiossl.")]
    return {part[1] for part in parts if part[1] in {*ROOMS, *SUBJECTS, *DOORS}}


def _allowed(room: str) -> set[str]:
    if room in SUBJECTS:
        return {*ROOMS, room, *SHARED[room]}
    if room in DOORS:
        return {*ROOMS, *SUBJECTS, *DOORS[: DOORS.index(room) + 1]}
    return set(ROOMS[: ROOMS.index(room) + 1])


@pytest.mark.parametrize("room", [*ROOMS, *SUBJECTS, *DOORS])
def test_tests_are_named_after_what_they_test(room):
    """`tests/ROOM/test_X.py` tests the module, package or script X of the room; `test_X_more.py` tests it further."""
    modules = {path.relative_to(PACKAGE).with_suffix("").as_posix() for path in (PACKAGE / room).rglob("*")}
    files = [path.relative_to(TESTS) for path in (TESTS / room).rglob("test_*.py")]
    tested = {file: (file.parent / file.stem.removeprefix("test_")).as_posix() for file in files}
    assert [
        str(file)
        for file, name in tested.items()
        if not any(name == module or name.startswith(f"{module}_") for module in modules)
    ] == []


def test_what_tests_the_whole_is_listed():
    assert {path.name for path in TESTS.glob("test_*.py")} == OF_THE_WHOLE
    assert {path.parent.name for path in TESTS.glob("*/test_*.py")} <= {*ROOMS, *SUBJECTS, *DOORS, "docs"}


@pytest.mark.parametrize("room", [*ROOMS, *SUBJECTS, *DOORS])
def test_imports_point_one_way(room):
    for file in (PACKAGE / room).rglob("*.py"):
        assert _imported_rooms(file) <= _allowed(room), file


def test_every_folder_of_the_package_is_a_room():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders == {*ROOMS, *SUBJECTS, *DOORS}


def test_the_survey_side_opens_without_torch_astropy_or_numba():
    code = "import sys, radiossl.store.store, radiossl.survey.cutting, radiossl.survey.simulation, radiossl.cli.main"
    code += "; sys.exit(any(name in sys.modules for name in ('torch', 'astropy', 'numba')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], {"torch", "astropy", "pandas", "sklearn", "matplotlib", "lightly", "datasets"}),
        (["embed", "simclr-first-zoom", "nothing/there", "--out", "features.parquet"], {"torch", "timm", "sklearn"}),
    ],
)
def test_what_needs_no_heavy_import_is_answered_before(arguments, heavy, tmp_path):
    code = f"import sys; sys.argv = ['radiossl', *{arguments}]; from radiossl.cli.main import main\n"
    code += "try:\n    main()\nexcept SystemExit:\n    pass\n"
    code += f"sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout or "nothing/there: no such file or folder" in done.stderr


def test_the_public_names_can_be_imported():
    for name in radiossl.__all__:
        assert getattr(radiossl, name) is not None
    with pytest.raises(AttributeError):
        _ = radiossl.nothing_of_this_name


def test_public_names_are_seen_and_stay_what_they_are_in_any_order_of_imports():
    assert set(radiossl.__all__) <= {*dir(radiossl), "__version__"}
    assert not set(radiossl.__all__) & {*ROOMS, *SUBJECTS, *DOORS}, "a folder would hide the name"
    code = "import importlib, pkgutil, radiossl\n"
    code += "for module in pkgutil.walk_packages(radiossl.__path__, 'radiossl.'):\n"
    code += "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
    code += "assert not [n for n in radiossl.__all__ if n != '__version__' and not callable(getattr(radiossl, n))]\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
