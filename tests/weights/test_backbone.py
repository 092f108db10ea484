"""Released backbones: what is saved is what is loaded, by us and by timm, and nothing else is."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import radiossl
from radiossl import RadiosslError, load_backbone
from radiossl.features.embedding import embed_images
from radiossl.images.preprocess import Preprocessing
from radiossl.store.cutout import Cutout
from radiossl.store.statistics import Noise, PixelStatistics
from radiossl.survey.image_file import read_image
from radiossl.weights import backbone as released
from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone, save_backbone
from radiossl.weights.config import BackboneConfig, TrainingSky


@pytest.fixture
def images(sky):
    return [sky(seed, shape) for seed, shape in enumerate([(32, 32), (40, 24), (50, 50)])]


@pytest.fixture
def folder(tmp_path, tiny_backbone):
    save_backbone(tmp_path / "weights", tiny_backbone.network, tiny_backbone.config)
    return tmp_path / "weights"


def make(seed=0, architecture=None, **preprocessing):
    return Backbone.random(architecture or Architecture(), Preprocessing(**{"size": 32} | preprocessing), seed)


def refused(folder, *words):
    with pytest.raises(RadiosslError) as caught:
        load_backbone(folder)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(folder), *words):
        assert word in message


def edit_config(folder, change):
    (folder / ".checksums.json").unlink(missing_ok=True)  # as somebody who edits it knowingly does
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def bytes_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# Round trip -----------------------------------------------------------------------------------------------------------

VARIANTS = {
    "plain": {},
    "one channel": {"mode": "min-max", "mean": 0.008, "std": 0.053},
    "floor": {"mode": "floor-stretch", "floor_sigma": 4.0, "field_px": 28, "views": 8},
    "small stem": {"architecture": Architecture(stem="small")},
    "output layer": {"architecture": Architecture(output_dim=100), "mode": "min-max"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_saved_is_what_is_loaded(tmp_path, images, name):
    backbone = make(3, **VARIANTS[name])
    config = BackboneConfig(
        backbone.config.architecture,
        backbone.config.preprocessing,
        {"name": "x", "method": "simclr"},
        [{"store": "s", "cutouts": 5}],
        {"knn": 0.5},
    )
    save_backbone(tmp_path / "b", backbone.network, config)
    loaded = load_backbone(tmp_path / "b")
    assert loaded.config == config
    assert loaded.name == str(tmp_path / "b")
    assert not loaded.training
    torch.testing.assert_close(loaded.features(images), backbone.features(images), rtol=0, atol=0)
    assert loaded.features(images).shape == (3, loaded.feature_dim)


def test_trained_state_of_the_batch_norms_is_saved(tmp_path, images, sky):
    backbone = make()
    backbone.network.train()(torch.rand(8, 3, 32, 32))
    backbone.network.eval()
    save_backbone(tmp_path / "b", backbone.network, backbone.config)
    torch.testing.assert_close(
        load_backbone(tmp_path / "b").features(images), backbone.features(images), rtol=0, atol=0
    )


@pytest.mark.parametrize("options", [{}, {"num_classes": 0}])
def test_timm_loads_it(folder, images, tiny_backbone, options):
    import timm

    network = timm.create_model(f"local-dir:{folder}", pretrained=True, **options).eval()
    with torch.inference_mode():
        features = network(tiny_backbone.preprocess(images))
    torch.testing.assert_close(features, tiny_backbone.features(images), rtol=1e-5, atol=1e-6)


def test_others_may_read_what_was_saved(folder):
    (folder.parent / "plain").write_text("")
    usual = (folder.parent / "plain").stat().st_mode
    assert {file.name: file.stat().st_mode for file in folder.iterdir() if file.stat().st_mode != usual} == {}


def test_timm_knows_the_input(tmp_path):
    import timm
    from timm.data import resolve_model_data_config

    backbone = make(mean=0.25, std=0.5)
    save_backbone(tmp_path / "b", backbone.network, backbone.config)
    data = resolve_model_data_config(timm.create_model(f"local-dir:{tmp_path / 'b'}", pretrained=True))
    assert [list(data[key]) for key in ("input_size", "mean", "std")] == [[3, 32, 32], [0.25] * 3, [0.5] * 3]


def test_the_config_says_what_the_weights_are(folder):
    import hashlib

    config = json.loads((folder / "config.json").read_text())
    assert (config["architecture"], config["num_features"]) == ("resnet18", 512)
    assert config["radiossl"]["version"] == radiossl.__version__
    assert config["radiossl"]["preprocessing"]["mode"] == "sigma-zscale"
    assert config["radiossl"]["sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert load_backbone(folder).sha256 == config["radiossl"]["sha256"]


def test_the_card_tells_how_to_use_it(tmp_path, tiny_backbone):
    config = BackboneConfig(
        Architecture(), Preprocessing(size=32, field_px=80, views=8), {"name": "hulk", "method": "simclr"},
        [{"store": "first", "cutouts": 1099}], {"knn": 0.81},
    )  # fmt: skip
    save_backbone(tmp_path / "mine", tiny_backbone.network, config)
    card = (tmp_path / "mine" / "README.md").read_text()
    for words in (
        "# mine",
        'load_backbone("mine")',
        "(1, 512)",
        "3 x 32 x 32",
        "central 80",
        "8 flips",
        "hulk",
        "0.81",
    ):
        assert words in card
    assert "first: 1099 cutouts" in card


def test_identity_follows_the_numbers(tiny_backbone):
    config = tiny_backbone.config
    one, two = (Backbone.random(config.architecture, config.preprocessing, seed) for seed in (1, 2))
    assert one.identity != two.identity
    assert one.identity == Backbone.random(config.architecture, config.preprocessing, 1).identity
    assert one.identity != one.adapted(views=8).identity


# Using it -------------------------------------------------------------------------------------------------------------


def test_every_kind_of_input_gives_the_same_features(tmp_path, sky, tiny_backbone):
    from astropy.io import fits

    image = sky(0, (40, 40), 2)
    np.save(tmp_path / "a.npy", image)
    fits.PrimaryHDU(image).writeto(tmp_path / "a.fits")
    expected = tiny_backbone.features(image)
    assert expected.shape == (1, 512)
    kinds = [
        torch.from_numpy(image), image.astype(np.float64), [image], image[None], torch.from_numpy(image)[None],
        tmp_path / "a.npy", str(tmp_path / "a.fits"), [tmp_path / "a.fits"],
    ]  # fmt: skip
    for kind in kinds:
        torch.testing.assert_close(tiny_backbone.features(kind), expected, rtol=0, atol=1e-6)
    mixed = tiny_backbone.features([image, tmp_path / "a.npy", sky(1, (20, 30))])
    torch.testing.assert_close(mixed[:2], expected.expand(2, -1), rtol=1e-5, atol=1e-6)


def test_a_store_is_embedded_as_elsewhere(small_store, tiny_backbone):
    expected = torch.from_numpy(embed_images(tiny_backbone, small_store))
    for source in (small_store, small_store.paths[0]):
        torch.testing.assert_close(tiny_backbone.features(source, batch_size=7), expected, rtol=1e-4, atol=1e-5)


def test_cutouts_are_seen_with_the_noise_of_the_sky_around_them(store_of, sky):
    backbone = make(mode="floor-stretch")
    images = [sky(seed, (24, 24), 3) for seed in range(3)]
    alone = backbone.features(images)
    around = [Noise(float(np.median(image)), PixelStatistics.of(image).rms / 3) for image in images]
    known = enumerate(zip(images, around, strict=True))
    store = store_of([Cutout.whole_image(f"c{row}", image, "", **noise._asdict()) for row, (image, noise) in known])
    expected = torch.from_numpy(embed_images(backbone, store))
    assert (expected - alone).abs().amax(dim=1).min() > 1e-3
    torch.testing.assert_close(backbone.features(store), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(backbone.features(store[1]), expected[1:2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(backbone.features([store[2], images[0]]), torch.cat([expected[2:], alone[:1]]))


def test_it_says_what_it_is(tmp_path, folder):
    backbone = load_backbone(folder)
    assert repr(backbone) == f"<Backbone {folder}: resnet18, 512 features, sigma-zscale images of 3 x 32 x 32>"


def test_preprocess_is_what_the_features_are_made_from(images, tiny_backbone):
    prepared = tiny_backbone.preprocess(images)
    torch.testing.assert_close(prepared, Preprocessing(size=32).of_arrays(images), rtol=0, atol=0)
    with torch.inference_mode():
        torch.testing.assert_close(tiny_backbone(prepared), tiny_backbone.features(images), rtol=0, atol=0)


def test_a_backbone_stays_in_evaluation_mode(folder, images):
    """In training mode batch norms would answer for the batch instead of the image, and forget what they learnt."""
    for backbone in (make(), load_backbone(folder)):
        assert not backbone.training
        backbone.features(images)
        assert not any(module.training for module in backbone.modules())


def test_features_do_not_depend_on_the_mode_and_do_not_change_it(images):
    backbone = make()
    expected = backbone.features(images)
    backbone.train()
    torch.testing.assert_close(backbone.features(images), expected, rtol=0, atol=0)
    assert backbone.training
    assert backbone.network.training


def test_a_blank_image_has_finite_features(tiny_backbone):
    assert torch.isfinite(tiny_backbone.features(np.full((30, 30), np.nan))).all()


def test_features_of_a_real_tile(real_data, tiny_backbone):
    tile = min((real_data / "first" / "tiles").glob("*.fits.fz"))
    torch.testing.assert_close(tiny_backbone.features(tile), tiny_backbone.features(read_image(tile)), rtol=0, atol=0)


# Random weights -------------------------------------------------------------------------------------------------------


def weights_of(backbone):
    return torch.cat([parameter.flatten() for parameter in backbone.parameters()])


def test_random_weights_follow_from_the_seed_alone():
    torch.manual_seed(5)
    first = weights_of(make(1))
    torch.manual_seed(6)
    torch.testing.assert_close(weights_of(make(1)), first, rtol=0, atol=0)
    assert not torch.equal(weights_of(make(2)), first)


def test_random_weights_leave_every_generator_alone(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    make(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
    assert not seeded


# Refusals -------------------------------------------------------------------------------------------------------------


def test_a_training_is_not_lost_for_want_of_a_coverage_map(tmp_path, tiny_backbone, monkeypatch):
    monkeypatch.setitem(sys.modules, "mocpy", None)
    place = TrainingSky(np.array([150.0]), np.array([2.0]), np.array([30.0], np.float32))
    config = dataclasses.replace(tiny_backbone.config, sky=place)
    with pytest.warns(UserWarning, match="training_sky.moc.fits is not written, since mocpy is not installed"):
        save_backbone(tmp_path / "backbone", tiny_backbone.network, config)
    assert load_backbone(tmp_path / "backbone").config.sky.ra_deg.tolist() == [150.0]


def test_missing_folder(tmp_path):
    refused(tmp_path / "nothing", "no such backbone", "model.safetensors")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    refused(folder, name, "no such file")


@pytest.mark.parametrize("kept", [0, 100, 20_000_000])
def test_truncated_weights(folder, kept):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    refused(folder, "damaged or cut short")


def test_truncated_config(folder):
    (folder / "config.json").write_text((folder / "config.json").read_text()[:200])
    refused(folder, "config.json", "not a readable JSON file")


def test_config_of_another_program(folder):
    edit_config(folder, lambda config: config.pop("radiossl"))
    refused(folder, "config.json", "no 'radiossl' section")
    (folder / "config.json").write_text("[]")
    refused(folder, "config.json", "no 'radiossl' section")


def test_config_with_unknown_or_missing_parts(folder):
    edit_config(folder, lambda config: config["radiossl"]["preprocessing"].update(stretch=2))
    refused(folder, "config.json", "newer radiossl", "stretch")
    edit_config(folder, lambda config: config["radiossl"].pop("preprocessing"))
    refused(folder, "config.json", "newer radiossl", "preprocessing")


def test_other_weights_than_the_config_describes(folder):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["conv1.weight"] = tensors["conv1.weight"] + 1e-3
    save_file(tensors, file, metadata={"format": "pt"})
    refused(folder, "model.safetensors", "sha256 differs")


def change_shape(tensors):
    tensors["layer2.0.conv1.weight"] = torch.zeros(1, 2)


def remove(tensors):
    del tensors["layer3.1.bn2.bias"]


def add(tensors):
    tensors["layer5.0.conv1.weight"] = torch.zeros(1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_shape, ["layer2.0.conv1.weight has shape (1, 2), expected (128, 64, 3, 3)"]),
        (remove, ["layer3.1.bn2.bias is missing"]),
        (add, ["layer5.0.conv1.weight is not part of it"]),
    ],
)
def test_weights_of_another_architecture(folder, change, words):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    refused(folder, "weights of another architecture than resnet18", *words)


def test_weights_for_other_channels(folder):
    edit_config(folder, lambda config: config["radiossl"]["preprocessing"].update(mode="min-max"))
    refused(folder, "conv1.weight has shape (64, 3, 7, 7), expected (64, 1, 7, 7)")


# Interrupted saves ----------------------------------------------------------------------------------------------------


def test_saving_replaces_an_older_backbone(folder, images):
    newer = make(9)
    save_backbone(folder, newer.network, newer.config)
    torch.testing.assert_close(load_backbone(folder).features(images), newer.features(images), rtol=0, atol=0)
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]


@pytest.mark.parametrize("step", ["config.write_json", "backbone.write_text"])
def test_an_interrupted_save_leaves_the_old_folder_whole(folder, monkeypatch, step):
    before = bytes_of(folder)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"radiossl.weights.{step}", interrupted)
    newer = make(9)
    with pytest.raises(KeyboardInterrupt):
        save_backbone(folder, newer.network, newer.config)
    assert bytes_of(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]
    load_backbone(folder)


def test_an_interrupted_first_save_leaves_nothing(tmp_path, tiny_backbone, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(released, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_backbone(tmp_path / "b", tiny_backbone.network, tiny_backbone.config)
    assert list(tmp_path.iterdir()) == []


def test_one_picture_in_colours_is_one_image_and_what_is_masked_is_blank(tiny_backbone):
    colours = np.random.default_rng(0).uniform(size=(40, 50, 3)).astype("f4")
    images = tiny_backbone.preprocess(colours)
    assert len(images) == 1
    torch.testing.assert_close(images, tiny_backbone.preprocess(colours.mean(axis=2)))
    grey, mask = colours[:, :, 0], colours[:, :, 1] > 0.5
    blank = np.where(mask, np.nan, grey)
    torch.testing.assert_close(tiny_backbone.preprocess(np.ma.array(grey, mask=mask)), tiny_backbone.preprocess(blank))
    with pytest.raises(RadiosslError, match=r"array of shape \(4, 5, 6\), expected numbers \(height, width\)"):
        tiny_backbone.preprocess([np.zeros((4, 5, 6))])
