"""The plan of a survey: its file, a first look at some of its sources, and settings proposed from it, with reasons."""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from radiossl.io.errors import check_columns, counted
from radiossl.io.files import PathLike
from radiossl.io.schema import Settings
from radiossl.io.settings import apply_settings, read_yaml
from radiossl.store.store import CutoutStore
from radiossl.survey.catalogue.reading import Catalogue, read_catalogue
from radiossl.survey.cutting import Mosaics
from radiossl.survey.placement import Places, locate_sources
from radiossl.survey.sources import cut_sources

if TYPE_CHECKING:
    from radiossl.weights.backbone import Backbone

#: In place of a backbone's name: train one on the survey.
PRETRAIN = "pretrain"


#: One text, or several.
Texts = Annotated[tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class Survey(Settings):
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

    mosaics: Texts = Field(min_length=1)
    catalogue: str | None = None
    columns: dict[str, str] = Field(default={})
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


#: Sources that are looked at, on at most so many mosaics of so many bytes, and at most so many of them on each.
_LOOKED_AT, _MOST_BYTES, _MOST_ON_ONE = 48, 2**26, 64
#: Side of a box in units of the extent of its source, as in Riggi et al. 2024.
BOX_FACTOR = 1.5
#: Seconds over which short work is timed, what is not short, and over which other programs are seen.
_TIMED_S, _LONG_S, _BUSY_S = 3.0, 10.0, 2.0


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of a survey before it is cut."""

    store: CutoutStore  # of the sources that were looked at
    sources: int  # on the mosaics; estimated from those looked at without a catalogue
    has_extents: bool  # the catalogue knows the sizes of its sources, or they come with their detection
    beam_px: float  # minor axis of the smallest beam, infinite if none is known
    sides_px: NDArray[np.int64]  # longer sides of boxes of some sources
    blank: NDArray[np.float64]  # their blank fractions
    cut_s: float  # seconds to cut them all
    busy: float = 1.0  # times as long as on an idle machine
    slow: float = 1.0  # times as long as where `_FIXED_S` was measured


def look_at(survey: Survey, scratch: Path) -> Facts:
    """Cut some sources of a survey into a store in `scratch` and measure what its settings are proposed from."""
    mosaics, catalogue = Mosaics.find(survey.mosaics), None
    if survey.catalogue is None:
        sizes = np.array([path.stat().st_size for path in mosaics.paths])
        chosen = _evenly(np.arange(len(sizes)), int(np.clip(_MOST_BYTES // sizes.mean(), 1, _LOOKED_AT)))
        for index in chosen:
            mosaics.open(index)
        part = sizes[chosen].sum() / sizes.sum()
    else:
        whole = read_catalogue(survey.catalogue, **survey.columns)
        placed = np.flatnonzero(np.isfinite(whole.ra_deg) & np.isfinite(whole.dec_deg))
        places = locate_sources(whole, placed, mosaics)
        chosen, rows = _some(places)
        catalogue, part = _take(whole, rows), len(rows) / len(np.unique(places.source))
    stores: list[CutoutStore] = []

    def cut_some() -> None:
        out = scratch / f"store{len(stores)}"
        stores.append(cut(survey, [mosaics.paths[index] for index in chosen], catalogue, out, max_blank=0.99))

    seconds, store = _seconds(cut_some), stores[-1]
    check_columns(survey.colour, store.columns, "colour", " in the cutouts")
    heights, widths, blank = (np.asarray(store.column(name)) for name in ("height", "width", "blank_fraction"))
    sources = len(store) / part if catalogue is None else len(catalogue) / part
    has_extents = catalogue is None or catalogue.extent_arcsec is not None
    beam_px = min((beam.minor_arcsec / scale for *_, scale, beam in mosaics.opened.values() if beam), default=np.inf)
    sides_px = np.maximum(heights, widths)
    return Facts(store, round(sources), has_extents, beam_px, sides_px, blank, seconds / part, *_pace())


def cut(
    survey: Survey, mosaics: Sequence[PathLike], catalogue: Catalogue | None, out: Path, max_blank: float, wide: int = 1
) -> CutoutStore:
    """Cut mosaics as the settings of a survey say, or boxes `wide` times as wide; without extents they are measured."""
    measure = catalogue is not None and catalogue.extent_arcsec is None and survey.size is None
    factor = wide * (survey.box_factor or BOX_FACTOR)
    size = None if survey.size is None else wide * survey.size
    return cut_sources(mosaics, catalogue, out, size, factor, max_blank=max_blank, measure=measure).store


def feature_seconds(survey: Survey, store: CutoutStore) -> float:
    """Measure how long the features of a source take, on those that were looked at."""
    backbone = survey_backbone(survey, survey.backbone)
    return _seconds(lambda: backbone.features(store)) / len(store)


def survey_backbone(survey: Survey, path: PathLike) -> Backbone:
    """Load a backbone as the settings say."""
    from radiossl.weights.backbone import load_backbone

    backbone = load_backbone(path, survey.device)
    return backbone if survey.field is None else backbone.adapted(field_px=survey.field)


def training_seconds(survey: Survey, store: CutoutStore, image_size: int, batch_size: int) -> tuple[float, float]:
    """Measure how long a training step takes, and as `feature_seconds` with what is trained.

    The sources that were looked at are trained on, repeated.
    """
    from radiossl.pretraining.recipe import read_recipe
    from radiossl.pretraining.trainer import Trainer
    from radiossl.weights.backbone import Backbone

    changes = {"preprocessing.size": image_size, "batch_size": batch_size, "seed": survey.seed}
    recipe = read_recipe(survey.recipe, [f"{key}={value}" for key, value in changes.items()])[-1]
    stores = [*store.paths] * math.ceil(batch_size / len(store))
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stderr(io.StringIO()):
        trainer = Trainer(recipe, stores, Path(scratch) / "run", device=survey.device)
        parts, backbone = trainer.parts(), Backbone(trainer.network, trainer.config)
        step_s = _seconds(lambda: trainer.train_step(parts))
        return step_s, _seconds(lambda: backbone.features(store)) / len(store)


def _evenly(values: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most this many of some values, from the first to the last."""
    return values[np.unique(np.linspace(0, len(values) - 1, most).astype(int))]


def _some(places: Places) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Some mosaics with sources, and as many of these for a mosaic as there are: reading mosaics takes time, too."""
    with_sources = np.unique(places.mosaic)
    mosaics = _evenly(with_sources, int(np.clip(_LOOKED_AT * len(with_sources) // len(places), 4, _LOOKED_AT)))
    rows = [_evenly(places.source[places.mosaic == mosaic], _MOST_ON_ONE) for mosaic in mosaics]
    return mosaics, np.unique(np.concatenate(rows))


def _take(catalogue: Catalogue, rows: NDArray[np.int64]) -> Catalogue:
    extents = None if catalogue.extent_arcsec is None else catalogue.extent_arcsec[rows]
    ids, ra_deg, dec_deg = catalogue.ids[rows], catalogue.ra_deg[rows], catalogue.dec_deg[rows]
    return Catalogue(catalogue.name, ids, ra_deg, dec_deg, extents, catalogue.columns.take(rows))


def _seconds(work: Callable[[], object]) -> float:
    """How long something takes after its first time, the mean over some seconds: other programs come and go."""
    start = time.perf_counter()
    work()
    if (first := time.perf_counter() - start) > _LONG_S:
        return first
    start, times = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < _TIMED_S or not times:
        work()
        times += 1
    return spent / times


def _pace() -> tuple[float, float]:
    """How many times as long as on an idle machine Python takes, and as where `_FIXED_S` was measured."""
    start, used, passes = time.perf_counter(), time.thread_time(), 0
    while (spent := time.perf_counter() - start) < _BUSY_S:
        passes += sum(number % 2 for number in range(4000)) // 2000
    return spent / (time.thread_time() - used), _PASSES * spent / passes


#: A beam of fewer pixels than this is undersampled.
_NYQUIST_PX = 2.0
#: Other programs are worth a word if computations take so many times as long.
_BUSY = 1.5
#: Part of a training that is warm-up, as in the recipe.
_WARMUP = 0.04
#: Fewer sources than this do not train a backbone.
_FEW = 500
#: Seconds to begin with (UMAP compiles itself) and for each source, of steps that are not tried out beforehand, where
#: `_pace` gets through so many passes in a second.
_FIXED_S = {"map": (17.0, 0.004), "anomalies": (2.0, 0.0005), "neighbours": (2.0, 0.0005)}
_PASSES = 6400.0


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
        return [*lines, f"{in_words(self.seconds)} if the machine stays as busy as it is"]


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
    seconds = {"store": facts.cut_s}
    if survey.pretrains:
        training_s, feature_s = _propose_training(survey, facts, side, set_to)
        report_s = 2 * min(facts.sources, 400) * feature_s  # neighbours before and after
        seconds |= {"wide": facts.cut_s, "pretraining": training_s, "its report": report_s}
    else:
        feature_s = feature_seconds(survey, facts.store)
    seconds["features"] = facts.sources * feature_s
    seconds |= {step: facts.slow * (begin + facts.sources * each) for step, (begin, each) in _FIXED_S.items()}
    complete = survey.model_copy(update=values)
    return Plan(complete, reasons, _warnings(complete, facts), seconds)


def _propose_training(survey: Survey, facts: Facts, side: int, set_to: Any) -> tuple[float, float]:
    """Propose the settings of pretraining; return how many seconds it takes, and then the features of a source."""
    fitting = next((size for size in (32, 64, 128) if side <= 1.5 * size), 224)
    image_size = set_to("image_size", fitting, f"the nearest of 32, 64, 128 and 224 to boxes of {side} pixels")
    power = int(2 ** np.clip(np.floor(np.log2(max(facts.sources, 1) / 8)), 4, 10))
    batch = set_to(
        "batch_size", power, f"at least eight steps in a pass over {counted(facts.sources, 'source')}, at most 1,024"
    )
    steps = max(1, facts.sources // batch)
    step_s, feature_s = training_seconds(survey, facts.store, image_size, batch)
    fits = max(1, int(60 * survey.minutes / (step_s * steps)))
    time_given = f"{counted(survey.minutes, 'minute')}, an epoch of {counted(steps, 'step')} of {step_s:.2g} s each"
    epochs = set_to("epochs", fits, time_given)
    set_to("warmup_epochs", round(_WARMUP * epochs, 2), f"{_WARMUP:.0%} of the epochs, as in the recipe")
    return epochs * steps * step_s, feature_s


def _warnings(survey: Survey, facts: Facts) -> list[str]:
    """What speaks against a good result."""
    found = []
    blank = float(np.mean(facts.blank > survey.max_blank))
    if facts.beam_px < _NYQUIST_PX:
        found.append(f"the beam is {facts.beam_px:.1f} pixels wide, undersampled: details are lost (2 are needed)")
    if blank >= 0.5:
        found.append(f"{blank:.0%} of the boxes looked at are too blank to be cut: do mosaics and catalogue fit?")
    if facts.busy >= _BUSY:
        found.append(
            f"other programs are running: computations take {facts.busy:.1f} times as long as on an idle machine, and"
            " the times given change when they come and go"
        )
    if survey.pretrains and facts.sources < _FEW:
        found.append(f"{facts.sources} sources are few to train on: a released backbone is probably better")
    if survey.pretrains and (survey.warmup_epochs or 0) >= (survey.epochs or 1):
        found.append(
            f"the warm-up of {survey.warmup_epochs:g} epochs is as long as the whole training of {survey.epochs}: the"
            " learning rate never falls"
        )
    return found


def in_words(seconds: Mapping[str, float]) -> str:
    """Return how long steps will take, together and each.

    >>> in_words({"store": 20, "map": 60})
    'about 80 s (store 20 s, map 60 s)'
    """
    each = ", ".join(f"{step} {readable(spent)}" for step, spent in seconds.items())
    return f"about {readable(sum(seconds.values()))} ({each})"


def readable(seconds: float) -> str:
    """Return a duration as a person says it.

    >>> readable(42), readable(600), readable(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
