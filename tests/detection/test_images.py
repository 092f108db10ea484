"""What a detector sees of an image, and the way back to its pixels."""

import numpy as np
import pytest
import torch
from astropy.visualization import ZScaleInterval
from PIL import Image

from radiossl.detection.images import CONTRASTS, FieldPreprocessing, Frame, read_planes
from radiossl.images.preprocess import Preprocessing
from radiossl.io.errors import RadiosslError

from .conftest import blobs


@pytest.mark.parametrize("mode", ["sigma-zscale", "floor-stretch", "min-max"])
def test_it_is_the_backbones_own_preprocessing(mode):
    image = blobs(0)[0]
    own = Preprocessing(mode=mode, size=48)
    field = FieldPreprocessing(own, clip_percentile=100)
    seen = field.finish(field.prepare(image[None])[None])
    torch.testing.assert_close(seen, own.of_arrays([image]), atol=1e-6, rtol=0)


def test_one_bright_source_does_not_hide_the_others():
    image = blobs(0)[0]
    bright = image.copy()
    bright[5, 5] += 1e4 * image.max()
    field = FieldPreprocessing(Preprocessing(mode="floor-stretch", size=64))
    seen, spoilt = (field.finish(field.prepare(part[None])[None])[0, 0] for part in (image, bright))
    assert spoilt[12:, 12:].max() > 0.5 * seen[12:, 12:].max() > 0
    unclipped = FieldPreprocessing(Preprocessing(mode="floor-stretch", size=64), clip_percentile=100)
    assert unclipped.finish(unclipped.prepare(bright[None])[None])[0, 0, 12:, 12:].max() < 1e-3


def test_faint_sources_are_never_clipped():
    rng = np.random.default_rng(0)
    image = rng.normal(0, 1, (64, 64)).astype(np.float32)
    image[30, 30] = 9.0
    field = FieldPreprocessing(Preprocessing(mode="floor-stretch", size=64))
    seen = field.finish(field.prepare(image[None])[None])[0, 0]
    assert seen[30, 30] == seen.max() == 1


@pytest.mark.parametrize("contrast", [0, 7, 15])
def test_random_contrast_is_zscale_with_that_contrast(contrast):
    image = blobs(1)[0]
    field = FieldPreprocessing(Preprocessing(mode="sigma-zscale", size=64), clip_percentile=100)
    limits = field.contrast_limits(image[None])[contrast][None]
    seen = field.finish(field.prepare(image[None])[None], contrast=limits)[0, 1]
    low, high = ZScaleInterval(contrast=CONTRASTS[contrast]).get_limits(image)
    low, high = max(low, image.min()), min(high, image.max())
    expected = np.clip((image - low) / (high - low), 0, 1)
    np.testing.assert_allclose(seen.numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("image", [np.zeros((20, 20)), np.full((20, 20), np.nan), np.eye(20)[:10]])
@pytest.mark.parametrize("mode", ["sigma-zscale", "floor-stretch"])
def test_odd_images_give_finite_tensors(image, mode):
    field = FieldPreprocessing(Preprocessing(mode=mode, size=32))
    planes = image.astype(np.float32)[None]
    limits = field.contrast_limits(planes)[3][None] if mode == "sigma-zscale" else None
    assert torch.isfinite(field.finish(field.prepare(planes)[None], contrast=limits)).all()


@pytest.mark.parametrize("shape", [(64, 64), (50, 80), (81, 40)])
def test_boxes_find_their_way_back(shape):
    frame = Frame(shape, 96)
    mask = np.zeros(shape, bool)
    mask[20:32, 10:30] = True
    seen = frame.mask_to_network(mask)
    rows, columns = np.nonzero(seen)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
    np.testing.assert_allclose(frame.to_image(box), [[10, 20, 30, 32]], atol=1.0 / frame.zoom)


def test_a_tiny_object_does_not_vanish():
    mask = np.zeros((200, 200), bool)
    mask[101, 57] = True
    seen = Frame((200, 200), 32).mask_to_network(mask)
    assert 1 <= seen.sum() <= 4
    assert seen[16, 9]


def test_the_rows_of_a_picture_stay_in_the_order_of_the_file(tmp_path):
    pixels = np.arange(200, dtype=np.uint8).reshape(10, 20)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_planes(tmp_path / "a.png", "plain", False)[0], pixels)


def test_radiogalaxynet_joins_two_bytes_and_has_infrared(tmp_path):
    red, green, blue = np.random.default_rng(0).integers(0, 256, (3, 12, 12), dtype=np.uint8)
    Image.fromarray(np.stack([red, green, blue], axis=-1)).save(tmp_path / "a.png")
    planes = read_planes(tmp_path / "a.png", "radiogalaxynet", True)
    np.testing.assert_array_equal(planes, [256.0 * blue + green, red])
    field = FieldPreprocessing(Preprocessing(mode="floor-stretch", size=16), infrared=True)
    seen = field.finish(field.prepare(planes)[None])
    alone = FieldPreprocessing(Preprocessing(mode="floor-stretch", size=16))
    torch.testing.assert_close(seen[:, :2], alone.finish(alone.prepare(planes[:1])[None])[:, :2])
    assert not torch.equal(seen[:, 2], seen[:, 1])


def test_an_empty_infrared_channel_is_refused(tmp_path):
    Image.fromarray(np.zeros((12, 12, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(RadiosslError, match="infrared channel is empty"):
        read_planes(tmp_path / "a.png", "radiogalaxynet", True)
    with pytest.raises(RadiosslError, match="--infrared"):
        read_planes(tmp_path / "a.png", "plain", True)
