"""The documentation: every block runs, every command is one that exists, and the site is built without a warning."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import pyarrow.csv as pcsv
import pytest
import typer
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

from radiossl.cli.main import app, main

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
#: What a block is: run by these tests, or only looked at, since it needs a published set, a cluster or hours.
RUN, LOOKED_AT, PLAIN = ("bash", "python"), ("sh",), ("text", "")


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
        if re.match(r"\s*radiossl\s", line):
            yield shlex.split(line, comments=True)[1:]


def in_process(line: str) -> list[str] | None:
    """The arguments of a line that is nothing but a `radiossl` command, with the patterns in it expanded."""
    if not line.startswith("radiossl ") or re.search(r"[$|&;]|(?<![\"' ])>|> ?[a-z./]+$", shlex_free(line)):
        return None
    arguments = []
    for word in shlex.split(line, comments=True)[1:]:
        matches = sorted(map(str, Path().glob(word))) if "*" in word and "/" not in word[:1] else []
        arguments += matches or [word]
    return arguments


def shlex_free(line: str) -> str:
    """The line without what stands in quotes and after a comment sign."""
    return re.sub(r"\s#.*$", "", re.sub(r"\"[^\"]*\"|'[^']*'", "''", line))


def quick(arguments: list[str]) -> list[str]:
    """The same command with one epoch of training: that it runs is asked here, not what it learns."""
    if arguments[0] not in ("pretrain", "evaluate"):
        return arguments
    if arguments[0] == "pretrain" and "--resume" not in arguments:
        arguments = [*arguments, "--epochs", "1", "--image-size", "32", "--batch-size", "32"]
        arguments += ["--set", "schedule.warmup_epochs=0"]
    if arguments[1] in ("finetune", "supervised") or "--layer" in arguments:
        arguments = [*arguments, "--epochs", "1"]
    if arguments[0] == "evaluate" and arguments[1] not in ("compare", "sweep"):
        arguments = [*arguments, "--seeds", "1", "--folds", "2"]
    return arguments


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def run(arguments: list[str]) -> None:
    try:
        main(quick(arguments))
    except SystemExit as end:
        if end.code:
            pytest.fail(f"radiossl {shlex.join(arguments)} ended with status {end.code}")


def run_shell(text: str) -> None:
    """Run a block: `radiossl` commands in this process, which has everything loaded, all else by a shell."""
    waiting: list[str] = []

    def flush() -> None:
        if any(line.strip() and not line.strip().startswith("#") for line in waiting):
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            script = "set -e\n" + "\n".join(waiting)
            done = subprocess.run(
                ["bash", "-c", script], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        waiting.clear()

    inside = False  # of a document that the shell reads
    for line in text.replace("\\\n", " ").splitlines():
        inside = (inside or "<<'END'" in line) and line != "END"
        arguments = None if inside else in_process(line)
        if arguments is None:
            waiting.append(line)
        else:
            flush()
            run(arguments)
    flush()


#: Where the first source of each survey is.
CENTRES = [(211.77583, 28.20306), (30.0, -45.0), (80.0, 10.0)]


def moved(survey, ra_deg, dec_deg):
    """Bring the first source of a simulated survey to another place; returns the truth that fits."""
    truth = pcsv.read_csv(survey / "truth.csv").to_pandas()
    with fits.open(survey / "tile_000.fits", mode="update") as mosaic:
        header = mosaic[0].header
        header["CRVAL1"], header["CRVAL2"] = ra_deg, dec_deg
        header["CRPIX1"], header["CRPIX2"] = truth.loc[0, ["x", "y"]] + 1
        truth["ra_deg"], truth["dec_deg"] = WCS(header).celestial.wcs_pix2world(truth["x"], truth["y"], 0)
    return truth


def catalogue(truth, seed):
    """The truth of a simulated survey as somebody's catalogue with labels and ratings."""
    rng = np.random.default_rng(seed)
    table = truth.rename(columns={"extent_arcsec": "las_arcsec"})
    table["size_pixels"] = (table["las_arcsec"] * 4).astype(int)
    table["fr_class"] = np.where(table["snr"] > table["snr"].median(), "FRI", "FRII")
    table["mirabest_class"] = np.where(table["fr_class"] == "FRI", 100, 200)
    table["morphology"] = np.where(table["class"] == "compact", "point", "resolved")
    table["interest_score"] = rng.integers(1, 6, len(table))
    return table


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A folder with what pages take for granted: mosaics, catalogues, stores, a backbone, features."""
    folder = tmp_path_factory.mktemp("world")
    with contextlib.chdir(folder):
        for seed, name in enumerate(("mosaics", "labelled", "test_store")):
            run(["simulate", name + "_survey", "--tiles", "1", "--size", "900", "--sources", "70", "--seed", str(seed)])
            table = catalogue(moved(Path(f"{name}_survey"), *CENTRES[seed]), seed)
            table.loc[:3, "source_id"] = ["J1407+2827", "ONE", "TWO", "THREE"]
            table.to_csv(f"{name}.csv", index=False)
            run(["cutouts", "sources", f"{name}_survey", "--catalogue", f"{name}.csv", "--out", name])
        Path("mosaics").rename("store")
        Path("mosaics_survey").rename("mosaics")
        Path("mosaics/truth.csv").unlink()
        Path("mosaics.csv").rename("sources.csv")
        for link, target in {"train_store": "labelled", "moved/store": "../store"}.items():
            Path(link).parent.mkdir(exist_ok=True)
            Path(link).symlink_to(target)
        table = pcsv.read_csv("sources.csv").to_pandas()
        odd = {"ra_deg": "alpha", "dec_deg": "delta", "las_arcsec": "size", "source_id": "label"}
        table.rename(columns=odd)[list(odd.values())].to_csv("odd.csv", index=False)
        table[["source_id"]].assign(verdict=table["morphology"]).to_csv("my_labels.csv", index=False)
        run(["pretrain", "--recipe", "radiossl", "--data", "store", "--out", "run"])
        run(["embed", "run/backbone", "store", "--out", "features.parquet"])
        run(["embed", "run/backbone", "labelled", "--out", "later.parquet"])
        shutil.copy("features.parquet", "other.parquet")
        shutil.copy("features.parquet", "features_1.parquet")
        run(["anomalies", "features.parquet", "--out", "found"])
        shutil.copy("found/anomalies.csv", "anomalies.csv")
        stars = photometry()
        stars[["u", "g", "r", "i", "z", "class"]].to_csv("sdss.csv", index=False)
        stars.to_parquet("sdss.parquet")
        stars.drop(columns="class").to_parquet("all.parquet")
        for number in range(8):
            kind = Path("pictures", ("round", "long")[number % 2])
            kind.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 255, (40, 40)).astype(np.uint8)
            Image.fromarray(pixels).save(kind / f"{number}.png")
        with fits.open("mosaics/tile_000.fits") as mosaic:
            fits.PrimaryHDU(np.squeeze(mosaic[0].data)[400:480, 400:480], mosaic[0].header).writeto("cutout.fits")
        Path("checkpoints").symlink_to(ROOT / "checkpoints")
    return folder


def photometry():
    """Magnitudes of three classes, as a table of SDSS and WISE has them."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 300)
    r = rng.uniform(15, 22, 300)
    bands = {band: r + rng.normal(0.4 * (step - 3) * (kinds - 1), 0.3) for step, band in enumerate("ugriz", start=1)}
    wise = {f"w{band}": r - 1 - kinds + rng.normal(0, 0.5, 300) for band in (1, 2, 3, 4)}
    sizes = {"psf_r": bands["r"] + 0.2 * (kinds == 0), "cmod_r": bands["r"]}
    return pd.DataFrame({**bands, **wise, **sizes, "class": np.array(["GALAXY", "QSO", "STAR"])[kinds]})


