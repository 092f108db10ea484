"""The record of a run under way: metrics.csv, and progress on standard error."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from radiossl.io.errors import RadiosslError, naming_full_disk
from radiossl.io.files import atomic_file
from radiossl.io.progress import progress_bar

COLUMNS = ("step", "epoch", "loss", "lr", "feature_std", "images_per_s", "knn_accuracy")


class Metrics:
    """`metrics.csv`, continued at a step.

    Rows of later steps, which a killed run may have left, are dropped; so is half a row that a full disk has left.
    """

    def __init__(self, file: Path, step: int, columns: Sequence[str] = COLUMNS) -> None:
        kept = []
        if step and file.exists():
            with file.open(newline="", encoding="utf-8", errors="replace") as stream:
                rows = csv.DictReader([line for line in stream if line.endswith("\n")])
            if rows.fieldnames and "step" not in rows.fieldnames:
                raise RadiosslError(f"{file}: damaged, it has no column step; move it away to go on without it")
            kept = [row for row in rows if (row["step"] or "").isdecimal() and int(row["step"]) <= step]
        with atomic_file(file) as temporary, temporary.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(kept)
        self.file, self.columns = file, columns

    def add(self, row: dict[str, Any]) -> None:
        """Append a row."""
        with naming_full_disk(self.file), self.file.open("a", newline="") as stream:
            csv.DictWriter(stream, self.columns).writerow(row)


class TrainingProgress:
    """Progress with images per second and time left: a bar where bars are shown, a line twice a minute elsewhere."""

    def __init__(self, total: int, done: int, batch_size: int) -> None:
        from rich.progress import MofNCompleteColumn, TextColumn

        self.total, self.done, self.batch_size = total, done, batch_size
        self.started = self.printed = time.monotonic()
        self.first = done
        shown = TextColumn("loss {task.fields[loss]:.4f}  {task.fields[rate]:.0f} images/s")
        self.bar = progress_bar(MofNCompleteColumn(), shown)
        self.task = self.bar.add_task("step", total=total, completed=done, loss=math.nan, rate=0.0)

    def __enter__(self) -> TrainingProgress:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.update(self.task, completed=self.done)
        self.bar.stop()

    @property
    def images_per_s(self) -> float:
        """Training images per second since the start (in pretraining each is seen in two views)."""
        return round((self.done - self.first) * self.batch_size / max(1e-9, time.monotonic() - self.started), 1)

    def advance(self, loss: Tensor) -> None:
        """Count a step, and show its loss now and then."""
        self.done += 1
        now = time.monotonic()
        if now - self.printed < (30.0 if self.bar.disable else 0.5):
            return
        self.printed = now
        rate, value = self.images_per_s, float(loss)
        self.bar.update(self.task, completed=self.done, loss=value, rate=rate)
        if self.bar.disable:
            left = (self.total - self.done) * self.batch_size / rate / 60
            self.bar.console.print(
                f"step {self.done}/{self.total}  loss {value:.4f}  {rate:.0f} images/s  {left:.1f} min left"
            )
