"""Whether commands that are killed at random moments and given again make what undisturbed ones make.

    python benchmarks/kill_and_resume.py [--images FOLDER] [--kills 20] [--json FILE]

Blind cutting, pretraining, embedding and indexing are each run undisturbed, then killed with SIGKILL again and again
and repeated until they are done. A moment is drawn from the time that the undisturbed run worked, counted from when
the command takes its lock, so that the kill does not fall into the import of libraries; the first of each command is
drawn from the whole run. Without --images a survey is simulated. The status is 1 if any result differs or anything
stray lies beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from radiossl.survey.simulation import SurveySpec, simulate_survey

#: Sums depend on how many threads share them, and so would the last bits of weights and features.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
POLL_S = 0.002


@dataclass(frozen=True)
class Command:
    """A command to disturb: `arguments` come before ``--out``; the bytes of the files `compared` must be the same."""

    name: str
    out: str
    arguments: tuple[str, ...]
    compared: tuple[str, ...]

    def line(self, folder: Path) -> list[str]:
        """Return the command; one that trains resumes if it had begun."""
        resume = ["--resume"] if self.name == "pretrain" and (folder / self.out / "recipe.yaml").exists() else []
        radiossl = [sys.executable, "-m", "radiossl.cli.main"]
        return [*radiossl, *self.arguments, "--out", str(folder / self.out), *resume]

    def result(self, folder: Path) -> dict[str, str]:
        """Return hashes of what must be the same."""
        root = folder / self.out
        files = [root] if root.is_file() else sorted(file for name in self.compared for file in root.glob(name))
        found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        if self.name == "pretrain":  # the rows but for the speed
            rows = pd.read_csv(root / "metrics.csv").drop(columns="images_per_s")
            found["metrics.csv"] = hashlib.sha256(rows.to_csv().encode()).hexdigest()
        return found


@dataclass
class Attempt:
    """One process: how long it took, and when it was killed, if it was."""

    seconds: float
    working_s: float
    killed: bool
    left: str


@dataclass
class Row:
    """A line of the table."""

    command: str
    undisturbed_s: float
    working_s: float
    kills: int = 0
    kills_at_work: int = 0
    lost_s: float = 0.0
    equal: bool = True
    strays: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def left_behind(folder: Path, whole: set[str]) -> str:
    """Say in what state a kill left a folder, given the names of a whole result."""
    found = contents(folder)
    finished, unfinished = len(found & whole), sorted(found - whole)
    return f"{finished} of {len(whole)} files and folders; besides {', '.join(unfinished) or 'nothing'}"


def attempt(
    command: Command, folder: Path, whole: set[str], kill_after: float | None = None, from_start: bool = False
) -> Attempt:
    """Run the command, and kill it so many seconds after it has taken its lock or has been started."""
    lock = folder / f".{command.out}.lock"
    lock.unlink(missing_ok=True)  # left by the kill before; it would hide when this process takes it
    start = time.monotonic()
    working = None
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command.line(folder), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=errors)
        while process.poll() is None:
            now = time.monotonic()
            if working is None and lock.exists():
                working = now
            since = start if from_start else working
            if kill_after is not None and since is not None and now - since >= kill_after:
                process.kill()
                break
            time.sleep(POLL_S)
        status, end = process.wait(), time.monotonic()
        errors.seek(0)
        said = errors.read()
    killed = status == -9
    # Killed after the last file was written, before it could say so.
    finished = status == 0 or "holds a finished store already" in said
    if not killed and not finished:
        raise SystemExit(f"{' '.join(command.line(folder))}: ended with status {status}\n{said}")
    left = left_behind(folder, whole) if killed else ""
    return Attempt(end - start, 0.0 if working is None else end - working, killed, left)


def disturb(command: Command, folder: Path, kills: int, rng: random.Random) -> Row:
    """Kill a command so many times, in as many runs as that takes."""
    plain = folder / "undisturbed"
    plain.mkdir(parents=True)
    alone = attempt(command, plain, set())
    expected, whole = command.result(plain), contents(plain)
    row = Row(command.name, alone.seconds, alone.working_s)
    run = 0
    while row.kills < kills:
        run += 1
        trial = folder / f"disturbed{run}"
        trial.mkdir()
        spent, done = 0.0, False
        while not done:
            from_start = row.kills == 0
            moment = rng.uniform(0, alone.seconds if from_start else alone.working_s)
            made = attempt(command, trial, whole, moment if row.kills < kills else None, from_start)
            spent += made.seconds
            done = not made.killed
            if made.killed:
                row.kills += 1
                row.kills_at_work += made.working_s > 0
                row.left.append(f"after {made.working_s:.2f} s of work: {made.left}")
                print(f"{command.name}: killed {row.left[-1]}", flush=True)
        row.lost_s += spent - alone.seconds
        row.equal &= command.result(trial) == expected
        row.strays += sorted(contents(trial) - whole)
        shutil.rmtree(trial)
    return row


def commands(images: Path, folder: Path, size: int, overlap: float, epochs: int) -> list[Command]:
    """Return the four commands, each working on what the one before made undisturbed."""

    def made(name: str, out: str) -> str:
        return str(folder / name / "undisturbed" / out)

    store, features = made("cutouts", "store"), made("embed", "features.parquet")
    backbone = made("pretrain", "run") + "/backbone"
    training = ["batch_size=64", f"schedule.epochs={epochs}", "schedule.warmup_epochs=1", "checkpoint_steps=4"]
    changes = [part for key in training for part in ("--set", key)]
    return [
        Command(
            "cutouts",
            "store",
            ("cutouts", "blind", str(images), "--size", str(size), "--overlap", str(overlap), "--workers", "1"),
            ("*",),
        ),
        Command(
            "pretrain",
            "run",
            ("pretrain", "--recipe", "radiossl", "--data", store, "--image-size", "32", "--device", "cpu", *changes),
            ("backbone/*", "recipe.yaml"),
        ),
        Command("embed", "features.parquet", ("embed", backbone, store), ()),
        Command("index", "index", ("index", features, "--kind", "ivf-sq8"), ("*",)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of FITS images of 300 pixels or more; else simulated ones")
    parser.add_argument("--kills", type=int, default=20, help="of all commands together")
    parser.add_argument("--size", type=int, default=256, help="of the windows in pixels")
    parser.add_argument("--overlap", type=float, default=0.5, help="of the windows; many make several shards")
    parser.add_argument("--epochs", type=int, default=2, help="of the pretraining")
    parser.add_argument("--folder", type=Path, help="where to work; must be new; removed without this option")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        images = options.images
        if images is None:
            images = folder / "survey"
            simulate_survey(images, SurveySpec(tiles=4, size=768, sources=100, seed=options.seed))
        chosen = commands(images, folder, options.size, options.overlap, options.epochs)
        shares = [(options.kills + number) // len(chosen) for number in range(len(chosen))]
        rows = [
            disturb(command, folder / command.name, kills, rng) for command, kills in zip(chosen, shares, strict=True)
        ]
    print(f"{'command':10s} kills at work undisturbed     lost equal strays")
    for row in rows:
        numbers = f"{row.kills:5d} {row.kills_at_work:7d} {row.undisturbed_s:9.1f} s {row.lost_s:6.1f} s"
        print(f"{row.command:10s} {numbers} {'yes' if row.equal else 'NO':>5s} {len(row.strays):6d}")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    sys.exit(not all(row.equal and not row.strays for row in rows))


if __name__ == "__main__":
    main()
