"""Where the pixels of a feature table's cutouts are, as several commands take it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from radiossl.store.store import CutoutStore

#: Of images that are explored without --weights.
_WEIGHTS = "simclr-first-zoom"
Store = Annotated[
    list[Path] | None, typer.Option(help="Where the pixels are, if the store has moved; or the images' folder.")
]


def feature_pixels(features: Path, given: list[Path] | None) -> CutoutStore | None:
    """Open the images that are given, else those that a feature table was made of; None if these are gone."""
    from radiossl.datasets.image_sources import open_images
    from radiossl.features.feature_file import FeatureFile
    from radiossl.features.sources import feature_images

    table = FeatureFile(features)
    images = feature_images(table.metadata, table.columns(["cutout_id", "file"]), given)
    return None if images is None else open_images(images)


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
