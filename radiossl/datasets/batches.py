"""Batches of a set: sources dealt out evenly, and written in the layout of the official ones."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiossl.datasets.crumb_labels import BASIC_CLASSES
from radiossl.io.errors import RadiosslError


def deal_batches(
    labels: Sequence[str], batches: int = 7, seed: int = 0, last: Collection[int] = ()
) -> NDArray[np.int64]:
    """Deal sources out to batches that are alike in size and in the number of each class, to within one.

    The classes are dealt one after the other, the rarest first (section 2.5), each in a random order, and always to
    the batch that is next in turn.

    Parameters
    ----------
    labels
        Class of every source.
    batches
        How many.
    seed
        Of the random order.
    last
        Indices of sources that must come into the last batch; they change places with others of their class.

    Returns
    -------
    ndarray
        Batch of every source, from 0.

    Raises
    ------
    RadiosslError
        If there are fewer sources than batches.
    """
    if not 1 <= batches <= len(labels):
        raise RadiosslError(f"{batches} batches of {len(labels)} sources: expected from 1 to one per source")
    rng = np.random.default_rng(seed)
    names = np.array(labels, dtype=object)
    counts = Counter(labels)
    rarest_first = sorted(counts, key=lambda name: (counts[name], name))
    order = np.concatenate([rng.permutation(np.flatnonzero(names == name)) for name in rarest_first])
    batch = np.empty(len(labels), dtype=np.int64)
    batch[order] = np.arange(len(labels)) % batches
    for row in last:
        others = [o for o in order if names[o] == names[row] and batch[o] == batches - 1 and o not in last]
        if batch[row] != batches - 1 and others:
            batch[row], batch[others[0]] = batches - 1, batch[row]
    return batch


def batch_name(number: int, batches: int) -> str:
    """Return the name of a batch by its number from 0 on; the last one is for testing."""
    return "test_batch" if number == batches - 1 else f"data_batch_{number + 1}"


def write_batches(
    folder: Path,
    batch_of: NDArray[np.int64],
    labels: Sequence[str],
    complete: NDArray[np.int64],
    pictures: Sequence[NDArray[np.uint8]],
    file_names: Sequence[str],
    parents: Sequence[str],
) -> None:
    """Write the batches in the layout of the official ones; `batches.meta` also names the parents.

    Parameters
    ----------
    folder
        Where to, a new folder.
    batch_of
        Batch of every source from 0 on, shape (n,).
    labels, complete, pictures, file_names
        Class, complete label (a row of m whole numbers), image and file name of each.
    parents
        Names of the m entries of a complete label.
    """
    names = [*BASIC_CLASSES, *sorted(set(labels) - set(BASIC_CLASSES))]
    batches = int(batch_of.max()) + 1
    folder.mkdir()
    for number in range(batches):
        rows = np.flatnonzero(batch_of == number).tolist()
        last = number == batches - 1
        _dump(
            folder / batch_name(number, batches),
            {
                "batch_label": "testing batch 1 of 1" if last else f"training batch {number + 1} of {batches - 1}",
                "labels": [names.index(labels[row]) for row in rows],
                "complete_labels": [complete[row] for row in rows],
                "data": [pictures[row] for row in rows],
                "filenames": [file_names[row] for row in rows],
            },
        )
    size, side = -(-len(labels) // batches), pictures[0].shape[0]
    meta = {"num_cases_per_batch": size, "label_names": names, "num_vis": side**2, "parents": list(parents)}
    _dump(folder / "batches.meta", meta)


def _dump(path: Path, content: dict[str, Any]) -> None:
    with path.open("wb") as file:
        # Later protocols write arrays by functions that a cautious reader, such as this package's, refuses.
        pickle.dump(content, file, protocol=4)
