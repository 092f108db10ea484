"""A backbone for others: half the size if wanted, with scores, limits and terms on its card; pushed to the hub."""

from __future__ import annotations

import dataclasses
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, read_json
from radiossl.weights.backbone import Backbone, load_backbone, save_backbone
from radiossl.weights.card import CARD_FILE


def release(
    backbone: PathLike,
    out: PathLike,
    *,
    half: bool = False,
    evaluations: Mapping[str, PathLike] | None = None,
    compute: Mapping[str, Any] | None = None,
    limits: str = "",
    terms: str = "",
    citation: str = "",
) -> Backbone:
    """Write a backbone folder for others, perhaps the same folder, and load it.

    With `half`, weights are stored in float16. They are computed with in float32 all the same, and features differ by
    about a thousandth of their length: what is on the card should be measured on the released weights. `evaluations`
    are result folders of `radiossl evaluate` by their titles on the card, `compute` has ``steps`` and, if known,
    ``hours`` (see `run_compute`); limits, terms of use and how to cite are Markdown.
    """
    loaded = load_backbone(backbone)
    measured = {title: evaluation_scores(folder) for title, folder in (evaluations or {}).items()}
    given = {"limits": limits, "terms": terms, "citation": citation, "compute": dict(compute or {})}
    scores, about = loaded.config.scores | measured, loaded.config.about | {n: v for n, v in given.items() if v}
    network = loaded.network.half() if half else loaded.network
    save_backbone(out, network, dataclasses.replace(loaded.config, scores=scores, about=about))
    return load_backbone(out)


def evaluation_scores(folder: PathLike) -> dict[str, Any]:
    """Return what a card shows of a result folder of `radiossl evaluate`.

    ``accuracy`` holds, for each label fraction (as text), mean and standard deviation by method.
    """
    file = Path(folder) / "metrics.json"
    metrics = read_json(file)
    wanted = ("protocol", "objects", "classes", "folds", "seeds", "label_fractions")
    missing = [name for name in wanted if not isinstance(metrics, dict) or name not in metrics]
    if missing:
        raise RadiosslError(f"{file}: has no {missing[0]!r}; a result folder of radiossl evaluate was expected")
    methods = [name.removesuffix("_settings") for name in metrics if name.endswith("_settings")]
    accuracy: dict[str, Any] = {}
    for fraction in metrics["label_fractions"]:
        suffix = f"@{fraction:g}" if accuracy else ""  # the first has none
        accuracy[f"{fraction:g}"] = {
            name.replace("_", " "): [metrics[f"{name}_accuracy{suffix}"], metrics.get(f"{name}_accuracy_std{suffix}")]
            for name in methods
        }
    return {name: metrics[name] for name in wanted[:-1]} | {"accuracy": accuracy}


def run_compute(backbone: PathLike) -> dict[str, Any]:
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


def push_backbone(
    backbone: PathLike,
    repo: str,
    *,
    licence: str,
    private: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Upload a backbone folder to the Hugging Face hub, with the header of its format on the card.

    The repository ``OWNER/NAME`` is made if it does not exist, and its address returned. `licence` is the hub's name of
    one, such as ``cc-by-4.0``. Token and endpoint are by default those that `huggingface_hub` finds (``hf auth login``,
    HF_TOKEN, HF_ENDPOINT). Raises `RadiosslError` if the folder is no backbone, or the hub refuses it.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise RadiosslError(f"{repo}: expected OWNER/NAME of a repository on the hub")
    loaded = load_backbone(backbone)
    from huggingface_hub import HfApi

    folder, api = Path(loaded.name), HfApi(endpoint=endpoint, token=token)
    header = {
        "license": licence,
        "library_name": "timm",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["radio-astronomy", "self-supervised-learning", "radiossl"],
    }
    with tempfile.TemporaryDirectory() as copied:
        copy = Path(shutil.copytree(folder, Path(copied) / folder.name, ignore=shutil.ignore_patterns(".*")))
        card = copy / CARD_FILE
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
        card.write_text(f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n{text}", encoding="utf-8")
        try:
            api.create_repo(repo, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo, folder_path=copy, commit_message="Backbone of radiossl")
        except Exception as error:  # besides its own, the hub's client passes on those of its HTTP library
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise RadiosslError(f"{repo}: not pushed ({reason}); check name and token (hf auth login)") from None
    return f"{(endpoint or api.endpoint).rstrip('/')}/{repo}"
