"""The plan of a survey: its file, a first look at some of its sources, and settings proposed from it, with reasons."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike
from radiossl.io.settings import apply_settings, read_yaml
from radiossl.store.store import CutoutStore
from radiossl.survey.catalogue.reading import Catalogue, read_catalogue
from radiossl.survey.cutting import Mosaics
from radiossl.survey.finding import find_mosaics
from radiossl.survey.mosaic import Mosaic
from radiossl.survey.placement import locate_sources
from radiossl.survey.sources import cut_sources

#: In place of a backbone's name: train one on the survey.
PRETRAIN = "pretrain"


#: One text, or several.
Texts = Annotated[tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


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


#: Sources that are looked at.
_LOOKED_AT = 48
#: Side of a box in units of the extent of its source, as in Riggi et al. 2024.
BOX_FACTOR = 1.5
#: Seconds over which a training step, and the features of those sources, are timed.
_TIMED_S = 3.0


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of a survey before it is cut."""

    store: CutoutStore  # of the sources that were looked at
    sources: int  # on the mosaics; estimated from the first one without a catalogue
    has_extents: bool  # the catalogue knows the sizes of its sources, or they come with their detection
    beam_px: float  # minor axis of the smallest beam, infinite if none is known
    sides_px: NDArray[np.int64]  # longer sides of boxes of some sources
    blank: NDArray[np.float64]  # their blank fractions
    cut_s: float  # seconds for a source, as embed_s
    embed_s: float
    busy: float = 1.0  # times as long as on an idle machine


def look_at(survey: Survey, scratch: Path) -> Facts:
    """Cut some sources of a survey into a store in `scratch` and measure what its settings are proposed from."""
    from radiossl.weights.backbone import load_backbone

    mosaics, beams_px = Mosaics.find(survey.mosaics), []

    def note_beam(index: int, mosaic: Mosaic) -> None:
        beams_px.append(mosaic.beam.minor_arcsec / mosaic.pixel_scale_arcsec if mosaic.beam else float("nan"))

    catalogue, some, sources = None, None, 0
    if survey.catalogue is None:
        note_beam(0, mosaics.open(0))
    else:
        catalogue = read_catalogue(survey.catalogue, **survey.columns)
        placed = np.flatnonzero(np.isfinite(catalogue.ra_deg) & np.isfinite(catalogue.dec_deg))
        inside = np.unique(locate_sources(catalogue, placed, mosaics, note_beam).source)
        some, sources = _some(catalogue, inside), len(inside)
    start = time.perf_counter()
    store = cut(survey, some, scratch / "store", max_blank=0.99, all_mosaics=some is not None)
    seconds = time.perf_counter() - start
    for name in survey.colour:
        if name not in store.columns:
            raise RadiosslError(f"colour: no column {name!r} in the cutouts; there are {', '.join(store.columns)}")
    sources = sources or len(store) * len(mosaics)
    name = "simclr-first-zoom" if survey.pretrains else survey.backbone
    backbone = load_backbone(name, survey.device)
    start, used = time.perf_counter(), time.process_time()
    embed_s = _seconds(lambda: backbone.features(store)) / len(store)
    busy = (
        max(1.0, (time.perf_counter() - start) / (time.process_time() - used)) if backbone.device.type == "cpu" else 1.0
    )
    heights, widths, blank = (np.asarray(store.column(name)) for name in ("height", "width", "blank_fraction"))
    has_extents = catalogue is None or catalogue.extent_arcsec is not None
    beam_px = float(np.nanmin([*beams_px, np.inf]))
    sides_px = np.maximum(heights, widths)
    return Facts(store, sources, has_extents, beam_px, sides_px, blank, seconds / len(sides_px), embed_s, busy)


def cut(
    survey: Survey, catalogue: Catalogue | None, out: Path, *, max_blank: float, all_mosaics: bool = True, wide: int = 1
) -> CutoutStore:
    """Cut a survey as its settings say, or boxes `wide` times as wide; without extents they are measured."""
    measure = catalogue is not None and catalogue.extent_arcsec is None and survey.size is None
    mosaics = survey.mosaics if all_mosaics else find_mosaics(survey.mosaics)[:1]
    factor = wide * (survey.box_factor or BOX_FACTOR)
    size = None if survey.size is None else wide * survey.size
    return cut_sources(mosaics, catalogue, out, size, factor, max_blank=max_blank, measure=measure).store


def step_seconds(survey: Survey, store: CutoutStore, image_size: int, batch_size: int) -> float:
    """Measure how long a training step takes, by steps of a training on the sources that were looked at."""
    from radiossl.pretraining.recipe import read_recipe
    from radiossl.pretraining.trainer import Trainer

    changes = {"preprocessing.size": image_size, "batch_size": min(batch_size, len(store)), "seed": survey.seed}
    recipe = read_recipe(survey.recipe, [f"{key}={value}" for key, value in changes.items()])[-1]
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stderr(io.StringIO()):
        trainer = Trainer(recipe, store.paths, Path(scratch) / "run", device=survey.device)
        parts = trainer.parts()
        return _seconds(lambda: trainer.train_step(parts)) * batch_size / trainer.batch_size


