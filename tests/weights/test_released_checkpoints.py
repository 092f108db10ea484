"""What is released loads, says what it is, and fits into the repository."""

from pathlib import Path

import numpy as np
import pytest

from radiossl.weights.backbone import load_backbone
from radiossl.weights.card import card_sections

FOLDER = Path(__file__).parents[2] / "checkpoints"
RELEASED = sorted(path.parent for path in FOLDER.glob("*/config.json"))


def test_all_together_stay_small():
    assert RELEASED
    total = sum(file.stat().st_size for folder in RELEASED for file in folder.iterdir())
    assert total < 120 * 2**20


@pytest.mark.parametrize("folder", RELEASED, ids=lambda folder: folder.name)
def test_a_released_backbone_makes_features_and_has_a_card(folder, sky):
    backbone = load_backbone(folder)  # checks the hash of the weights
    features = backbone.features([sky(1, (60, 60)), sky(2, (90, 90))]).numpy()
    assert np.isfinite(features).all()
    assert features.std() > 0
    card = (folder / "README.md").read_text(encoding="utf-8")
    for heading in ("## Training images", "## Scores", "random weights", "## Known limits", "## Terms of use"):
        assert heading in card
    assert card.endswith(card_sections(backbone.config))
    assert backbone.config.sky is not None
    seen = sum(entry["cutouts"] - entry.get("removed", 0) for entry in backbone.config.data)
    assert len(backbone.config.sky.ra_deg) == seen
    assert f"[{folder.name}]" in (FOLDER / "README.md").read_text(encoding="utf-8")
