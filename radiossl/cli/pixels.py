"""Where the pixels of a feature table's cutouts are, as several commands take it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from radiossl.store.store import CutoutStore

#: Of images that are explored without --weights.
_WEIGHTS = "simclr-first-zoom"
Store = Annotated[
    list[Path] | None, typer.Option(help="Where the pixels are, if the store has moved; or the images' folder.")
]


def pixel_store(metadata: Mapping[str, Any], given: list[Path] | None) -> CutoutStore | None:
    """Open the images that are given, else the stores that the features were made from; None if these are gone."""
    from radiossl.datasets.image_sources import open_images

    folders = given or [Path(path) for path in metadata.get("stores", []) if Path(path).is_dir()]
    return open_images(folders) if folders else None


def feature_pixels(features: Path, given: list[Path] | None) -> CutoutStore | None:
    """Open the images of a feature table: stores as `pixel_store` does, or the files that it names."""
    from radiossl.datasets.image_files import ImageFiles
    from radiossl.datasets.image_sources import open_images
    from radiossl.features.feature_file import FeatureFile

    table = FeatureFile(features)
    store = pixel_store(table.metadata, given)
    if store is None and "file" in table.schema.names:
        files = ImageFiles.from_features(table.columns(["cutout_id", "file"]))
        store = None if files is None else open_images(files)
    return store


def is_table(features: Path) -> bool:
    """Return whether a path is a feature table rather than images."""
    return features.suffix in (".parquet", ".pq") or (features.is_dir() and any(features.glob("part-*.parquet")))


def table_of(images: Path, weights: Path | None) -> Path:
    """Return a feature table as it is; of images the table that is made of them in the working folder."""
    from radiossl.features.parts import write_features
    from radiossl.weights.backbone import load_backbone

    if is_table(images):
        return images
    backbone = load_backbone(weights or _WEIGHTS)
    done = write_features(backbone, images, "explored.parquet")
    typer.echo(f"explored.parquet: {len(done.table)} images embedded with {Path(backbone.name).name}")
    return Path("explored.parquet")
