"""The documentation: every block runs, every command is one that exists, and the site is built without a warning."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pytest
import typer
from PIL import Image

import radiossl
from radiossl.cli.main import app
from tests.docs.world import ENVIRONMENT, ROOT, make_world, run
from tests.explorer.running import free_port, running

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
#: What a block is: something to run, and all of it is run, or what a program says.
RUN, PLAIN = ("bash", "python"), ("text", "")
#: Where the pages have a scheduler listen.
PORTS = ("8786", "29500")


class Block(NamedTuple):
    """A code block of a page."""

    line: int
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = []
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        found.append(Block(text[: match.start()].count("\n") + 1, match[1].strip(), match[2]))
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The `radiossl` commands of a block for the shell, as arguments."""
    for line in text.replace("\\\n", " ").splitlines():
        if match := re.match(r"\s*(torchrun .*? )?radiossl\s", line):
            yield shlex.split(line[match.end() :], comments=True)


def is_plain(line: str) -> bool:
    """Whether a line is a `radiossl` command and nothing else."""
    special = r"[$|&;]|(?<![\"' ])>|> ?[a-z./]+$"
    return line.startswith("radiossl ") and not re.search(special, shlex_free(line))


def arguments_of(line: str) -> list[str]:
    """The arguments of a plain line, with the patterns in it expanded."""
    arguments = []
    for word in shlex.split(line, comments=True)[1:]:
        matches = sorted(map(str, Path().glob(word))) if "*" in word and "/" not in word[:1] else []
        arguments += matches or [word]
    return arguments


def shlex_free(line: str) -> str:
    """The line without what stands in quotes and after a comment sign."""
    return re.sub(r"\s#.*$", "", re.sub(r"\"[^\"]*\"|'[^']*'", "''", line))


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def run_shell(text: str, variables: dict[str, str]) -> None:
    """Run a block: `radiossl` commands in this process, which has everything loaded, all else by a shell.

    `variables` are those of the shell that blocks before set, and are added to.
    """
    for port in PORTS:
        text = text.replace(port, str(free_port()))
    waiting: list[str] = []
    inside = False  # of a document that the shell reads
    with ending() as started:
        for line in text.replace("\\\n", " ").splitlines():
            line = Template(line).safe_substitute(variables)
            if assignment := re.fullmatch(r'([A-Z]+)="(.*)"', line):
                variables[assignment[1]] = assignment[2]
                continue
            inside = (inside or "<<'END'" in line) and line != "END"
            if inside or not is_plain(line):
                waiting.append(line)
            else:
                shell(waiting, started)
                waiting = []
                arguments = arguments_of(line)
                explore(arguments[1:]) if serves(arguments) else run(arguments)
        shell(waiting, started)


def shell(lines: list[str], started: list[int]) -> None:
    """Run lines by a shell and wait for it, not for what it leaves running; note the group of its processes."""
    path = os.pathsep.join([str(Path("programs").resolve()), str(Path(sys.executable).parent), os.environ["PATH"]])
    script = "set -e\n" + "\n".join(lines)
    environment = os.environ | ENVIRONMENT | {"PATH": path, "SLURM_SUBMIT_DIR": str(Path().resolve())}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            ["bash", "-c", script], env=environment, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
        started.append(process.pid)
        status = process.wait()
        said.seek(0)
        assert status == 0, f"{script}\n{said.read()}"


@contextlib.contextmanager
def ending() -> Iterator[list[int]]:
    """Stop the groups of processes that were noted, whatever of them still runs."""
    groups: list[int] = []
    try:
        yield groups
    finally:
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)


def serves(arguments: list[str]) -> bool:
    """Whether a command runs until it is stopped."""
    return arguments[0] == "explore" and "--export" not in arguments


def explore(arguments: list[str]) -> None:
    """Open the explorer, ask it for its page, and stop it as Ctrl-C does."""
    with running(arguments, Path()) as (address, process):
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address) as page:
            assert page.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait() in (0, 130)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    return folder


@pytest.fixture
def here(world, tmp_path):
    """A copy of the world to work in."""
    folder = tmp_path / "here"
    shutil.copytree(world, folder, symlinks=True)
    with contextlib.chdir(folder), mpl.rc_context():
        yield folder


