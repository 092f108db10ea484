"""What several tests of searching begin with."""

import pytest

from radiossl.weights.backbone import load_backbone, save_backbone


@pytest.fixture(scope="module")
def weights(tmp_path_factory, tiny_backbone):
    folder = tmp_path_factory.mktemp("weights") / "b"
    save_backbone(folder, tiny_backbone.network, tiny_backbone.config)
    return load_backbone(folder)
