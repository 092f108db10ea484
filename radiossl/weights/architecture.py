"""Backbone networks by name."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from radiossl.io.errors import RadiosslError


class Architecture(BaseModel):
    """A backbone network.

    Attributes
    ----------
    name
        A timm model name, such as ``resnet18``.
    stem
        ``standard``, or ``small`` for a 3x3 first convolution without stride (ResNets only), as the BYOL of
        Slijepcevic et al. 2024 has for its 70-pixel images.
    output_dim
        Length of the feature vector if a fully connected layer is to follow the network (100 in Slijepcevic et al.
        2022, section 3); null for the network's own pooled features.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "resnet18"
    stem: Literal["standard", "small"] = "standard"
    output_dim: int | None = Field(default=None, ge=2)

    def build(self, channels: int) -> nn.Module:
        """Build the network with random weights.

        Parameters
        ----------
        channels
            Number of input channels.

        Returns
        -------
        nn.Module
            Takes (n, channels, size, size), returns features (n, `feature_dim` of the network).

        Raises
        ------
        RadiosslError
            If timm knows no such network, or its stem cannot be made small.
        """
        import timm

        if self.name not in timm.list_models():
            close = timm.list_models(f"*{self.name}*")[:3]
            hint = f"did you mean {', '.join(close)}?" if close else "see timm.list_models()"
            raise RadiosslError(f"backbone.name {self.name!r}: timm knows no such network; {hint}")
        # timm starts the residual branches of ResNets at zero; torchvision, and so everyone else's ResNet, does not.
        options: dict[str, Any] = {"zero_init_last": False} if self.name.startswith("resnet") else {}
        network = timm.create_model(
            self.name, pretrained=False, in_chans=channels, num_classes=self.output_dim or 0, **options
        )
        if self.stem == "small":
            stem = getattr(network, "conv1", None)
            if not isinstance(stem, nn.Conv2d):
                raise RadiosslError(f"backbone.stem 'small': {self.name} has no single first convolution conv1")
            network.conv1 = nn.Conv2d(channels, stem.out_channels, kernel_size=3, padding=1, bias=False)
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        return network

    def feature_dim(self, network: nn.Module) -> int:
        """Return the length of the feature vectors of a network that `build` made."""
        return self.output_dim or int(network.num_features)  # type: ignore[arg-type]


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
