"""Released backbones by name: inside the package, in the cache, or fetched from a mirror and checked.

A registry (`released.json`) has for each name the version, licence, mirrors, and the size and SHA-256 of every file.
What was fetched once stays in the cache: `RADIOSSL_CACHE`, by default ``~/.cache/radiossl``. With `RADIOSSL_OFFLINE`
set nothing is fetched. `RADIOSSL_MIRROR` names a mirror to try first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from radiossl.datasets.download import Download
from radiossl.datasets.fetch import fetch_files
from radiossl.io.cache import cache_folder, optional_cache, temporary_folder
from radiossl.io.errors import RadiosslError, UnwritableError
from radiossl.io.files import PathLike, existing_file
from radiossl.io.settings import first_problem
from radiossl.weights.folder import CONFIG_FILE
from radiossl.weights.tensors import WEIGHTS_FILE

_PACKAGE = resources.files("radiossl.weights")
_EXPECTED = f"a folder with {WEIGHTS_FILE} and {CONFIG_FILE} was expected"


class ReleasedFile(BaseModel, extra="forbid", frozen=True):
    """A file: SHA-256, and size in bytes."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Released(BaseModel, extra="forbid", frozen=True):
    """A backbone that others can have by its name: what it is, its terms of use, and its files by their names.

    Each version of the weights has its own folder in the cache. Mirrors are addresses of folders that hold the
    files, tried in this order.
    """

    version: str = Field(pattern=r"^[0-9A-Za-z.]+$")
    about: str = ""
    licence: str = ""
    mirrors: tuple[str, ...] = ()
    files: dict[str, ReleasedFile]

    @property
    def megabytes(self) -> float:
        """Size of all files."""
        return sum(file.size for file in self.files.values()) / 1e6


def read_registry(path: PathLike | None = None) -> dict[str, Released]:
    """Read a registry of released backbones, by default that of the package.

    Examples
    --------
    >>> all(one.files for one in read_registry().values())
    True
    """
    file = existing_file(str(_PACKAGE / "released.json") if path is None else path)
    try:
        return TypeAdapter(dict[str, Released]).validate_json(file.read_bytes())
    except ValidationError as error:
        raise RadiosslError(f"{file}: {first_problem(error)}") from None


def bundled_backbones() -> dict[str, Path]:
    """Folders of the backbones that are inside the package, by name."""
    folder = Path(str(_PACKAGE / "bundled"))
    return {file.parent.name: file.parent for file in sorted(folder.glob(f"*/{WEIGHTS_FILE}"))}


def cached_folder(name: str, release: Released) -> Path:
    """Where this version of a backbone is in the cache, if it has been fetched."""
    return cache_folder("weights") / f"{name}-{release.version}"


def fetch_backbone(name: str, *, mirror: str | None = None, registry: Mapping[str, Released] | None = None) -> Path:
    """Return the folder of a released backbone, fetched into the cache if it is not there yet.

    A mirror, the address of a folder with the files, is tried before those of the registry, by default the package's.
    Raises `RadiosslError` if there is none of this name, it cannot be fetched, or what came is not what the registry
    describes.
    """
    bundled, known = bundled_backbones(), read_registry() if registry is None else registry
    if name in bundled:
        return bundled[name]
    if name not in known:
        names = ", ".join(sorted({*known, *bundled}))
        raise RadiosslError(f"{name}: neither a backbone folder nor a released backbone; there are {names}")
    release = known[name]
    folder = cached_folder(name, release)
    if folder.is_dir():
        return folder
    mirrors = [one for one in (mirror, os.environ.get("RADIOSSL_MIRROR"), *release.mirrors) if one]
    if os.environ.get("RADIOSSL_OFFLINE"):
        raise RadiosslError(f"{name}: not in the cache {folder.parent}, and RADIOSSL_OFFLINE forbids fetching it")
    if not mirrors:
        raise RadiosslError(f"{name}: has no address to fetch it from; give --mirror, or the folder of the backbone")
    with optional_cache(folder.parent):
        return _fetched(name, release, mirrors, folder)
    return _fetched(name, release, mirrors, temporary_folder() / folder.name)


def _fetched(name: str, release: Released, mirrors: Sequence[str], folder: Path) -> Path:
    problems = []
    for base in mirrors:
        files = [(f"{base.rstrip('/')}/{file}", dict(one)) for file, one in release.files.items()]
        try:
            return fetch_files([Download(url, extract=False, **one) for url, one in files], folder, retries=2)
        except UnwritableError:
            raise
        except RadiosslError as error:
            problems.append(str(error))
    raise RadiosslError(f"{name}: {'; '.join(problems)}")


def find_backbone(source: PathLike) -> Path:
    """Return the folder of a backbone, given that or the name of a released one; raise saying what may be meant."""
    path = Path(source)
    if (path / WEIGHTS_FILE).is_file() or (path / CONFIG_FILE).is_file():
        return path
    if path.is_dir():
        inner = [path / part for part in ("backbone", "stage1/backbone") if (path / part / WEIGHTS_FILE).is_file()]
        hint = f"did you mean {inner[0]}?" if inner else _EXPECTED
        raise RadiosslError(f"{path}: no backbone; {hint}")
    if path.exists() or str(source) != path.name:
        raise RadiosslError(f"{path}: no such backbone; {_EXPECTED}")
    return fetch_backbone(path.name)
