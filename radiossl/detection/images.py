"""From an image to the input of a detector, and from its pixels back to those of the image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from radiossl.datasets.radiogalaxynet import read_channel
from radiossl.images.preprocess import Preprocessing, to_square
from radiossl.io.errors import RadiosslError
from radiossl.store.statistics import PixelStatistics, zscale_limits
from radiossl.survey.image_file import PICTURE_SUFFIXES, read_image

#: How the pixels of a file are read: as a plain image, or from RadioGalaxyNET's two bytes in two colours.
Reader = Literal["plain", "radiogalaxynet"]

#: Contrasts that the zscale augmentation draws from: 0.25 to 0.4 (Riggi et al. 2024, section 4.3).
CONTRASTS = np.linspace(0.25, 0.4, 16)
#: Pixels below this many sigma are never clipped, so that faint sources keep their brightness.
_NEVER_CLIPPED_SIGMA = 10.0
#: The infrared channel is the second channel of this preprocessing.
_INFRARED = Preprocessing(mode="sigma-zscale")


def read_planes(path: Path, reader: Reader, infrared: bool) -> NDArray[np.float32]:
    """Read the radio image, and with `infrared` RadioGalaxyNET's infrared image after it, shape (planes, h, w).

    Rows are in the order of the file, as COCO annotations count them: pictures are not turned upside down.
    """
    if reader == "radiogalaxynet":
        planes = np.stack([read_channel(path, "radio"), *([read_channel(path, "red")] if infrared else [])])
        if infrared and not planes[1].any():
            raise RadiosslError(f"{path}: its infrared channel is empty; train without --infrared")
        return planes
    if infrared:
        raise RadiosslError("--infrared: only images of RadioGalaxyNET have an infrared channel (--reader)")
    image = read_image(path)
    return (image[::-1] if path.name.lower().endswith(PICTURE_SUFFIXES) else image)[None]


@dataclass(frozen=True)
class Frame:
    """Where an image lies in the network's input: padded to a square around its centre, then resized."""

    shape: tuple[int, int]  # (height, width) of the image
    size: int  # side of what the network sees

    @property
    def zoom(self) -> float:
        """Pixels of the network per pixel of the image."""
        return self.size / max(self.shape)

    @property
    def offset(self) -> tuple[int, int]:
        """Columns and rows of padding before the image."""
        side = max(self.shape)
        return (side - self.shape[1]) // 2, (side - self.shape[0]) // 2

    def to_image(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """Convert boxes (n, 4), x0, y0, x1, y1 of edges, from the network's pixels to the image's."""
        return np.asarray(boxes, dtype=np.float64) / self.zoom - np.tile(self.offset, 2)

    def mask_to_network(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Resize an object's pixels (height, width) to the network's; a tiny object never vanishes."""
        square = to_square(torch.from_numpy(mask.astype(np.float32))[None]).nan_to_num_(0.0)
        covered = _fitted(square[None], self.size)[0, 0].numpy()
        return covered >= min(0.5, max(1e-3, 0.999 * float(covered.max())))


@dataclass(frozen=True)
class FieldPreprocessing:
    """From an image to a detector's input: the backbone's own preprocessing, of a larger field.

    Brighter pixels than the percentile, and than 10 sigma, are set to it, since a stretch between a floor and the peak
    would hide everything else in the field of one very bright source. RadioGalaxyNET's images come clipped at about
    this percentile.
    """

    preprocessing: Preprocessing  # the backbone's, with the detector's image size
    clip_percentile: float = 99.9
    infrared: bool = False  # the third channel is the infrared image

    def __post_init__(self) -> None:
        if self.infrared and self.preprocessing.channels != 3:
            raise RadiosslError("--infrared: takes the place of a third channel, which this backbone does not have")

    def prepare(self, planes: NDArray[np.float32]) -> Tensor:
        """Scale and resize an image (planes, h, w), all but the steps that `finish` does: shape (k, size, size)."""
        parts = [self._resized(self.preprocessing, self._clipped(planes[0]))]
        if self.infrared:
            parts.append(self._resized(_INFRARED, planes[1])[1:2])
        return torch.cat(parts)

    def finish(
        self, prepared: Tensor, floor: Tensor | None = None, gamma: Tensor | None = None, contrast: Tensor | None = None
    ) -> Tensor:
        """Turn results of `prepare`, float32 of shape (n, k, size, size), into the network's input.

        `floor` and `gamma` are those of `Preprocessing.finish`; `contrast` are limits of another contrast for the
        zscale channels as `contrast_limits` gives them, shape (n, 2).
        """
        radio = prepared[:, :-1] if self.infrared else prepared
        if contrast is not None:
            low, high = (contrast[:, column, None, None, None] for column in (0, 1))
            again = ((radio[:, 1:2] - low) / (high - low)).clamp_(0.0, 1.0)
            radio = torch.cat([radio[:, :1], again, again], dim=1)
        images = self.preprocessing.finish(radio, floor=floor, gamma=gamma)
        if self.infrared:
            images = torch.cat([images[:, :2], prepared[:, -1:]], dim=1)
        return self.preprocessing.normalise(images)

    def contrast_limits(self, planes: NDArray[np.float32]) -> Tensor:
        """Limits of zscale for all `CONTRASTS`, in units of the channel with contrast 0.25, shape (16, 2).

        The limits for 0.25 are the widest, so that every other contrast can be had from that channel.
        """
        finite = self._clipped(planes[0])
        finite = finite[np.isfinite(finite)]
        if finite.size == 0 or finite.min() == finite.max():
            return torch.tensor([[0.0, 1.0]]).repeat(len(CONTRASTS), 1)
        limits = np.array(zscale_limits(finite, CONTRASTS.tolist())).clip(finite.min(), finite.max())
        spread = limits[0, 1] - limits[0, 0]
        scaled = (limits - limits[0, 0]) / (spread if spread > 0 else np.inf)
        scaled[scaled[:, 1] - scaled[:, 0] < 1e-6] = (0.0, 1.0)
        return torch.from_numpy(scaled).float()

    def _clipped(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        finite = image[np.isfinite(image)]
        if finite.size == 0:
            return image
        statistics = PixelStatistics.of(finite)
        faintest = statistics.background + _NEVER_CLIPPED_SIGMA * statistics.rms
        ceiling = max(float(np.percentile(finite, self.clip_percentile)), faintest)
        return np.minimum(image, np.float32(ceiling)) if ceiling > statistics.background else image

    def _resized(self, how: Preprocessing, image: NDArray[np.float32]) -> Tensor:
        pixels = np.array(image, dtype=np.float32)  # a copy: files are mapped read-only
        statistics = torch.from_numpy(PixelStatistics.of(pixels).as_array())[None]
        images = how.prepare(to_square(torch.from_numpy(pixels)[None]), statistics)
        return _fitted(images, self.preprocessing.size)[0]


def _fitted(images: Tensor, size: int) -> Tensor:
    """Square images (n, k, side, side) at another size."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
