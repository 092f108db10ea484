"""radiossl: self-supervised learning for radio-astronomical images.

From survey mosaics to pretrained backbones, features and discoveries. What is listed in `__all__` is imported when it
is first used, so that ``import radiossl`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "CutoutStore": "radiossl.store.store",
    "open_store": "radiossl.store.store",
    "RadiosslError": "radiossl.io.errors",
    "load_backbone": "radiossl.weights.backbone",
    "embed": "radiossl.features.embedding",
    "pretrain": "radiossl.pretraining.run",
    "read_recipe": "radiossl.pretraining.recipe",
    "SimilarityIndex": "radiossl.similarity.search",
    "evaluate": "radiossl.evaluation.protocols",
    "labelled_set": "radiossl.evaluation.trials",
    "read_labels": "radiossl.evaluation.labels",
    "import_set": "radiossl.datasets.published",
    "run_benchmark": "radiossl.benchmark.run",
}

__all__ = sorted(["__version__", *_HOME])


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'radiossl' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
