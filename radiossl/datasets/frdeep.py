"""FR-DEEP: 600 FRI and FRII radio galaxies of FRICAT and CoNFIG in FIRST or NVSS images (Tang et al. 2019).

Read from the official pickled batches. They give an image, a class and at most a file name; no positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from radiossl.datasets.batches import batch_columns, batched_reader
from radiossl.datasets.published import Options
from radiossl.datasets.rgz import position_of_name
from radiossl.io.errors import RadiosslError

#: Classes in the order of the batches' label numbers.
LABELS = ("FRI", "FRII")


def _facts(path: Path, batch: dict[str, Any], _: Options) -> Iterator[dict[str, Any]]:
    # The authors' own reader does without the names, so a batch may lack them.
    batch.setdefault("filenames", [None] * len(batch.get("labels", ())))
    for number, (code, _, name) in enumerate(
        zip(*batch_columns(path, batch, "labels", "data", "filenames"), strict=True)
    ):
        if code not in range(len(LABELS)):
            raise RadiosslError(f"{path}: object {number} has label {code}, expected 0 (FRI) or 1 (FRII)")
        ra, dec = position_of_name(str(name))
        file = None if name is None else str(name)
        extra = {"label": LABELS[int(code)], "label_code": int(code), "file_name": file}
        yield {"cutout_id": f"{path.name}_{number:02d}", "file": file, "ra_deg": ra, "dec_deg": dec, "extra": extra}


FIRST, NVSS = batched_reader(_facts), batched_reader(_facts, 15.0)
