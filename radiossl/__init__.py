"""radiossl: self-supervised learning for radio-astronomical images.

From survey mosaics to pretrained backbones, features and discoveries. What is listed in `__all__` is imported when it
is first used, so that ``import radiossl`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "CutoutStore": "radiossl.survey.store",
    "open_store": "radiossl.survey.store",
    "RadiosslError": "radiossl.errors",
    "load_backbone": "radiossl.weights.released",
    "embed": "radiossl.embeddings.embed",
    "pretrain": "radiossl.pretrain.run",
    "read_recipe": "radiossl.pretrain.recipe",
    "SimilarityIndex": "radiossl.tasks.similarity",
    "evaluate": "radiossl.tasks.protocols",
    "labelled_set": "radiossl.tasks.judging",
    "read_labels": "radiossl.tasks.labels",
    "import_set": "radiossl.datasets.published",
}

__all__ = sorted(["__version__", *_HOME])


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'radiossl' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
