"""Settings proposed from the data, each with its reason; warnings; and how long everything will take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from radiossl.pipeline.settings import Survey
from radiossl.pipeline.trial import BOX_FACTOR, Facts, step_seconds

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
        return [*lines, f"about {readable(sum(self.seconds.values()))}: {times}"]


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
        seconds["pretraining"] = _propose_training(survey, facts, side, set_to)
    seconds |= {
        "features": facts.sources * facts.embed_s,
        "map": _MAP_S + facts.sources * _MAP_SOURCE_S,
        "anomalies, neighbours and page": 10 + 0.001 * facts.sources,
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
