"""Sets that are published as pickled batches: read into cutouts, split evenly, and written in the same layout."""

from __future__ import annotations

import io
import os
import pickle
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiossl.datasets.published import Options, Reader
from radiossl.io.errors import RadiosslError, check_columns
from radiossl.io.files import existing_file
from radiossl.store.cutout import Cutout

#: Side in pixels of the images of all these sets.
SIDE = 150
FIRST_ARCSEC, TEST = 1.8, "test_batch"
#: Basic classes, in the order of their numbers in the batches of CRUMB.
BASIC_CLASSES = ("FRI", "FRII", "hybrid")

# Reading --------------------------------------------------------------------------------------------------------------

#: Takes the path and the content of a batch, and options; yields of each image its `cutout_id`, `file` (None if it has
#: no name), `ra_deg`, `dec_deg` and `extra` columns.
Facts = Callable[[Path, dict[str, Any], Any], Iterable[dict[str, Any]]]


def batch_files(source: Path, _: Options) -> list[str]:
    """Return the names of the batches in a folder, training batches by number and the test batch last."""
    if not source.is_dir():
        raise RadiosslError(f"{source}: is a file, expected the folder of the batches (data_batch_1, ..., test_batch)")
    numbered = {int(f.name[11:]): f.name for f in source.glob("data_batch_*") if f.name[11:].isdigit()}
    names = [numbered[number] for number in sorted(numbered)] + [TEST] * (source / TEST).is_file()
    if not names:
        raise RadiosslError(f"{source}: no data_batch_1 in there; expected the folder of the batches")
    return names


def missing_batches(source: Path, options: Options) -> list[str]:
    """Say whether the test batch is missing from a folder."""
    return [] if TEST in batch_files(source, options) else ["the test batch is not in this folder"]


def batched_reader(
    facts: Facts,
    pixel_scale_arcsec: float = FIRST_ARCSEC,
    remarks: Callable[[Path, Any], Sequence[str]] = missing_batches,
    **others: Any,
) -> Reader:
    """Return the reader of a set of pickled batches; `others` are further arguments of `Reader`."""

    def read(source: Path, part: str, options: Options) -> Iterator[Cutout]:
        path = source / part
        batch = read_batch(path)
        images = batch_columns(path, batch, "data")[0]
        where = {"batch": part, "split": "test" if part == TEST else "train"}
        for number, (image, known) in enumerate(zip(images, facts(path, batch, options), strict=True)):
            # The images were written from FITS arrays row by row: their first row is the lowest in declination.
            pixels = batch_image(path, image, SIDE, number)
            file = (known.pop("file") or part).replace("\\", "/").rsplit("/", 1)[-1]
            known |= {"extra": known["extra"] | where, "pixel_scale_arcsec": pixel_scale_arcsec, "unit": "8-bit"}
            yield Cutout.whole_image(pixels=pixels, mosaic=file, **known)

    return Reader(batch_files, read, remarks=remarks, **others)


# Writing --------------------------------------------------------------------------------------------------------------


def deal_batches(
    labels: Sequence[str], batches: int = 7, seed: int = 0, last: Collection[int] = ()
) -> NDArray[np.int64]:
    """Assign sources to batches that are alike in size and in the number of each class, to within one.

    The classes are assigned one after the other, the rarest first (section 2.5), each in a random order, and always to
    the batch that is next in turn. Sources whose indices are in `last` come into the last batch and change places with
    others of their class. Returns the batch of every source, from 0; raises `RadiosslError` if there are fewer sources
    than batches.
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
    return TEST if number == batches - 1 else f"data_batch_{number + 1}"


def write_batches(
    folder: Path,
    batch_of: NDArray[np.int64],
    labels: Sequence[str],
    complete: NDArray[np.int64],
    pictures: Sequence[NDArray[np.uint8]],
    file_names: Sequence[str],
    parents: Sequence[str],
) -> None:
    """Write batches in the layout of the official ones into a new folder; `batches.meta` also names the parents.

    `batch_of` is the batch of every source from 0 on, shape (n,); `complete` are its complete labels, shape (n, m), of
    which `parents` are the names.
    """
    names = [*BASIC_CLASSES, *sorted(set(labels) - set(BASIC_CLASSES))]
    batches = int(batch_of.max()) + 1
    folder.mkdir()
    for number in range(batches):
        rows = np.flatnonzero(batch_of == number).tolist()
        last = number == batches - 1
        content = {
            "batch_label": "testing batch 1 of 1" if last else f"training batch {number + 1} of {batches - 1}",
            "labels": [names.index(labels[row]) for row in rows],
            "complete_labels": [complete[row] for row in rows],
            "data": [pictures[row] for row in rows],
            "filenames": [file_names[row] for row in rows],
        }
        # Later protocols write arrays by functions that a cautious reader, such as this package's, refuses.
        (folder / batch_name(number, batches)).write_bytes(pickle.dumps(content, protocol=4))
    size, side = -(-len(labels) // batches), pictures[0].shape[0]
    meta = {"num_cases_per_batch": size, "label_names": names, "num_vis": side**2, "parents": list(parents)}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=4))


# Pickles, without running what may be hidden in them ------------------------------------------------------------------


#: A pickle can call any function. The batches of MiraBest, CRUMB, FR-DEEP and RGZ need these names of numpy to be
#: rebuilt; everything else is refused.
_NUMPY = {
    "_reconstruct": np.ndarray([]).__reduce__()[0],
    "scalar": np.float64(0).__reduce__()[0],
    "ndarray": np.ndarray,
    "dtype": np.dtype,
}
_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
#: Largest file that is read, in bytes; the largest published batch has 48 MB.
_LARGEST = 2**30


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _MODULES and name in _NUMPY:
            return _NUMPY[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside of the file")


def read_batch(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a pickled batch as published: a dictionary of lists, texts, numbers and numpy arrays.

    Raises `RadiosslError` if the file is missing, damaged, no dictionary, or asks for anything but numpy arrays of
    plain numbers or text.
    """
    path = existing_file(path)
    if path.stat().st_size > _LARGEST:
        raise RadiosslError(f"{path}: {path.stat().st_size} bytes, a published batch is far smaller; it is not read")
    content = path.read_bytes()
    try:
        batch = _Restricted(io.BytesIO(content), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise RadiosslError(f"{path}: not a published batch, it is refused ({error})") from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise RadiosslError(f"{path}: damaged batch ({type(error).__name__}: {error}); fetch it again") from None
    if not isinstance(batch, dict) or not all(isinstance(key, str) for key in batch):
        raise RadiosslError(f"{path}: holds a {type(batch).__name__}, a batch is a dictionary of named columns")
    return batch


def batch_columns(path: str | os.PathLike[str], batch: dict[str, Any], *names: str) -> list[list[Any]]:
    """Return columns of a batch as lists of one length; raise `RadiosslError` if one is missing or they differ."""
    check_columns(names, batch, path, " in the batch")
    columns = [list(batch[name]) for name in names]
    if len({len(column) for column in columns}) != 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in zip(names, columns, strict=True))
        raise RadiosslError(f"{path}: columns of different lengths ({lengths})")
    return columns


def batch_image(path: str | os.PathLike[str], data: Any, side: int, number: int) -> np.ndarray[Any, Any]:
    """Return one image of a batch, flat or square, as float32 (side, side)."""
    image = np.asarray(data)
    if image.size != side * side or image.dtype.kind not in "uif":
        raise RadiosslError(
            f"{path}: image {number} has {image.size} values of type {image.dtype}, expected {side} x {side} numbers"
        )
    return image.reshape(side, side).astype(np.float32)