def _some(catalogue: Catalogue, inside: NDArray[np.int64]) -> Catalogue:
    rows = inside[np.unique(np.linspace(0, len(inside) - 1, _LOOKED_AT).astype(int))]
    extents = None if catalogue.extent_arcsec is None else catalogue.extent_arcsec[rows]
    place = {"ra_deg": catalogue.ra_deg[rows], "dec_deg": catalogue.dec_deg[rows], "extent_arcsec": extents}
    return dataclasses.replace(catalogue, ids=catalogue.ids[rows], columns=catalogue.columns.take(rows), **place)


def _seconds(work: Callable[[], object]) -> float:
    """How long something takes after its first time, the mean over some seconds: other programs come and go."""
    work()
    start, times = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < _TIMED_S or not times:
        work()
        times += 1
    return spent / times


#: A beam of fewer pixels than this is undersampled.
_NYQUIST_PX = 2.0
#: Part of a training that is warm-up, as in the recipe.
_WARMUP = 0.04
#: Fewer sources than this do not train a backbone.
_FEW = 500
#: UMAP: seconds to begin with and for each source; measured on one core.
_MAP_S, _MAP_SOURCE_S = 15.0, 0.004


@dataclass(frozen=True)
class Plan:
    """What will be done."""

    survey: Survey  # all settings, those that were proposed too
    reasons: dict[str, str] = field(default_factory=dict)  # why each proposed setting is as it is
    warnings: list[str] = field(default_factory=list)  # what speaks against a good result, one sentence each
    #: how long each step will take, in the order in which they are done
    seconds: dict[str, float] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The plan in words."""
        settings = self.survey.model_dump()
        lines = [f"{key}: {settings[key]} ({reason})" for key, reason in self.reasons.items()]
        lines += [f"warning: {warning}" for warning in self.warnings]
        times = ", ".join(f"{step} {readable(seconds)}" for step, seconds in self.seconds.items())
        return [*lines, f"about {readable(sum(self.seconds.values()))} if the machine stays as busy as it is: {times}"]


def propose(survey: Survey, facts: Facts) -> Plan:
    """Complete the settings of a survey from what is known of it; values that are not None stay."""
    reasons: dict[str, str] = {}
    values: dict[str, Any] = {}

    def set_to(key: str, value: Any, reason: str) -> Any:
        given = getattr(survey, key)
        if given is not None:
            return given
        values[key], reasons[key] = value, reason
        return value

    side = int(np.median(facts.sides_px))
    if survey.size is None:
        measured = "extents measured on the mosaics, the catalogue has none"
        sizes = "the catalogue's extents" if facts.has_extents else measured
        set_to("box_factor", BOX_FACTOR, f"boxes of {side} pixels in the median, from {sizes}")
    seconds = {"store": facts.sources * facts.cut_s}
    if survey.pretrains:
        seconds["wide"] = seconds["store"]
        report = 2 * min(facts.sources, 400) * facts.embed_s  # neighbours before and after
        seconds["pretraining"] = _propose_training(survey, facts, side, set_to) + report
    seconds |= {
        "features": facts.sources * facts.embed_s,
        "map": facts.busy * (_MAP_S + facts.sources * _MAP_SOURCE_S),
        "anomalies, neighbours and page": facts.busy * (10 + 0.001 * facts.sources),
    }
    complete = survey.model_copy(update=values)
    return Plan(complete, reasons, _warnings(complete, facts), seconds)


def _propose_training(survey: Survey, facts: Facts, side: int, set_to: Any) -> float:
    """Propose the settings of pretraining; return how many seconds it takes."""
    fitting = next((size for size in (32, 64, 128) if side <= 1.5 * size), 224)
    image_size = set_to("image_size", fitting, f"the nearest of 32, 64, 128 and 224 to boxes of {side} pixels")
    power = int(2 ** np.clip(np.floor(np.log2(max(facts.sources, 1) / 8)), 4, 10))
    batch = set_to("batch_size", power, f"at least eight steps in a pass over {facts.sources:,} sources, at most 1,024")
    steps = max(1, facts.sources // batch)
    step_s = step_seconds(survey, facts.store, image_size, batch)
    fits = max(1, int(60 * survey.minutes / (step_s * steps)))
    epochs = set_to("epochs", fits, f"{survey.minutes:g} minutes, {steps} steps of {step_s:.2g} s each")
    set_to("warmup_epochs", round(_WARMUP * epochs, 2), f"{_WARMUP:.0%} of the epochs, as in the recipe")
    return float(epochs * steps * step_s)


def _warnings(survey: Survey, facts: Facts) -> list[str]:
    """What speaks against a good result."""
    found = []
    blank = float(np.mean(facts.blank > survey.max_blank))
    if facts.beam_px < _NYQUIST_PX:
        found.append(f"the beam is {facts.beam_px:.1f} pixels wide, undersampled: details are lost (2 are needed)")
    if blank >= 0.5:
        found.append(f"{blank:.0%} of the boxes looked at are too blank to be cut: do mosaics and catalogue fit?")
    if survey.pretrains and facts.sources < _FEW:
        found.append(f"{facts.sources} sources are few to train on: a released backbone is probably better")
    if survey.pretrains and (survey.warmup_epochs or 0) >= (survey.epochs or 1):
        found.append(
            f"the warm-up of {survey.warmup_epochs:g} epochs is as long as the whole training of {survey.epochs}: the"
            " learning rate never falls"
        )
    return found


def readable(seconds: float) -> str:
    """Return a duration as a person says it.

    >>> readable(42), readable(600), readable(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
