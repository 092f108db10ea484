"""The file of a survey: where its data are, and what the user wants otherwise than proposed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from radiossl.io.files import PathLike
from radiossl.io.settings import apply_settings, read_yaml

#: In place of a backbone's name: train one on the survey.
PRETRAIN = "pretrain"


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_several)]


class Survey(BaseModel):
    """What `radiossl run` does; what is null is proposed from the data.

    Attributes
    ----------
    mosaics, catalogue
        FITS files, folders or patterns, and the table of sources; null finds the sources in the mosaics. As all paths,
        relative to the folder of the file.
    columns
        Arguments of `radiossl.read_catalogue`, such as ``ra``, ``dec``, ``extent`` and ``id``, for unusual catalogues.
    out
        Folder of all results.
    backbone
        Name or folder of a backbone, or ``pretrain``.
    minutes, recipe
        Of pretraining: how long it may take, and the recipe.
    box_factor, size
        Side of a box in units of the source's extent, or in pixels.
    max_blank
        Boxes with a larger blank fraction are not cut.
    field
        Side in pixels of the central part of each cutout that the backbone sees; null for all of it.
    image_size, batch_size, epochs, warmup_epochs
        Of pretraining.
    colour
        Columns to colour the map by.
    queries, neighbours
        Cutouts whose neighbours are shown, the five most anomalous if there are none, and how many.
    device, seed
        Where to compute, and the random seed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mosaics: Texts = Field(min_length=1)
    catalogue: str | None = None
    columns: dict[str, str] = {}
    out: str = "results"
    backbone: str = "simclr-first-zoom"
    minutes: float = Field(default=30, gt=0)
    recipe: str = "radiossl"
    box_factor: float | None = Field(default=None, gt=0)
    size: int | None = Field(default=None, ge=8)
    max_blank: float = Field(default=0.4, ge=0, lt=1)
    field: int | None = Field(default=None, ge=8)
    image_size: int | None = Field(default=None, ge=16)
    batch_size: int | None = Field(default=None, ge=2)
    epochs: int | None = Field(default=None, ge=1)
    warmup_epochs: float | None = Field(default=None, ge=0)
    colour: Texts = ()
    queries: Texts = ()
    neighbours: int = Field(default=10, ge=1)
    device: str = "auto"
    seed: int = Field(default=0, ge=0, lt=2**32)

    @property
    def pretrains(self) -> bool:
        """Whether a backbone is to be trained."""
        return self.backbone == PRETRAIN


def read_survey(path: PathLike, changes: Sequence[str] = ()) -> Survey:
    """Read the YAML file of a survey, changed by ``KEY=VALUE``; all paths are relative to it, and made absolute."""
    survey = apply_settings(Survey, read_yaml(path) or {}, changes, source=str(path))
    folder = Path(path).absolute().parent
    backbone = folder / survey.backbone
    return survey.model_copy(
        update={
            "mosaics": tuple(str(folder / one) for one in survey.mosaics),
            "catalogue": None if survey.catalogue is None else str(folder / survey.catalogue),
            "out": str(folder / survey.out),
            "backbone": str(backbone) if backbone.is_dir() and not survey.pretrains else survey.backbone,
        }
    )
