"""What a paper says of a result: a paragraph on how it was made, and BibTeX of what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import radiossl
from radiossl.io.errors import RadiosslError

if TYPE_CHECKING:
    from radiossl.weights.config import BackboneConfig

METHOD_NAMES = {"simclr": "SimCLR", "byol": "BYOL", "nnclr": "NNCLR", "swav": "SwAV", "vicreg": "VICReg"}
#: What can be cited by its key; of long lists of authors the first.
_BIBTEX = {
    entry.partition("{")[2].partition(",")[0]: entry.replace("VERSION", radiossl.__version__)
    for entry in Path(__file__).with_name("works.bib").read_text(encoding="utf-8").strip().split("\n\n")
}


def methods_html(how: str, metadata: Mapping[str, Any], *cited: str) -> str:
    """Return, folded, how a result was made with which versions, weights and data, and what to cite.

    `how` says what was done with the features; `metadata` is that of a feature table: ``weights``, a backbone's folder
    or name, and ``weights_sha256``, or nothing. `cited` are further works: ``umap``, ``forest``.
    """
    config = _config(metadata)
    keys = ["radiossl", config.recipe.get("method", "") if config else "", *cited]
    software = f"This was made with radiossl {radiossl.__version__} (torch {version('torch')})."
    paragraphs = [f"{software} {_backbone(metadata, config)}{how}"]
    if config and config.about.get("citation"):
        paragraphs.append(f"To cite with these weights: {config.about['citation'].strip()}")
    text = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)
    bibtex = "\n\n".join(_BIBTEX[key] for key in keys if key in _BIBTEX)
    return f"<details><summary>For a paper: methods and BibTeX</summary>{text}<pre>{escape(bibtex)}</pre></details>"


def _config(metadata: Mapping[str, Any]) -> BackboneConfig | None:
    """What is known of the weights, if they are still where they were and the same."""
    if not metadata.get("weights"):
        return None
    from radiossl.weights.config import read_config

    try:
        config, sha256 = read_config(Path(metadata["weights"]))
    except (OSError, RadiosslError):
        return None
    return config if sha256 == metadata.get("weights_sha256") else None


def _backbone(metadata: Mapping[str, Any], config: BackboneConfig | None) -> str:
    if not metadata.get("weights"):
        return ""
    path = Path(metadata["weights"])
    name = path.parent.name if path.name == "backbone" else path.name
    known = f"SHA-256 {str(metadata.get('weights_sha256', ''))[:16]}"
    if config is None:
        return f"Features are those of the backbone {name} ({known}). "
    seen, recipe = config.preprocessing, config.recipe
    text = f"Features are those of the backbone {name} ({config.architecture.name}, {known})"
    if "method" in recipe:
        method = METHOD_NAMES.get(recipe["method"], recipe["method"])
        stores = ", ".join(f"{entry.get('store', '?')} ({entry.get('cutouts', '?')})" for entry in config.data)
        text += f", pretrained by {method} with the recipe {recipe.get('name', '?')} on the cutouts of {stores}"
    average = ", and averaged over 8 flips and rotations" if seen.views == 8 else ""
    return f"{text}; images were preprocessed by {seen.mode} at {seen.size} x {seen.size} pixels{average}. "
