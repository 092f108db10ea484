"""Result folders: an older result or a newer one, never a mixture."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from radiossl.io.checksums import MANIFEST, manifest_files, write_manifest
from radiossl.io.files import INCOMPLETE, PathLike, check_folder, other_file, put_in_place, settle, staged_folder, sync

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def result_kind(module: str) -> str:
    """Return what the result folders of a room are called, such as ``result of maps`` for ``radiossl.maps.report``."""
    return f"result of {module.split('.')[1]}"


def check_result_folder(out: PathLike | None, module: str) -> None:
    """Raise what `writes_result_folder` would raise for a function of a module; None is no folder."""
    if out is not None:
        check_folder(out, result_kind(module))


@contextmanager
def result_folder(out: PathLike, kind: str = "") -> Iterator[Path]:
    """Yield a folder to write a result into; it takes its place at `out` when the body ends without an error.

    An earlier result at `out` is replaced; all other files there stay. Where `out` holds nothing else, the two folders
    change places in one step. Otherwise files are moved one by one, and meanwhile a file `.incomplete` lets all readers
    refuse the folder; the same command again completes it.

    Raises `RadiosslError` if nothing can be written there, there is no room, or the folder is of another `kind`.
    """
    out = Path(out)
    if out.is_symlink() or out.name in ("", ".."):  # the latter in "." and ".."
        out = Path(os.path.realpath(out))
    check_folder(out, kind)
    with staged_folder(out) as folder:
        yield folder
        write_manifest(folder, kind)
        if _holds_nothing_else(out):
            put_in_place(folder, out)
        else:
            _move_in(folder, out)


def _holds_nothing_else(out: Path) -> bool:
    """Whether there is nothing at `out` but an earlier result, which may be exchanged as a whole."""
    if not out.exists():
        return True
    if not out.is_dir() or out.is_mount() or Path.cwd().is_relative_to(out.absolute()):
        return False
    return other_file(out, manifest_files(out).keys()) is None


def _move_in(folder: Path, out: Path) -> None:
    """Move all files into a folder that holds others too, the manifest last, under the mark of incompleteness."""
    settle(folder)
    files = [file for file in folder.rglob("*") if file.is_file()]
    names = {file.relative_to(folder).as_posix() for file in files}
    mark = out / INCOMPLETE  # with the names of what is moved, which the manifest says only at the end
    earlier = {*manifest_files(out), *(mark.read_text(encoding="utf-8").splitlines() if mark.exists() else ())}
    with mark.open("a", encoding="utf-8") as listing:
        listing.write("\n".join(["", *sorted(names), ""]))
    sync(mark)
    sync(out)
    for name in earlier - names - {""}:
        if (out / name).resolve().is_relative_to(out.resolve()):
            (out / name).unlink(missing_ok=True)
    for file in sorted(files, key=lambda file: file.name == MANIFEST):
        place = out / file.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)
    mark.unlink()
    sync(out)


def writes_result_folder(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let a function whose parameter `out` is a folder write into it all or nothing; see `result_folder`.

    A path that the function returns is changed to its final place. The result is of the kind of the function's room.
    """
    signature = inspect.signature(function)
    kind = result_kind(function.__module__)

    @functools.wraps(function)
    def wrapped(*arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        bound = signature.bind(*arguments, **options)
        out = Path(bound.arguments["out"])
        with result_folder(out, kind) as folder:
            bound.arguments["out"] = folder
            result = function(*bound.args, **bound.kwargs)
        if isinstance(result, Path) and result.is_relative_to(folder):
            return out / result.relative_to(folder)
        return result

    return wrapped
