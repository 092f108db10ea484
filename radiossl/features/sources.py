"""The images that a feature table was made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiossl.datasets.image_files import ImageFiles
from radiossl.datasets.image_sources import find_images, open_images
from radiossl.io.expressions import Columns
from radiossl.store.store import CutoutStore

if TYPE_CHECKING:
    from radiossl.datasets.image_sources import Images


def feature_images(
    metadata: Mapping[str, Any], columns: Columns, given: Images | None = None
) -> CutoutStore | ImageFiles | None:
    """Return the images that are given, else those that features were made of; None if these are gone."""
    stores = [path for path in metadata.get("stores", []) if Path(path).is_dir()]
    if given or stores:
        return find_images(given or stores)
    if "file" not in columns.column_names:
        return None
    ids, paths = (columns.column(name).to_pylist() for name in ("cutout_id", "file"))
    if not all(isinstance(path, str) and Path(path).is_file() for path in paths):
        return None
    files = tuple(map(Path, paths))
    return ImageFiles(files, tuple(file.name for file in files), tuple(ids), tuple({} for _ in files))


def feature_cutouts(metadata: Mapping[str, Any], columns: Columns, given: Images | None = None) -> CutoutStore | None:
    """Return the images of `feature_images` as a store."""
    images = feature_images(metadata, columns, given)
    return None if images is None else open_images(images)
