"""ResNet encoders that Keras 2 saved as HDF5, read with h5py alone.

sclassifier (Riggi et al. 2024) names its layers as torchvision does, and its ResNets differ from torchvision's in no
number: the paddings are layers of their own, and the epsilon of the batch normalisations is 1e-5, not Keras' 1e-3.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from radiossl.io.errors import RadiosslError, reason_of
from radiossl.io.extras import require

if TYPE_CHECKING:
    import h5py

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: Keras' names of a layer's weights and PyTorch's.
_WEIGHTS = {
    "kernel:0": "weight",
    "bias:0": "bias",
    "gamma:0": "weight",
    "beta:0": "bias",
    "moving_mean:0": "running_mean",
    "moving_variance:0": "running_var",
}
#: Epsilon of the batch normalisations of PyTorch's ResNets.
_EPSILON = 1e-5
#: Largest sum of all weights that is read, in bytes: a compressed file can claim any size.
_LARGEST = 2**31


def is_hdf5(file: Path) -> bool:
    """Tell whether a file is HDF5."""
    with file.open("rb") as stream:
        return stream.read(len(_SIGNATURE)) == _SIGNATURE


def read_keras(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file of ``save_weights`` or ``save``: tensors by PyTorch's names, and what else is in the file.

    Kernels are (out, in, height, width). Of ``model_config`` only ``size`` is taken, the side in pixels of the images.
    Raises `RadiosslError` if the file is damaged, no Keras 2 file, or of layers that PyTorch's ResNets do not have.
    """
    require("h5py")
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            linked = opened.get("model_weights", getlink=True)
            if linked is not None and not isinstance(linked, h5py.HardLink):
                raise RadiosslError(f"{file}: model_weights points elsewhere; it is refused")
            root = opened if linked is None else opened["model_weights"]
            if "layer_names" not in root.attrs:
                raise RadiosslError(f"{file}: not a weights file of Keras 2 (it has no layer_names)")
            other: dict[str, Any] = {name: None for name in ("optimizer_weights",) if name in opened}
            if "model_config" in opened.attrs:
                other["model_config"] = _network(file, opened.attrs["model_config"])
            return dict(_tensors(file, root)), other
    except (OSError, KeyError, RuntimeError) as error:
        raise RadiosslError(f"{file}: damaged HDF5 file ({reason_of(error)})") from None


def _tensors(file: Path, root: h5py.Group) -> Iterator[tuple[str, Tensor]]:
    import h5py

    datasets: dict[str, h5py.Dataset] = {}
    # This follows no links, neither within the file nor out of it.
    root.visititems(lambda path, item: datasets.update({path: item}) if isinstance(item, h5py.Dataset) else None)
    if sum(dataset.size * dataset.dtype.itemsize for dataset in datasets.values()) > _LARGEST:
        raise RadiosslError(f"{file}: claims more than {_LARGEST} bytes of weights; it is not read")
    for path, dataset in datasets.items():
        if dataset.external or dataset.is_virtual or dataset.dtype.kind != "f":
            raise RadiosslError(f"{file}: {path} is not a plain array of numbers; it is refused")
        *groups, leaf = path.split("/")  # the layer's group may be nested in that of a model
        if leaf not in _WEIGHTS or not groups:
            raise RadiosslError(f"{file}: {path} is not a weight of a convolution or batch normalisation")
        values = np.asarray(dataset[()], dtype=np.float32)
        if leaf == "kernel:0":
            if values.ndim != 4:
                raise RadiosslError(
                    f"{file}: {path} has {values.ndim} axes; a ResNet without further layers is expected"
                )
            values = values.transpose(3, 2, 0, 1)
        yield f"{groups[-1]}.{_WEIGHTS[leaf]}", torch.from_numpy(np.ascontiguousarray(values))


def _network(file: Path, config: Any) -> dict[str, Any]:
    """Check the numbers of a network that a complete file describes, and take its image size."""
    try:
        layers = json.loads(config)["config"]["layers"]
        options = [(layer["class_name"], layer["config"]) for layer in layers]
    except (ValueError, KeyError, TypeError) as error:
        raise RadiosslError(f"{file}: damaged model_config ({type(error).__name__}: {error})") from None
    found: dict[str, Any] = {}
    for kind, option in options:
        if kind == "BatchNormalization" and not np.isclose(option.get("epsilon", _EPSILON), _EPSILON):
            raise RadiosslError(
                f"{file}: {option.get('name')} has epsilon {option['epsilon']:g}, the ResNets here have {_EPSILON:g};"
                " features would differ"
            )
        shape = option.get("batch_input_shape")
        if kind == "InputLayer" and isinstance(shape, list) and len(shape) == 4 and shape[1] == shape[2] and shape[1]:
            found["size"] = shape[1]
    return found
