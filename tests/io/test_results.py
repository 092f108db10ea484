"""Result folders: the old one or the new one, at whatever moment the process is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import radiossl.io.files as files
from radiossl.io.checksums import verify
from radiossl.io.errors import RadiosslError
from radiossl.io.files import (
    INCOMPLETE,
    atomic_folder,
    existing_file,
    read_json,
    remove_strays,
    write_json,
)
from radiossl.io.results import result_folder, writes_result_folder


def write_result(out, number):
    with result_folder(out) as folder:
        for name in ("metrics.json", "more.json"):
            write_json(folder / name, {"number": number})
        (folder / "figures").mkdir()
        (folder / "figures" / f"only-{number}.png").write_text(str(number))


def content(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} - {".checksums.json"}


RESULT = {"metrics.json", "more.json"}


def test_an_older_result_is_replaced_as_a_whole(tmp_path):
    for number in (1, 2):
        write_result(tmp_path / "out", number)
        assert content(tmp_path / "out") == RESULT | {f"figures/only-{number}.png"}
        assert read_json(tmp_path / "out" / "metrics.json") == {"number": number}
        found = verify(tmp_path / "out")
        assert (len(found.whole), found.without, found.damaged) == (4, [], {})
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


@pytest.mark.parametrize("kind", ["foreign files", "working folder", "older version"])
def test_other_files_of_the_folder_stay(tmp_path, monkeypatch, kind):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    (out / "figures").mkdir()
    (out / "figures" / "mine.png").write_text("mine")
    if kind == "working folder":
        monkeypatch.chdir(out)
    if kind == "older version":
        (out / "metrics.json").write_text('{"number": 0}')
    for number in (1, 2):
        write_result(out, number)
        assert content(out) == RESULT | {f"figures/only-{number}.png", "mine.txt", "figures/mine.png"}
        assert read_json(out / "metrics.json") == {"number": number}
    assert verify(out).damaged == {}


def test_a_failure_leaves_the_older_result(tmp_path):
    write_result(tmp_path / "out", 1)
    with pytest.raises(ZeroDivisionError), result_folder(tmp_path / "out") as folder:
        write_json(folder / "metrics.json", {"number": 2 / 0})
    assert read_json(tmp_path / "out" / "metrics.json") == {"number": 1}
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "far")
    write_result(tmp_path / "out", 1)
    assert (tmp_path / "out").is_symlink()
    assert content(tmp_path / "far") == RESULT | {"figures/only-1.png"}


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(RadiosslError, match="is a file, a folder was expected"):
        write_result(tmp_path / "out", 1)


def test_a_function_that_writes_a_result_returns_its_place(tmp_path):
    @writes_result_folder
    def write(number, out, name="a"):
        assert out.name == "out"
        write_json(out / name, number)
        return out / name

    assert write(3, str(tmp_path / "out"), name="b.json") == tmp_path / "out" / "b.json"
    assert read_json(write(4, out=tmp_path / "out")) == 4
    assert content(tmp_path / "out") == {"a"}


KILLED = """
import os, signal, sys
from pathlib import Path
import radiossl.io.files as files
sys.path.insert(0, sys.argv[1])
from test_results import write_result

number, steps = int(sys.argv[3]), 0
if sys.argv[4] == "no exchange":
    files.exchange = lambda one, other: False

def killing(call):
    def step(*arguments, **options):
        global steps
        steps += 1
        if steps == number:
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*arguments, **options)
        return result
    return step

for name in ("replace", "unlink", "touch", "mkdir"):
    setattr(Path, name, killing(getattr(Path, name)))
write_result(Path(sys.argv[2]) / "out", 2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["exchange", "no exchange", "foreign files"])
def test_killed_at_any_step_the_folder_is_old_or_new_or_refused(tmp_path, how):
    states = set()
    for number in range(1, 60):
        place = tmp_path / str(number)
        out = place / "out"
        write_result(out, 1)
        if how == "foreign files":
            (out / "mine").touch()
        done = subprocess.run(
            [sys.executable, "-c", KILLED, Path(__file__).parent, place, str(number), how], check=False
        )
        assert done.returncode in (0, -signal.SIGKILL)
        remove_strays(place)  # what the next run of any command does first
        try:
            numbers = {read_json(out / name)["number"] for name in ("metrics.json", "more.json")}
            assert len(numbers) == 1
            assert (out / "figures" / f"only-{numbers.pop()}.png").exists()
            states.add("whole")
        except RadiosslError as error:
            states.add("refused" if "give the same command again" in str(error) else str(error))
        write_result(out, 3)
        assert content(out) - {"mine"} == RESULT | {"figures/only-3.png"}
        assert verify(out).damaged == {}
        assert list(place.iterdir()) == [out]
        if done.returncode == 0:
            break
    assert done.returncode == 0
    assert states == ({"whole", "refused"} if how == "foreign files" else {"whole"})


