"""Where the pixels of a feature table's cutouts are, as several commands take it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from radiossl.store.store import CutoutStore

Store = Annotated[list[Path] | None, typer.Option(help="Where the pixels are, if the store has moved.")]


def pixel_store(metadata: Mapping[str, Any], given: list[Path] | None) -> CutoutStore | None:
    """Open the stores that are given, else those that the features were made from; None if these are gone."""
    from radiossl.store.store import open_store

    folders = given or [Path(path) for path in metadata.get("stores", []) if Path(path).is_dir()]
    return open_store(*folders) if folders else None


def feature_pixels(features: Path, given: list[Path] | None) -> CutoutStore | None:
    """Open the stores of a feature table; see `pixel_store`."""
    from radiossl.features.feature_file import FeatureFile

    return pixel_store(FeatureFile(features).metadata, given)
