"""The tasks of a benchmark, read from a YAML file that names labelled cutout stores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from radiossl.io.settings import apply_settings, read_yaml


class Change(BaseModel):
    """What is done to the image of a source; the backbone should still find the original by it.

    Attributes
    ----------
    zoom
        Side of the box in units of the original's.
    shift
        Distance by which the box is moved, in units of its original side, in a random direction.
    rotation_deg
        Angle by which the image is turned.
    blur_px
        Standard deviation of a Gaussian blur, in the store's pixels.
    beam_factor
        Beam in units of the original one; the image is smoothed to it.
    beam_arcsec
        The same as a full width at half maximum; ignored where the image has a larger beam already.
    pixel_arcsec
        Pixel size after resampling; null for the store's own.
    noise
        Noise added to the (smoothed) image, in units of the original rms, correlated like the beam.
    centred
        Whether to subtract the mean features of the changed images and of the originals: needed to compare two surveys,
        where all images of one differ from all of the other in the same way.
    first
        A source counts as found if its original is among this many nearest originals.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    zoom: float = Field(default=1.0, gt=0, le=4)
    shift: float = Field(default=0.0, ge=0, le=1)
    rotation_deg: float = 0.0
    blur_px: float = Field(default=0.0, ge=0)
    beam_factor: float = Field(default=1.0, ge=1)
    beam_arcsec: float | None = Field(default=None, gt=0)
    pixel_arcsec: float | None = Field(default=None, gt=0)
    noise: float = Field(default=0.0, ge=0)
    centred: bool = False
    first: int = Field(default=1, ge=1)


class _Task(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassifyTask(_Task):
    """Tell classes apart: by neighbours and by logistic regression, on few labels and on all.

    Attributes
    ----------
    train, test
        Labelled stores; without `test`, folds of `train` that keep sources close on the sky together.
    label, grouping
        Column of the classes, and what makes classes of its values (see `radiossl.datasets.grouping`).
    field_px
        Central pixels to use; null for whole cutouts.
    few
        Numbers of labels to learn from, beside all of them.
    retrieval
        Whether to measure how many of the ten nearest neighbours are of the same class, for each class.
    """

    kind: Literal["classify"]
    train: str
    test: str | None = None
    label: str
    grouping: str | None = None
    field_px: int | None = None
    few: tuple[int, ...] = ()
    retrieval: bool = False


class FindTask(_Task):
    """Find the original of a source among those of all others by a changed image of it.

    Attributes
    ----------
    store
        Cutouts much wider than the sources, so that larger and shifted boxes can be cut from them.
    extent
        Column of the largest angular size in arcsec.
    box_factor, min_px
        Side of the original box in units of the extent, and at least this many pixels; of changed images too.
    beam_arcsec
        Beam of the images, if the store does not know it.
    sources
        How many sources to draw; their originals are looked for among those of all sources of the store.
    changes
        By name.
    """

    kind: Literal["find"]
    store: str
    extent: str = "las_arcsec"
    box_factor: float = Field(default=1.5, gt=0)
    min_px: int = Field(default=16, ge=8)
    beam_arcsec: float | None = Field(default=None, gt=0)
    sources: int = Field(default=240, ge=10)
    changes: dict[str, Change]


class RateTask(_Task):
    """Rank sources by interest after few ratings of a person.

    Attributes
    ----------
    store, label
        Rated cutouts and the column of ratings, 1 (dull) to 5.
    interesting
        Least rating of what should be found.
    few
        Numbers of ratings to learn from.
    columns
        Learn from these columns beside the features too, as a measure of its own.
    field_px
        As for `ClassifyTask`.
    """

    kind: Literal["rate"]
    store: str
    label: str
    interesting: int = 4
    few: tuple[int, ...] = (50, 100)
    columns: tuple[str, ...] = ()
    field_px: int | None = None


Task = ClassifyTask | FindTask | RateTask


class TaskFile(BaseModel):
    """A benchmark: tasks by name.

    Attributes
    ----------
    title
        What it is.
    tasks
        In the order of the table.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    tasks: Mapping[str, Annotated[Task, Field(discriminator="kind")]] = Field(min_length=1)


def read_tasks(path: str | os.PathLike[str]) -> TaskFile:
    """Read a task file.

    Parameters
    ----------
    path
        YAML file; the stores that it names are relative to its folder.

    Raises
    ------
    RadiosslError
        If it cannot be read, or a key is unknown or has a bad value.
    """
    return apply_settings(TaskFile, read_yaml(path), source=str(path))