#: The README's blocks run in every test run, those of the documentation in the full one.
RUNNING = [
    pytest.param(page, id=page.relative_to(ROOT).as_posix(), marks=() if page.name == "README.md" else pytest.mark.slow)
    for page in PAGES
    if any(block.language in RUN for block in blocks(page))
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", RUNNING)
def test_blocks_run_one_after_the_other(page, here):
    names, variables = {"__name__": "page"}, {}
    given = {path.name for path in here.iterdir()}
    for block in blocks(page):
        if block.language == "bash":
            for arguments in commands(block.text):  # what the page makes itself is not there before
                out = arguments[arguments.index("--out") + 1] if "--out" in arguments else ""
                if out in given:
                    given.remove(out)
                    remove(Path(out))
            run_shell(block.text, variables)
        elif block.language == "python":
            exec(compile(block.text, f"{page}:{block.line}", "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_are_ones_that_the_command_line_understands(page):
    command = typer.main.get_command(app)
    for block in blocks(page):
        assert block.language in (*RUN, *PLAIN), f"{page}:{block.line}: a block marked {block.language!r}"
        if block.language == "bash":
            subprocess.run(["bash", "-n", "-c", block.text], check=True)
            for arguments in commands(block.text):
                parse(command, arguments, f"{page}:{block.line}: radiossl {shlex.join(arguments)}")


def parse(command, arguments, where):
    """Follow the names of commands down to the last one and let it read its options, without running it."""
    parent = None
    while hasattr(command, "commands"):
        parent = command.make_context("radiossl", list(arguments), parent=parent, resilient_parsing=True)
        name, arguments = arguments[0], arguments[1:]
        if name == "--help":
            return
        assert name in command.commands, f"{where}: there is no {name}"
        command = command.commands[name]
    words = [word for word in arguments if word != "..."]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if re.match(r"--?[a-z]", word):
            assert word.split("=")[0] in known | {"--help"}, f"{where}: there is no option {word}"


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_site_is_built_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "pictures/views.png" in home
    names = (tmp_path / "site" / "reference" / "python" / "index.html").read_text(encoding="utf-8")
    assert {name for name in radiossl.__all__ if name not in names} <= {"__version__"}
    commands = (tmp_path / "site" / "reference" / "commands" / "index.html").read_text(encoding="utf-8")
    assert "radiossl cutouts sources" in commands
    assert "every command -->" not in commands


def test_the_reference_has_every_command_with_its_options():
    text = runpy.run_path(str(ROOT / "docs" / "reference" / "commands.py"))["command_reference"]()

    def walk(command, path):
        assert f"`{path}`\n" in text
        section = text.split(f" `{path}`\n")[1].split("\n#")[0]
        for parameter in command.params:
            option = parameter.opts[0]
            if option.startswith("-") and option != "--help":
                assert f"`{option}`" in section, path
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{path} {name}")

    walk(typer.main.get_command(app), "radiossl")


def options(command):
    """The options of a command and of those below it."""
    found = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return found.union(*(options(inner) for inner in getattr(command, "commands", {}).values()))


def test_messages_and_docstrings_name_options_that_there_are():
    known = options(typer.main.get_command(app)) | {"--nproc-per-node", "--no-python"}  # of torchrun
    for file in sorted((ROOT / "radiossl").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = re.findall(r"(?<!var\()(?<!<!)(?<![\w-])--[a-z][a-z0-9-]+", node.value)  # no CSS or HTML
                assert set(named) <= known, f"{file}:{node.lineno}"


@pytest.mark.slow
def test_pictures_are_drawn_by_their_script(tmp_path):
    subprocess.run([sys.executable, str(ROOT / "docs" / "pictures" / "draw.py"), str(tmp_path)], check=True)
    for picture in (ROOT / "docs" / "pictures").glob("*.png"):
        with Image.open(picture) as kept, Image.open(tmp_path / picture.name) as drawn:
            assert kept.size == drawn.size
            difference = np.abs(np.asarray(kept.convert("L"), float) - np.asarray(drawn.convert("L"), float))
            assert np.median(difference) == 0
