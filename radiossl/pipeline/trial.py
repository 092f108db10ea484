"""A first look at a survey: a few sources are cut and timed, before anything is decided."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radiossl.pipeline.settings import Survey
from radiossl.store.store import CutoutStore
from radiossl.survey.catalogue.reading import Catalogue, read_catalogue
from radiossl.survey.cutting import Mosaics
from radiossl.survey.finding import find_mosaics
from radiossl.survey.mosaic import Mosaic
from radiossl.survey.placement import locate_sources
from radiossl.survey.sources import cut_sources

#: Sources that are looked at.
_LOOKED_AT = 48


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


def look_at(survey: Survey, scratch: Path) -> Facts:
    """Cut some sources of a survey into a store in `scratch` and measure what its settings are proposed from.

    Raises
    ------
    RadiosslError
        If there are no mosaics, the catalogue cannot be read, or none of its sources is on them.
    """
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
    sources = sources or len(store) * len(mosaics)
    name = "simclr-first-zoom" if survey.pretrains else survey.backbone
    backbone = load_backbone(name, survey.device)
    embed_s = _seconds(lambda: backbone.features(store)) / len(store)
    heights, widths, blank = (np.asarray(store.column(name)) for name in ("height", "width", "blank_fraction"))
    has_extents = catalogue is None or catalogue.extent_arcsec is not None
    beam_px = float(np.nanmin([*beams_px, np.inf]))
    sides_px = np.maximum(heights, widths)
    return Facts(store, sources, has_extents, beam_px, sides_px, blank, seconds / len(sides_px), embed_s)


def cut(
    survey: Survey, catalogue: Catalogue | None, out: Path, *, max_blank: float, all_mosaics: bool = True, wide: int = 1
) -> CutoutStore:
    """Cut a survey as its settings say, or boxes `wide` times as wide; without extents they are measured."""
    measure = catalogue is not None and catalogue.extent_arcsec is None and survey.size is None
    mosaics = survey.mosaics if all_mosaics else find_mosaics(survey.mosaics)[:1]
    factor = wide * (survey.box_factor or BOX_FACTOR)
    size = None if survey.size is None else wide * survey.size
    return cut_sources(mosaics, catalogue, out, size, factor, max_blank=max_blank, measure=measure).store


#: Side of a box in units of the extent of its source, as in Riggi et al. 2024.
BOX_FACTOR = 1.5


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
    return dataclasses.replace(
        catalogue,
        ids=catalogue.ids[rows],
        ra_deg=catalogue.ra_deg[rows],
        dec_deg=catalogue.dec_deg[rows],
        extent_arcsec=extents,
        columns=catalogue.columns.take(rows),
    )


def _seconds(work: Callable[[], object]) -> float:
    """How long something takes the second time."""
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
