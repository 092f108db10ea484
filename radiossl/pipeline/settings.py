"""The file of a survey: where its data are, and what the user wants otherwise than proposed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from radiossl.io.settings import apply_settings, read_yaml

#: In place of a backbone's name: train one on the survey.
PRETRAIN = "pretrain"


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_several)]


class Survey(BaseModel):
    """What `radiossl run` does; what is null is proposed from the data. Paths are relative to the file's folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mosaics: Texts = Field(min_length=1)  # FITS files, folders or patterns
    catalogue: str | None = None  # table of sources; null finds the sources in the mosaics
    columns: dict[
        str, str
    ] = {}  # arguments of `radiossl.read_catalogue`, such as ra and extent, for unusual catalogues
    out: str = "results"  # folder of all results
    backbone: str = "simclr-first-zoom"  # name or folder, or ``pretrain``
    minutes: float = Field(default=30, gt=0)  # that pretraining may take
    recipe: str = "radiossl"  # of pretraining
    box_factor: float | None = Field(default=None, gt=0)  # side of a box in units of the source's extent
    size: int | None = Field(default=None, ge=8)  # or in pixels
    max_blank: float = Field(default=0.4, ge=0, lt=1)  # boxes with a larger blank fraction are not cut
    field: int | None = Field(default=None, ge=8)  # side in pixels of the central part that the backbone sees
    image_size: int | None = Field(default=None, ge=16)  # of pretraining, as the next three
    batch_size: int | None = Field(default=None, ge=2)
    epochs: int | None = Field(default=None, ge=1)
    warmup_epochs: float | None = Field(default=None, ge=0)
    colour: Texts = ()  # columns to colour the map by
    queries: Texts = ()  # cutouts whose neighbours are shown; by default the five most anomalous
    neighbours: int = Field(default=10, ge=1)  # how many
    device: str = "auto"
    seed: int = Field(default=0, ge=0, lt=2**32)

    @property
    def pretrains(self) -> bool:
        """Whether a backbone is to be trained."""
        return self.backbone == PRETRAIN


def read_survey(path: str | os.PathLike[str], changes: Sequence[str] = ()) -> Survey:
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