def test_between_two_renames_the_old_folder_comes_back(tmp_path, monkeypatch):
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("old")
    monkeypatch.setattr(files, "exchange", lambda one, other: False)
    replace = type(tmp_path).replace

    def killed(self, target):
        if self.name == "out" and ".tmp-" in str(self):
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "replace", killed)
        with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "out") as folder:
            (folder / "a").write_text("new")
    assert not (tmp_path / "out").exists()
    remove_strays(tmp_path, "out")
    assert (tmp_path / "out" / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_an_incomplete_folder_is_refused_by_every_reader(tmp_path):
    write_result(tmp_path / "out", 1)
    (tmp_path / "out" / INCOMPLETE).touch()
    for read in (read_json, existing_file):
        with pytest.raises(RadiosslError, match=r"out: a command was interrupted .* the same command again"):
            read(tmp_path / "out" / "metrics.json")
    assert tmp_path / "out" in verify(tmp_path / "out").damaged


@pytest.fixture
def steps(monkeypatch, tmp_path):
    """What is brought to the disk, and renamed, in its order."""
    steps = []
    monkeypatch.setattr(os, "fsync", lambda handle: steps.append(Path(f"/proc/self/fd/{handle}").readlink().name))
    replace = type(tmp_path).replace
    monkeypatch.setattr(type(tmp_path), "replace", lambda a, b: (steps.append("rename"), replace(a, b))[1])
    return steps


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, steps):
    write_json(tmp_path / "a.json", 1)
    assert steps[0].endswith("-a.json")
    assert steps[1:] == ["rename", tmp_path.name]
    steps.clear()
    with atomic_folder(tmp_path / "out", checksums=False) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "b").write_text("b")
    assert steps == ["b", "inner", "out", "rename", tmp_path.name]


def test_a_result_s_files_wait_for_the_disk_once_and_together(tmp_path, steps):
    write_result(tmp_path / "out", 1)
    names = ["more.json", "metrics.json", "only-1.png", "figures", ".checksums.json"]
    assert steps == ["rename"] * 3 + [*names, "out", "rename", tmp_path.name]


def test_a_store_s_files_are_on_the_disk_before_the_one_that_says_so(tmp_path, steps, store_of, sky):
    store_of([sky(0)])
    waited = [step.split("-", 2)[-1] if step.startswith(".tmp-") else step for step in steps]
    before = ["store.partial.json", "data-00000-of-00001.arrow", "dataset_info.json", "state.json"]
    assert waited == [step for name in before for step in (name, "rename")] + [
        "store0",
        "store.json",
        "rename",
        "store0",
    ]


@pytest.mark.parametrize("out", [".", "..", "../here"])
def test_the_current_folder_and_the_one_above_can_hold_a_result(tmp_path, monkeypatch, out):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with result_folder(out) as folder:
        (folder / "a.txt").write_text("a")
    assert (tmp_path / ("" if out == ".." else "here") / "a.txt").read_text() == "a"
    with pytest.raises(RadiosslError, match="/: is no name for a new folder"), result_folder("/"):
        pass


def write_folder(out, kind, *names):
    with atomic_folder(out, kind) as folder:
        for name in names:
            (folder / name).write_text(name)


@pytest.mark.parametrize("place", ["home", "store", "index", "run", "result", "backbone", "file"])
def test_no_folder_takes_the_place_of_one_of_another_kind(tmp_path, place):
    out = tmp_path / "out"
    names = {"home": "mine.txt", "store": "store.json", "index": "index.json", "run": "recipe.yaml"}
    if place in names:
        (out / "inner").mkdir(parents=True)
        (out / names[place]).touch()
        (out / "inner" / "more").touch()
    elif place == "file":
        out.touch()
    elif place == "backbone":
        write_folder(out, "backbone", "weights")
    else:
        with result_folder(out, "result of maps") as folder:
            (folder / "map.csv").touch()
    before = content(out)
    with pytest.raises(RadiosslError, match="choose"):
        write_folder(out, "detector", "weights", "more")
    result = "result of tables"
    if place != "home":  # a result may lie beside other files
        with pytest.raises(RadiosslError, match="choose another --out"), result_folder(out, result) as folder:
            (folder / "forest").touch()
    assert content(out) == before


def test_a_folder_of_the_same_kind_is_replaced(tmp_path):
    write_folder(tmp_path / "out", "backbone", "weights", "sky")
    write_folder(tmp_path / "out", "backbone", "weights")
    assert content(tmp_path / "out") == {"weights"}
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "weights").touch()  # as version 0.1 left it
    write_folder(tmp_path / "old", "backbone", "weights", "sky")
    assert content(tmp_path / "old") == {"weights", "sky"}
