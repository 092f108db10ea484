"""The tasks of a benchmark, read from a YAML file that names labelled cutout stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from radiossl.io.files import PathLike
from radiossl.io.schema import Settings
from radiossl.io.settings import apply_settings, read_yaml


class Change(Settings):
    """What is done to the image of a source; the backbone should still find the original by it."""

    #: Side of the box in units of the original's.
    zoom: float = Field(default=1.0, gt=0, le=4)
    #: Distance by which the box is moved, in units of its original side, in a random direction.
    shift: float = Field(default=0.0, ge=0, le=1)
    rotation_deg: float = 0.0
    #: Standard deviation of a Gaussian blur, in the store's pixels.
    blur_px: float = Field(default=0.0, ge=0)
    #: Beam in units of the original one; the image is smoothed to it.
    beam_factor: float = Field(default=1.0, ge=1)
    #: The same as a full width at half maximum; ignored where the image has a larger beam already.
    beam_arcsec: float | None = Field(default=None, gt=0)
    #: Pixel size after resampling; null for the store's own.
    pixel_arcsec: float | None = Field(default=None, gt=0)
    #: Noise added to the (smoothed) image, in units of the original rms, correlated like the beam.
    noise: float = Field(default=0.0, ge=0)
    #: Whether to subtract the mean features of the changed images and of the originals: needed to compare two surveys,
    #: where all images of one differ from all of the other in the same way.
    centred: bool = False
    #: A source counts as found if its original is among this many nearest originals.
    first: int = Field(default=1, ge=1)


class _Task(Settings):
    @property
    def stores(self) -> list[str]:
        """The stores that the task needs, the tested one last."""
        return [name for key in ("store", "train", "test") if (name := getattr(self, key, None))]

    @property
    def needed(self) -> list[str]:
        """The columns that these stores must have."""
        named = [name for key in ("label", "extent") if (name := getattr(self, key, None))]
        return [*named, *getattr(self, "columns", ())]


class ClassifyTask(_Task):
    """Tell classes apart: by neighbours and by logistic regression, on few labels and on all."""

    kind: Literal["classify"]
    train: str
    #: Null for folds of `train` that keep sources close on the sky together.
    test: str | None = None
    label: str
    #: What makes classes of the labels (see `radiossl.datasets.grouping`).
    grouping: str | None = None
    #: Central pixels to use; null for whole cutouts.
    field_px: int | None = None
    #: Numbers of labels to learn from, beside all of them.
    few: tuple[int, ...] = ()
    #: Whether to measure how many of the ten nearest neighbours are of the same class, for each class.
    retrieval: bool = False


class FindTask(_Task):
    """Find the original of a source among those of all others by a changed image of it.

    The cutouts of the store are much wider than the sources, so that larger and shifted boxes can be cut from them.
    """

    kind: Literal["find"]
    store: str
    #: Column of the largest angular size in arcsec.
    extent: str = "las_arcsec"
    #: Side of the original box in units of the extent.
    box_factor: float = Field(default=1.5, gt=0)
    #: Least side of a box, of changed images too.
    min_px: int = Field(default=16, ge=8)
    #: Beam of the images, if the store does not know it.
    beam_arcsec: float | None = Field(default=None, gt=0)
    #: How many sources to draw; their originals are looked for among those of all sources of the store.
    sources: int = Field(default=240, ge=10)
    changes: dict[str, Change]


class RateTask(_Task):
    """Rank sources by interest after few ratings of a person, from 1 (dull) to 5 in the column `label`."""

    kind: Literal["rate"]
    store: str
    label: str
    #: Least rating of what should be found.
    interesting: int = 4
    #: Numbers of ratings to learn from.
    few: tuple[int, ...] = (50, 100)
    #: Learn from these columns beside the features too, as a measure of its own.
    columns: tuple[str, ...] = ()
    field_px: int | None = None


Task = ClassifyTask | FindTask | RateTask


class TaskFile(Settings):
    """A benchmark: its title, and tasks by name in the order of the table."""

    title: str
    tasks: Mapping[str, Annotated[Task, Field(discriminator="kind")]] = Field(min_length=1)


def read_tasks(path: PathLike) -> TaskFile:
    """Read a task file, which names stores relative to its folder; raise `RadiosslError` on a wrong key or value."""
    return apply_settings(TaskFile, read_yaml(path), source=str(path))
