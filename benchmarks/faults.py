"""Faults: commands killed at random moments, results killed while they are replaced, and flipped bits.

    python benchmarks/faults.py [--kills 12] [--replacing 60] [--flips 1500] [--only COMMAND] [--json FILE]

- *kills*: every command is killed with SIGKILL at random moments and given again; a loss is a command that then fails,
  a damaged result, or anything stray beside it.
- *replacing*: a command replaces the result of another input and is killed meanwhile; a mix is a folder that readers
  accept and that holds files of both.
- *flips*: one bit of a store, feature table, index, backbone or result is flipped; `silent` are those that neither
  reading nor `radiossl verify` notices.

Needs a system with `fork`. The status is 1 if anything was lost, mixed or silent.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

import radiossl
from radiossl.io.checksums import verify
from radiossl.io.errors import RadiosslError
from radiossl.io.files import read_json
from radiossl.store.store import open_store

os.environ.setdefault("OMP_NUM_THREADS", "1")

#: A command that takes longer hangs, and counts as a loss.
LONGEST_S = 1800


def start(arguments: Sequence[object]) -> int:
    """Start a command in a forked process, in which everything is imported already; return its number."""
    from radiossl.cli.main import main

    child = os.fork()
    if child:
        return child
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    signal.alarm(LONGEST_S)
    status = 1
    try:
        main(list(map(str, arguments)))
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    finally:
        os._exit(status)


def run(arguments: Sequence[object]) -> int:
    """Return the exit status of a command."""
    return os.waitstatus_to_exitcode(os.waitpid(start(arguments), 0)[1])


def killed(arguments: Sequence[object], after_s: float) -> bool:
    """Kill a command after some time; return whether it was still at work."""
    child = start(arguments)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def import_everything() -> None:
    """Import the package and what it uses, once for all commands: they are killed at work, not while they import."""
    import astropy.wcs  # noqa: F401
    import datasets  # noqa: F401
    import faiss  # noqa: F401
    import lightgbm  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import sklearn.ensemble  # noqa: F401
    import timm  # noqa: F401

    for module in pkgutil.walk_packages(radiossl.__path__, "radiossl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def make_world(root: Path) -> dict[str, list[object]]:
    """Make inputs; return commands by name, to which ``--out`` and a place are added."""
    from radiossl.features.table import FeatureTable
    from radiossl.images.preprocess import Preprocessing
    from radiossl.weights.architecture import Architecture
    from radiossl.weights.backbone import Backbone, save_backbone

    for number in (0, 1):
        sky = root / f"sky{number}"
        assert run(["simulate", sky, "--tiles", 1, "--size", 256, "--sources", 60, "--seed", number]) == 0
        cut = ["cutouts", "sources", sky, "--catalogue", sky / "truth.csv", "--size", 32]
        assert run([*cut, "--out", root / f"store{number}"]) == 0
    backbone = Backbone.random(Architecture(name="test_resnet"), Preprocessing(size=32, views=1), seed=0)
    save_backbone(root / "weights", backbone.network, backbone.config)
    rng = np.random.default_rng(0)
    for number, rows in enumerate((80, 60)):
        columns = pa.table(
            {
                "cutout_id": [f"t{number}c{row}" for row in range(rows)],
                "ra_deg": rng.uniform(0, 10, rows),
                "dec_deg": rng.uniform(0, 10, rows),
                "label": rng.choice(["FRI", "FRII"], rows).tolist(),
                "flux": rng.normal(size=rows),
            }
        )
        FeatureTable(columns, rng.normal(size=(rows, 16)).astype(np.float32)).write(root / f"f{number}.parquet")
    store, table = root / "store0", root / "f0.parquet"
    (root / "scores.csv").write_text("cutout_id,score\n" + "".join(f"t0c{row},{row}\n" for row in range(80)))
    names = open_store(store).column("cutout_id")
    (root / "notes.csv").write_text("cutout_id,note\n" + "".join(f"{name},seen\n" for name in names))
    mosaics = root / "sky0"
    train = ["--epochs", 1, "--batch-size", 8, "--image-size", 32, "--device", "cpu"]
    train += ["--set", "backbone.name=test_resnet", "--set", "schedule.warmup_epochs=0"]
    commands: dict[str, list[object]] = {
        "cutouts blind": ["cutouts", "blind", mosaics, "--size", 32],
        "cutouts sources": ["cutouts", "sources", mosaics, "--catalogue", mosaics / "truth.csv", "--size", 32],
        "store filter": ["store", "filter", store, "--where", "rms > 0"],
        "store concat": ["store", "concat", store, root / "store1"],
        "store join": ["store", "join", store, root / "notes.csv", "--on", "cutout_id"],
        "embed": ["embed", root / "weights", store, "--batch-size", 16],
        "export": ["export", table, "--format", "fits"],
        "index": ["index", table],
        "map": ["map", table, "--method", "pca"],
        "anomalies": ["anomalies", table],
        "duplicates": ["duplicates", table],
        "search": ["search", table, "--query", "t0c3"],
        "table train": ["table", "train", table, "--label", "label", "--columns", "flux", "--trees", 20],
        "pretrain": ["pretrain", "--recipe", "radiossl", "--data", store, *train],
        "rate propose": ["rate", "propose", table, "--scores", root / "scores.csv"],
    }
    return commands


def suffix_of(name: str) -> str:
    return {"embed": ".parquet", "export": ".fits"}.get(name, "")


def attack_by_kills(commands: dict[str, list[object]], root: Path, kills: int, draw: random.Random) -> dict[str, int]:
    """Kill each command `kills` times; return counts."""
    counts = {"commands": 0, "kills": 0, "losses": 0}
    for name, arguments in commands.items():
        place = root / "kills" / name.replace(" ", "_")
        place.mkdir(parents=True)
        begin = time.monotonic()
        if run([*arguments, "--out", place / f"whole{suffix_of(name)}"]):
            sys.exit(f"{name}: fails undisturbed")
        seconds = time.monotonic() - begin
        counts["commands"] += 1
        done = 0
        for number in range(3 * kills):  # some end before they are killed, and do not count
            out = place / f"{number}" / f"out{suffix_of(name)}"
            out.parent.mkdir()
            done += killed([*arguments, "--out", out], draw.uniform(0, seconds))
            resume = ["--resume"] if name == "pretrain" and any(out.rglob("last.ckpt")) else []
            status = run([*arguments, "--out", out, *resume])
            strays = [file.name for file in out.parent.iterdir() if file.name != out.name]
            whole = is_whole(out)
            # A store that was finished when the kill came is not made again.
            if strays or not whole or (status and not (out / "store.json").exists()):
                counts["losses"] += 1
                print(f"{name}: status {status}, beside it {strays}, whole {whole}", file=sys.stderr)
            shutil.rmtree(out.parent)
            if done == kills:
                break
        counts["kills"] += done
        print(f"  {name}: {done} kills in {seconds:.2f} s each", flush=True)
    return counts


def is_whole(out: Path) -> bool:
    """Whether what a command made is there and as it was written."""
    try:
        if (out / "store.json").exists():
            open_store(out)
        return not verify(out).damaged
    except RadiosslError:
        return False


def attack_replacing(root: Path, kills: int, draw: random.Random) -> dict[str, int]:
    """Kill commands while they replace the result of another table; return counts."""
    counts = {"kills": 0, "old": 0, "new": 0, "refused": 0, "mixes": 0}
    commands = {"duplicates": [], "anomalies": [], "map": ["--method", "pca"]}
    states, seconds = {}, {}
    for name, options in commands.items():
        for table in (0, 1):
            begin = time.monotonic()
            out = root / "undisturbed" / f"{name}{table}"
            assert run([name, root / f"f{table}.parquet", *options, "--out", out]) == 0
            states[name, table], seconds[name] = tables_of(out), time.monotonic() - begin
    for number in range(kills):
        name = list(commands)[number % len(commands)]
        out = root / f"replacing{number}" / "out"
        shutil.copytree(root / "undisturbed" / f"{name}0", out)
        again = [name, root / "f1.parquet", *commands[name], "--out", out]
        counts["kills"] += killed(again, draw.uniform(0.3, 1.05) * seconds[name])
        try:
            read_json(out / "metrics.json")
        except RadiosslError:
            counts["refused"] += 1
            assert run(again) == 0, "the same command completes it"
            assert tables_of(out) == states[name, 1]
        else:
            is_old, is_new = (tables_of(out) == states[name, table] for table in (0, 1))
            whole = (is_old or is_new) and not verify(out).damaged
            counts["mixes" if not whole else "old" if is_old else "new"] += 1
    return counts


def tables_of(out: Path) -> dict[str, bytes]:
    """Return the tables and numbers of a result, which are the same in every run."""
    files = (file for file in out.iterdir() if file.suffix in (".csv", ".json") and not file.name.startswith("."))
    return {file.name: file.read_bytes() for file in files}


def attack_by_flips(commands: dict[str, list[object]], root: Path, flips: int, draw: random.Random) -> dict[str, int]:
    """Flip single bits in what commands made; return counts."""
    for name in ("index", "map"):
        assert run([*commands[name], "--out", root / f"flip-{name}"]) == 0
    targets = [root / name for name in ("store0", "f0.parquet", "flip-index", "weights", "flip-map")]
    counts = {"flips": 0, "silent": 0}
    for number in range(flips):
        target = targets[number % len(targets)]
        files = [target] if target.is_file() else sorted(file for file in target.rglob("*") if file.is_file())
        file = draw.choice(files)
        original = file.read_bytes()
        if not original:
            continue
        data = bytearray(original)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        file.write_bytes(data)
        counts["flips"] += 1
        if not verify(target).damaged:
            counts["silent"] += 1
            print(f"{file}: a flip was not noticed", file=sys.stderr)
        file.write_bytes(original)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=12, help="of each command")
    parser.add_argument("--only", action="append", help="kill this command alone, such as 'rate propose'; repeatable")
    parser.add_argument("--replacing", type=int, default=60)
    parser.add_argument("--flips", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import_everything()
    draw = random.Random(options.seed)
    counts: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        commands = make_world(root)
        chosen = {name: commands[name] for name in options.only or commands}
        for name, wanted, attack in (
            ("flips", options.flips, lambda: attack_by_flips(commands, root, options.flips, draw)),
            ("replacing", options.replacing, lambda: attack_replacing(root, options.replacing, draw)),
            ("kills", options.kills, lambda: attack_by_kills(chosen, root, options.kills, draw)),
        ):
            if not wanted:
                continue
            counts[name] = attack()
            print(f"{name:10s} " + ", ".join(f"{key} {count}" for key, count in counts[name].items()), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(counts, indent=2) + "\n")
    sys.exit(any(found.get(bad) for found in counts.values() for bad in ("losses", "mixes", "silent")))


if __name__ == "__main__":
    main()
