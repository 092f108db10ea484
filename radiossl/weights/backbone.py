"""The released-weights format: a folder with `model.safetensors`, `config.json` and a model card.

The layout is timm's, so that ``timm.create_model("local-dir:PATH")`` loads it too. `config.json` holds the complete
preprocessing, the recipe and where the training images came from.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radiossl.datasets.image_files import is_image_file
from radiossl.datasets.image_sources import open_images
from radiossl.images.preprocess import Preprocessing, flips_and_rotations
from radiossl.io.checksums import file_sha256
from radiossl.io.errors import RadiosslError, check_choice, check_number
from radiossl.io.files import PathLike, atomic_folder, write_text
from radiossl.io.tables import is_table
from radiossl.store.cutout import Cutout
from radiossl.store.store import CutoutStore
from radiossl.weights.architecture import Architecture
from radiossl.weights.card import CARD_FILE, model_card
from radiossl.weights.config import BackboneConfig, change_preprocessing, read_config, write_config
from radiossl.weights.device import parse_device
from radiossl.weights.folder import CONFIG_FILE
from radiossl.weights.readout import PLAIN, WIDE, Embedding, FeatureNetwork, Readout, Whitening, last_stage, readout_dim
from radiossl.weights.released import find_backbone
from radiossl.weights.tensors import WEIGHTS_FILE, check_features, check_network, load_state, load_tensors, save_tensors

#: Forward passes of one image each from which `Backbone.inference_network` saves more than it costs.
_WORTH_FREEZING = 2000


class Backbone(nn.Module):
    """A network that turns raw cutouts into features.

    Attributes
    ----------
    network
        The bare network: (n, channels, size, size) to (n, feature_dim).
    config
        Its `BackboneConfig`.
    name
        Where it was loaded from.
    sha256
        Hash of its weights file; "" for weights that were never saved.
    """

    def __init__(self, network: nn.Module, config: BackboneConfig, name: str = "", sha256: str = "") -> None:
        super().__init__()
        self.network, self.config, self.name, self.sha256 = network, config, name, sha256

    @classmethod
    def random(cls, architecture: Architecture, preprocessing: Preprocessing, seed: int) -> Backbone:
        """Return an untrained backbone: the baseline that a trained one has to beat."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # unlike torch.manual_seed leaves the accelerator's alone
            network = architecture.build(preprocessing.channels, preprocessing.size)
        return cls(network, BackboneConfig(architecture, preprocessing), name=f"random-init-{seed}").eval()

    def __repr__(self) -> str:
        seen, recipe = self.config.preprocessing, self.config.recipe
        images = f"{seen.mode} images of {seen.channels} x {seen.size} x {seen.size}"
        training = f", trained by {recipe['method']}" if "method" in recipe else ""
        architecture = self.config.architecture.name
        return f"<Backbone {self.name or 'not saved'}: {architecture}, {self.feature_dim} features, {images}{training}>"

    @property
    def feature_dim(self) -> int:
        """Length of the feature vectors."""
        embedding = self.config.embedding
        if embedding.whiten is not None:
            whitening, beside = self._whitening()
            return embedding.whiten + (0 if beside is None else len(whitening.mean[beside]))
        if embedding.readout is not None:
            return readout_dim(self.network, embedding.readout, self.config.architecture.name)
        return self.config.architecture.feature_dim(self.network)

    @property
    def feature_network(self) -> nn.Module:
        """The network with the read-out that makes features: preprocessed images to (n, feature_dim)."""
        embedding, applied = self.config.embedding, None
        if embedding == PLAIN:
            return self.network
        if embedding.whiten is not None:
            whitening, beside = self._whitening()
            applied = whitening.first(embedding.whiten, beside)
        return FeatureNetwork(self.network, embedding.readout, applied).train(self.training)

    def _whitening(self) -> tuple[Whitening, slice | None]:
        """The stored whitening, and where the means of the last stage are if they stand beside it; or raise."""
        embedding, whitening, name = self.config.embedding, self.config.whitening, self.name or "backbone"
        if whitening is None or whitening.readout != embedding.readout:
            raise RadiosslError(f"{name}: has no whitening for this read-out; radiossl weights whiten makes one")
        most = len(whitening.components)
        if embedding.whiten is None or embedding.whiten > most:
            raise RadiosslError(f"--whiten {embedding.whiten}: {name} has {most} components")
        if not embedding.joined:
            return whitening, None
        beside = last_stage(self.network, whitening.readout)
        if beside is None or whitening.last_scale is None:
            raise RadiosslError(f"{name}: its whitening does not know how large the last stage is; make it again")
        return whitening, beside

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def identity(self) -> str:
        """Architecture, preprocessing and hash of the weights, as text, with a file or without."""
        digest = self.sha256
        if not digest:
            state = hashlib.sha256()
            for name, tensor in self.network.state_dict().items():
                state.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
            digest = state.hexdigest()
        text = f"{self.config.architecture} {self.config.preprocessing} weights {digest}"
        return text if self.config.embedding == PLAIN else f"{text} {self.embedding_metadata}"

    @property
    def embedding_metadata(self) -> dict[str, Any]:
        """What a feature table says of the read-out: settings and the whitening's hash; empty for the plain one."""
        embedding, whitening = self.config.embedding, self.config.whitening
        used = {"whitening_sha256": whitening.sha256} if embedding.whiten is not None and whitening is not None else {}
        return embedding.settings | used

    def adapted(self, **changes: Any) -> Backbone:
        """Return this backbone with other values of `Preprocessing`, such as ``views=8`` or ``field_px=100``."""
        return self._with(preprocessing=change_preprocessing(self.config.preprocessing, changes))

    def _with(self, **changes: Any) -> Backbone:
        config = dataclasses.replace(self.config, **changes)
        return Backbone(self.network, config, self.name, self.sha256).train(self.training)

    def with_readout(self, readout: Readout | str | None = None, whiten: int | None = None) -> Backbone:
        """Return this backbone with another read-out.

        Parameters
        ----------
        readout
            ``wide`` (`radiossl.weights.readout.WIDE`), ``last`` for the network's own pooled output, a `Readout`, or
            ``joined`` for the whitened components with the mean of the last stage beside them; None for what the
            configuration says.
        whiten
            Number of whitened components to keep, alone unless ``joined``; 0 for none; None for what the configuration
            says, or none if another read-out is asked for.

        Raises
        ------
        RadiosslError
            If there is no such read-out, or no whitening for it with as many components.
        """
        usual, whitening = self.config.embedding, self.config.whitening
        if readout is None and whiten is None:
            return self
        if isinstance(readout, str):
            check_choice("--readout", readout, ("last", "wide", "joined"))
        if readout == "joined":
            if whiten == 0:
                raise RadiosslError("--readout joined --whiten 0: expected one component or more")
            read, most = (None, 1) if whitening is None else (whitening.readout, len(whitening.components))
            return self.with_embedding(Embedding(readout=read, whiten=whiten or usual.whiten or most, joined=True))
        named = {None: usual.readout, "last": None, "wide": WIDE}
        chosen = readout if isinstance(readout, Readout) else named[readout]
        kept = (usual.whiten if chosen == usual.readout else None) if whiten is None else whiten or None
        return self.with_embedding(Embedding(readout=chosen, whiten=kept))

    def with_embedding(self, embedding: Embedding) -> Backbone:
        """Return this backbone with the read-out of a configuration or a feature table; see `with_readout`."""
        changed = self._with(embedding=embedding)
        _ = changed.feature_dim, changed.feature_network  # refused here rather than at the first image
        return changed

    def preprocess(self, cutouts: Tensor | NDArray[np.floating] | PathLike | Sequence[Any]) -> Tensor:
        """Preprocess raw cutouts as the backbone was trained.

        Parameters
        ----------
        cutouts
            A 2-D array, masked array or tensor, a picture in colours (height, width, 3 or 4), a path of a FITS, NPY or
            picture file, a cutout of a store, a sequence of these (sizes may differ), or an array (n, height, width).
            The noise of a cutout is the stored one, measured around it where it was cut from a mosaic; other images'
            is that of their own pixels.

        Returns
        -------
        Tensor
            Shape (n, channels, size, size), on the device of the weights.
        """
        from radiossl.survey.image_file import image_of_array, is_colour, read_image

        shape = tuple(getattr(cutouts, "shape", ()))
        if isinstance(cutouts, (str, os.PathLike, Cutout)) or len(shape) == 2 or is_colour(shape):
            cutouts = [cutouts]
        noise = [c.noise if isinstance(c, Cutout) else None for c in cutouts]
        images = (c.pixels if isinstance(c, Cutout) else c for c in cutouts)
        arrays = [read_image(c) if isinstance(c, (str, os.PathLike)) else image_of_array(c) for c in images]
        return self.config.preprocessing.of_arrays(arrays, self.device, noise)

    def forward(self, images: Tensor, network: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Turn preprocessed images (n, channels, size, size) into features (n, feature_dim), float32.

        Features are averaged over rotations and mirror images where the preprocessing says so. `network` is what
        `inference_network` returned, if that is to be used.
        """
        network = network or self.feature_network
        if self.config.preprocessing.views == 1:
            return network(images).float()
        total: Any = sum(network(turned).float() for turned in flips_and_rotations(images))
        return total / 8

    def inference_network(self, passes: int, bfloat16: bool = False) -> Callable[[Tensor], Tensor]:
        """Return the network in its quickest form for this many forward passes of one image, in evaluation mode.

        With `bfloat16` it computes in that precision, of three digits, which changes the features a little. Otherwise,
        on a CPU, many passes are worth the seconds that it takes to fold the batch normalisation into the convolutions
        and to lay the weights out for the processor: about 1.6 times faster, features equal to float32 rounding.
        """
        if bfloat16:
            return self._in_bfloat16
        seen = self.config.preprocessing
        network = self.feature_network
        if self.device.type != "cpu" or passes < _WORTH_FREEZING:
            return network
        example = torch.zeros(2, seen.channels, seen.size, seen.size)
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")  # of branches that a trace cannot follow; there are none at one input size
            traced = torch.jit.trace(copy.deepcopy(network).eval(), example, check_trace=False)
            return torch.jit.optimize_for_inference(torch.jit.freeze(traced))

    def _in_bfloat16(self, images: Tensor) -> Tensor:
        network, images = self.feature_network, images.contiguous(memory_format=torch.channels_last)
        pooled = network.pooled if isinstance(network, FeatureNetwork) else network
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            features = pooled(images)
        return network.whitened(features) if isinstance(network, FeatureNetwork) else features

    @torch.inference_mode()
    def features(
        self, cutouts: Any, readout: Readout | str | None = None, whiten: int | None = None, batch_size: int = 128
    ) -> Tensor:
        """Return the features of raw cutouts.

        Parameters
        ----------
        cutouts
            What `preprocess` takes, or a store, folder, pattern or table of images as `radiossl.open_images` does.
        readout, whiten
            See `with_readout`; by default as the backbone's configuration says.
        batch_size
            Cutouts of a store at a time.

        Returns
        -------
        Tensor
            Shape (n, feature_dim), float32, on the device of the weights.

        Raises
        ------
        RadiosslError
            If an image cannot be read, or its features are not finite.

        See Also
        --------
        radiossl.embed : the same as a table with the columns of the store, resumable and by several processes.

        Examples
        --------
        >>> import numpy as np
        >>> backbone = Backbone.random(Architecture(), Preprocessing(size=32), seed=0)
        >>> backbone.features(np.ones((40, 40))).shape
        torch.Size([1, 512])
        """
        check_number("batch_size", batch_size, 1, whole=True)
        if readout is not None or whiten is not None:
            return self.with_readout(readout, whiten).features(cutouts, batch_size=batch_size)
        if is_table(cutouts) or (isinstance(cutouts, (str, os.PathLike)) and not is_image_file(Path(cutouts))):
            cutouts = open_images(cutouts)
        batches: Iterable[Any] = [cutouts]
        if isinstance(cutouts, CutoutStore):
            rows = (range(len(cutouts))[start : start + batch_size] for start in range(0, len(cutouts), batch_size))
            batches = ([cutouts[row] for row in batch] for batch in rows)
        was_training = self.training
        self.eval()
        try:
            features = torch.cat([self(self.preprocess(batch)) for batch in batches])
        finally:
            self.train(was_training)
        check_features(features, self.name or "backbone")
        return features


def save_backbone(path: PathLike, network: nn.Module, config: BackboneConfig) -> None:
    """Write a backbone folder atomically, replacing an older one only when the new one is complete.

    Raises
    ------
    RadiosslError
        If the network diverged in its training: weights or features are not finite, or absurd.
    """
    check_network(network, config.preprocessing.channels, config.preprocessing.size, str(path))
    with atomic_folder(path, "backbone") as folder:
        save_tensors(network, folder / WEIGHTS_FILE)
        write_config(folder, network, config)
        write_text(folder / CARD_FILE, model_card(Path(path).name, config, Backbone(network, config).feature_dim))


def load_backbone(path: PathLike, device: str | torch.device = "cpu") -> Backbone:
    """Load a backbone.

    Parameters
    ----------
    path
        Its folder, or the name of a released one, which is fetched if need be (`radiossl.weights.released`).
    device
        Where to put it: ``cpu``, ``cuda``, or ``auto`` for CUDA where there is any.

    Returns
    -------
    Backbone
        In evaluation mode; takes raw cutouts through `Backbone.preprocess` or `Backbone.features`.

    Raises
    ------
    RadiosslError
        If the folder is incomplete or damaged, or the weights belong to another architecture or diverged.

    Examples
    --------
    >>> backbone = radiossl.load_backbone("checkpoints/simclr-first")  # doctest: +SKIP
    >>> features = backbone.features(["J0000+00.fits", array])  # doctest: +SKIP
    """
    path = find_backbone(path)
    config, sha256 = read_config(path)
    network = config.architecture.build(config.preprocessing.channels, config.preprocessing.size)
    file = path / WEIGHTS_FILE
    load_state(network, load_tensors(file), str(file), config.architecture.name)
    actual = file_sha256(file)
    if sha256 and sha256 != actual:
        raise RadiosslError(f"{file}: not the weights that {CONFIG_FILE} describes (sha256 differs)")
    return Backbone(network, config, name=str(path), sha256=actual).to(parse_device(device)).eval()
