"""ResNets with a small stem as timm's models, so that timm loads such a backbone from its folder.

timm has no ResNet whose first convolution is 3 x 3 without stride. Importing this module teaches it some:

    import timm
    import radiossl.weights.timm_models

    network = timm.create_model("local-dir:run/backbone", pretrained=True)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
from timm.models import load_pretrained, register_model
from torch import nn

from radiossl.weights.architecture import Architecture, make_stem_small


def _small_stem(name: str) -> Callable[..., nn.Module]:
    def build(
        pretrained: bool = False,
        pretrained_cfg: dict[str, Any] | None = None,
        pretrained_cfg_overlay: dict[str, Any] | None = None,
        cache_dir: str | None = None,
        **options: Any,
    ) -> nn.Module:
        described: Any = {**(pretrained_cfg or {}), **(pretrained_cfg_overlay or {})}
        classes = options.setdefault("num_classes", described.get("num_classes", 0))
        network = timm.create_model(name, **options)
        make_stem_small(network, name)
        if described:
            network.pretrained_cfg = network.default_cfg = described
        if pretrained:
            load_pretrained(network, described, classes, options.get("in_chans", 3), cache_dir=cache_dir)
        return network

    build.__name__ = Architecture(name=name, stem="small").timm_name
    build.__doc__ = f"{name} with a first convolution of 3 x 3 pixels without stride."
    return build


for _name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"):
    register_model(_small_stem(_name))
