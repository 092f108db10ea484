"""A backbone made ready for others: half the size if wanted, with its scores, limits and terms on its card."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radiossl.io.errors import RadiosslError
from radiossl.io.files import read_json
from radiossl.weights.backbone import Backbone, load_backbone, save_backbone

_SETTINGS = "_settings"


def release(
    backbone: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    half: bool = False,
    evaluations: Mapping[str, str | os.PathLike[str]] | None = None,
    compute: Mapping[str, Any] | None = None,
    limits: str = "",
    terms: str = "",
    citation: str = "",
) -> Backbone:
    """Write a backbone folder for others.

    Parameters
    ----------
    backbone, out
        Folder of the backbone, and the one to write, which may be the same.
    half
        Whether to store the weights in float16. They are computed with in float32 all the same, and features differ by
        about a thousandth of their length: what is on the card should be measured on the released weights.
    evaluations
        Result folders of `radiossl evaluate` by the title they get on the card.
    compute
        ``steps`` and, if known, ``hours``; see `run_compute`.
    limits, terms, citation
        Markdown for the card: known limits, terms of use, how to cite.

    Returns
    -------
    Backbone
        As loaded from `out`.
    """
    loaded = load_backbone(backbone)
    scores = dict(loaded.config.scores)
    for title, folder in (evaluations or {}).items():
        scores[title] = evaluation_scores(folder)
    about = dict(loaded.config.about)
    about |= {name: text for name, text in (("limits", limits), ("terms", terms), ("citation", citation)) if text}
    if compute:
        about["compute"] = dict(compute)
    network = loaded.network.half() if half else loaded.network
    save_backbone(out, network, dataclasses.replace(loaded.config, scores=scores, about=about))
    return load_backbone(out)


def evaluation_scores(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a card shows of a result folder of `radiossl evaluate`.

    The facts are ``protocol``, ``objects``, ``classes``, ``folds``, ``seeds`` and ``accuracy``: for each label fraction
    (as text) mean and standard deviation by method.
    """
    file = Path(folder) / "metrics.json"
    metrics = read_json(file)
    wanted = ("protocol", "objects", "classes", "folds", "seeds", "label_fractions")
    missing = [name for name in wanted if not isinstance(metrics, dict) or name not in metrics]
    if missing:
        raise RadiosslError(f"{file}: has no {missing[0]!r}; a result folder of radiossl evaluate was expected")
    methods = [name.removesuffix(_SETTINGS) for name in metrics if name.endswith(_SETTINGS)]
    fractions = metrics["label_fractions"]
    accuracy: dict[str, Any] = {}
    for fraction in fractions:
        suffix = "" if fraction == fractions[0] else f"@{fraction:g}"
        accuracy[f"{fraction:g}"] = {
            name.replace("_", " "): [metrics[f"{name}_accuracy{suffix}"], metrics.get(f"{name}_accuracy_std{suffix}")]
            for name in methods
        }
    return {name: metrics[name] for name in wanted[:-1]} | {"accuracy": accuracy}


def run_compute(backbone: str | os.PathLike[str]) -> dict[str, Any]:
    """Return ``steps`` and, with a recipe, ``hours`` of the run that a backbone's folder is in; nothing without one."""
    import pandas as pd

    file = Path(backbone).parent / "metrics.csv"
    if not file.is_file():
        return {}
    rows = pd.read_csv(file)
    steps = int(rows["step"].iloc[-1])
    batch = load_backbone(backbone).config.recipe.get("batch_size")
    if not batch:
        return {"steps": steps}
    seconds = (rows["step"].diff().fillna(rows["step"]) * batch / rows["images_per_s"]).sum()
    return {"steps": steps, "hours": round(float(seconds) / 3600, 2)}