@pytest.fixture
def here(world, tmp_path):
    """A copy of the world to work in."""
    folder = tmp_path / "here"
    shutil.copytree(world, folder, symlinks=True)
    with contextlib.chdir(folder), mpl.rc_context():
        yield folder


RUNNING = [page for page in PAGES if any(block.language in RUN for block in blocks(page))]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_blocks_run_one_after_the_other(page, here):
    names = {"__name__": "page"}
    given = {path.name for path in here.iterdir()}
    for block in blocks(page):
        if block.language == "bash":
            for arguments in commands(block.text):  # what the page makes itself is not there before
                out = arguments[arguments.index("--out") + 1] if "--out" in arguments else ""
                if out in given:
                    given.remove(out)
                    remove(Path(out))
            run_shell(block.text)
        elif block.language == "python":
            exec(compile(block.text, f"{page}:{block.line}", "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_are_ones_that_the_command_line_understands(page):
    command = typer.main.get_command(app)
    for block in blocks(page):
        assert block.language in (*RUN, *LOOKED_AT, *PLAIN), f"{page}:{block.line}: a block marked {block.language!r}"
        if block.language in ("bash", "sh"):
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
    assert "load_backbone" in (tmp_path / "site" / "reference" / "backbones" / "index.html").read_text(encoding="utf-8")


def test_pictures_are_drawn_by_their_script(tmp_path):
    subprocess.run([sys.executable, str(ROOT / "docs" / "pictures" / "draw.py"), str(tmp_path)], check=True)
    for picture in (ROOT / "docs" / "pictures").glob("*.png"):
        with Image.open(picture) as kept, Image.open(tmp_path / picture.name) as drawn:
            assert kept.size == drawn.size
            difference = np.abs(np.asarray(kept.convert("L"), float) - np.asarray(drawn.convert("L"), float))
            assert np.median(difference) == 0
