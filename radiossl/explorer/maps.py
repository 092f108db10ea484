"""The maps of a session: principal components at once, a UMAP from its folder or made beside the page."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radiossl.features.feature_file import FeatureFile
from radiossl.io.errors import RadiosslError
from radiossl.io.parquet import read_parquet
from radiossl.maps.layout import NothingToMapError, make_map
from radiossl.maps.report import existing_coordinates

PCA, MADE, SKY = "principal components", "UMAP", "sky"


class Maps:
    """Coordinates of all sources, by the name of the map; refused if a map is of other sources.

    `folder` is that of `radiossl map`. If it is there, it is the first map and no other is made; if not, it is where
    `start_umap` writes. `positions` are right ascension and declination in degrees, if all
    are known, and `second` is the feature table of another backbone, or its map, to be shown beside the first.
    """

    def __init__(
        self,
        file: FeatureFile,
        folder: Path,
        ids: pa.ChunkedArray,
        seed: int,
        positions: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
        second: Path | None = None,
    ) -> None:
        self._file, self._ids, self._seed = file, ids, seed
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._started = 0.0
        self.trouble = ""
        if (folder / "map.parquet").is_file():
            self.coordinates = {folder.name: self._read(folder)}
        elif folder.exists() and (not folder.is_dir() or any(not one.name.startswith(".") for one in folder.iterdir())):
            raise RadiosslError(
                f"{folder}: holds no map; the folder of one by radiossl map, or a new one, was expected"
            )
        else:
            self.coordinates = {PCA: _components(file)}
        if positions is not None:
            self.coordinates[SKY] = project_sky(*positions)
        #: Name of the map that is shown below the first one, if there is one from the start.
        self.second = ""
        if second is not None:
            self.second = f"{second.stem} (second)"
            self.coordinates[self.second] = self._read_second(second)

    @property
    def can_make_umap(self) -> bool:
        """Whether there is none yet and none is being made."""
        there = PCA not in self.coordinates or MADE in self.coordinates
        return self._process is None and not there

    def start_umap(self) -> None:
        """Start `radiossl map` for a UMAP in a separate process, since it would hold up the page."""
        if not self.can_make_umap:
            return
        command = [sys.executable, "-P", "-m", "radiossl.cli.main", "map", str(self._file.path.absolute())]
        command += ["--out", str(self._folder.absolute()), "--seed", str(self._seed)]
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def poll(self) -> str:
        """Take over a UMAP that is done; return what there is to say of one that is not, else nothing."""
        if self._process is None:
            return self.trouble
        if self._process.poll() is None:
            return f"UMAP is being made ({time.monotonic() - self._started:.0f} s)"
        process, self._process = self._process, None
        _, errors = process.communicate()
        if process.returncode:
            self.trouble = (errors.strip().splitlines() or [f"radiossl map ended with {process.returncode}"])[-1]
            return self.trouble
        try:
            self.coordinates[MADE] = self._read(self._folder)
        except RadiosslError as error:
            self.trouble = str(error)
        return self.trouble

    def close(self) -> None:
        """End what is being made."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _read_second(self, path: Path) -> NDArray[np.float32]:
        """The coordinates of another map, in the order of our sources."""
        if (path / "map.parquet").is_file():
            coordinates = existing_coordinates(path)
            theirs = read_parquet(path / "map.parquet", ["cutout_id"])
        else:
            file = FeatureFile(path)
            coordinates, theirs = _components(file), file.columns(["cutout_id"])
        rows = pc.index_in(self._ids, value_set=theirs.column("cutout_id").cast(pa.string()))
        if rows.null_count:
            raise RadiosslError(
                f"{path}: lacks {rows.null_count:,} of the sources of {self._file.path}; embed them too"
            )
        return coordinates[rows.to_numpy()]

    def _read(self, folder: Path) -> NDArray[np.float32]:
        coordinates = existing_coordinates(folder)
        theirs = read_parquet(folder / "map.parquet", ["cutout_id"]).column("cutout_id").cast(pa.string())
        if not self._ids.equals(theirs):
            raise RadiosslError(f"{folder}: a map of other sources than {self._file.path} has; make it again")
        return coordinates


def _components(file: FeatureFile) -> NDArray[np.float32]:
    """Coordinates along the first principal components, (n, 2); side by side where there are none."""
    try:
        return make_map(file, "pca").coordinates
    except NothingToMapError:
        return np.column_stack([np.arange(len(file)), np.zeros(len(file))]).astype(np.float32)


def project_sky(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return positions in the Hammer-Aitoff projection around their mean right ascension, east to the left, (n, 2)."""
    turn, dec = np.radians(ra_deg), np.radians(dec_deg)
    centre = np.arctan2(np.sin(turn).mean(), np.cos(turn).mean())
    length = (turn - centre + np.pi) % (2 * np.pi) - np.pi
    root = np.sqrt(1 + np.cos(dec) * np.cos(length / 2))
    return np.column_stack([-2 * np.cos(dec) * np.sin(length / 2) / root, np.sin(dec) / root]).astype(np.float32)
