"""Backbone networks by name."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from radiossl.io.errors import RadiosslError
from radiossl.io.schema import Settings


class Architecture(Settings):
    """A backbone network by its name in timm, such as ``resnet18``."""

    name: str = "resnet18"
    #: ``small`` for a 3x3 first convolution without stride (ResNets only), as the BYOL of Slijepcevic et al. 2024 has
    #: for its 70-pixel images.
    stem: Literal["standard", "small"] = "standard"
    #: Length of the feature vector if a fully connected layer is to follow the network (100 in Slijepcevic et al. 2022,
    #: section 3); null for the network's own pooled features.
    output_dim: int | None = Field(default=None, ge=2)

    def build(self, channels: int, size: int = 64) -> nn.Module:
        """Build the network with random weights, and try it.

        It takes (n, channels, size, size) and returns features (n, `feature_dim` of the network). Networks that are
        built for one size only, such as most transformers, are built for this one. Raises `RadiosslError` if timm knows
        no such network, its stem cannot be made small, or it makes no features of such images.

        Examples
        --------
        >>> network = Architecture(name="resnet18").build(channels=3)
        >>> network(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 512])
        """
        import timm

        if self.name not in timm.list_models():
            close = timm.list_models(f"*{self.name}*")[:3]
            hint = f"did you mean {', '.join(close)}?" if close else "see timm.list_models()"
            raise RadiosslError(f"backbone.name {self.name!r}: timm knows no such network; {hint}")
        state, problem = torch.get_rng_state(), ""
        # timm starts the residual branches of ResNets at zero; torchvision, and so everyone else's ResNet, does not.
        usual: dict[str, Any] = {"zero_init_last": False} if self.name.startswith("resnet") else {}
        usual |= {"in_chans": channels, "num_classes": self.output_dim or 0}
        for sized in ({}, {"img_size": size}):
            torch.set_rng_state(state)
            try:
                network = timm.create_model(self.name, pretrained=False, **(usual | sized))
                if self.stem == "small":
                    make_stem_small(network, self.name)
                with torch.no_grad():
                    features = network.eval()(torch.zeros(1, channels, size, size))
            except RadiosslError:
                raise
            except Exception as error:  # timm and torch raise nearly anything
                problem = problem or f"{type(error).__name__}: {error}"
                continue
            if features.ndim != 2:
                problem = f"it returns {tuple(features.shape)}, not one vector for each image"
                continue
            network.model_args = {"in_chans": channels, **sized}  # type: ignore[assignment]
            network.feature_dim = features.shape[1]
            return network.train()
        raise RadiosslError(
            f"backbone.name {self.name}: cannot be used for images of {size} x {size} pixels"
            f" ({' '.join(problem.split())[:200]}); choose another network or --image-size"
        )

    @property
    def timm_name(self) -> str:
        """What timm calls the network; for a small stem see `radiossl.weights.timm_models`."""
        return f"{self.name}_small_stem" if self.stem == "small" else self.name

    def feature_dim(self, network: nn.Module) -> int:
        """Return the length of the feature vectors of a network that `build` made."""
        return int(network.feature_dim)  # type: ignore[arg-type]


def make_stem_small(network: nn.Module, name: str) -> None:
    """Replace the first convolution of a ResNet by one of 3 x 3 pixels without stride."""
    stem = getattr(network, "conv1", None)
    if not isinstance(stem, nn.Conv2d):
        raise RadiosslError(f"backbone.stem 'small': {name} has no single first convolution conv1")
    small = nn.Conv2d(stem.in_channels, stem.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
    network.conv1 = small


def stage_numbers(network: nn.Module) -> dict[str, int]:
    """Return the number of the stage of each tensor of a network, 0 for the stem."""
    from timm.models import group_parameters

    matcher = getattr(network, "group_matcher", None)
    names = [name for name, _ in network.named_parameters()]
    if matcher is None:  # a plain network is one stage
        return dict.fromkeys(names, 0)
    stages = group_parameters(network, matcher(coarse=True), reverse=True)
    numbers = sorted(set(stages.values()))  # whatever follows the blocks has the last number of all
    return {name: numbers.index(stages[name]) for name in names}
