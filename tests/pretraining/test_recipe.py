"""Recipes: the papers' numbers, and what happens to wrong keys."""

from __future__ import annotations

import pytest
import yaml

from radiossl.images.views import PRESETS, Augmentation
from radiossl.io.errors import RadiosslError
from radiossl.pretraining.recipe import Recipe, read_recipe, recipe_names


def test_all_recipes_of_the_package_are_valid():
    assert {
        "simclr-hulk",
        "simclr-banner",
        "simclr-smart-hulk",
        "nnclr",
        "swav",
        "vicreg",
        "byol-2022",
        "byol-2024",
        "radiossl",
    } == set(recipe_names())
    for name in recipe_names():
        assert all(isinstance(stage, Recipe) for stage in read_recipe(name))


def test_simclr_recipes_have_the_numbers_of_riggi_2024_table_3():
    hulk, banner = read_recipe("simclr-hulk")[0], read_recipe("simclr-banner")[0]
    for recipe in (hulk, banner):
        assert recipe.method == "simclr"
        assert recipe.backbone.name == "resnet18"
        assert (recipe.head.hidden, recipe.head.output) == (256, 128)
        assert recipe.optimizer.name == "adam"
        assert recipe.optimizer.lr == 0.1
        assert recipe.batch_size == 128
        assert recipe.schedule.warmup_epochs == 10
        assert recipe.preprocessing.mode == "sigma-zscale"
        assert recipe.preprocessing.size == 224
    assert (hulk.schedule.epochs, banner.schedule.epochs) == (100, 500)
    assert hulk.augmentation.threshold_probability == 0.5
    assert banner.augmentation.threshold_probability == 0.0


def test_byol_2022_has_the_numbers_of_the_paper():
    recipe = read_recipe("byol-2022")[0]
    assert recipe.method == "byol"
    assert recipe.backbone.output_dim == 100
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.optimizer.momentum) == ("sgd", 0.6, 0.9)
    assert recipe.optimizer.weight_decay == 5e-4
    assert recipe.batch_size == 256
    assert (recipe.augmentation.blur_kernel, recipe.augmentation.blur_probability) == (3, 0.05)


def test_the_smart_recipe_is_hulk_then_banner():
    assert [stage.name for stage in read_recipe("simclr-smart-hulk")] == ["simclr-hulk", "simclr-banner"]


def test_a_preset_is_expanded_and_its_values_can_be_overridden():
    recipe = read_recipe("simclr-hulk", ["augmentation.blur_probability=0.3"])[0]
    expected = Augmentation(**(PRESETS["riggi2024-hulk"] | {"blur_probability": 0.3}))
    assert recipe.augmentation == expected


def test_the_resolved_yaml_gives_the_same_recipe(tmp_path):
    recipe = read_recipe("byol-2024", ["optimizer.lr=0.25", "where=rms < 2e-4"])[0]
    (tmp_path / "r.yaml").write_text(recipe.to_yaml())
    assert read_recipe(tmp_path / "r.yaml") == [recipe]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["optimizer.lrr=1"], r"unknown key 'optimizer.lrr'; did you mean 'optimizer.lr'"),
        (["batchsize=8"], r"unknown key 'batchsize'; did you mean 'batch_size'"),
        (["optimizer.lr=fast"], r"optimizer.lr: .*number"),
        (["augmentation.preset=hulk"], r"preset 'hulk' is unknown; there are riggi2024-hulk"),
        (["preprocessing.preset=hulk"], r"preprocessing.preset 'hulk' is unknown; there are imagenet"),
        (["method=dino"], r"method: .*'simclr', 'byol', 'nnclr', 'swav' or 'vicreg'"),
        (["batch_size"], r"expected KEY=VALUE"),
        (["batch_size=10", "accumulate=3"], r"cannot be split"),
        (["method.a=1"], r"method is not a section"),
    ],
)
def test_a_wrong_key_or_value_is_named(changes, message):
    with pytest.raises(RadiosslError, match=message) as error:
        read_recipe("simclr-hulk", changes)
    assert "\n" not in str(error.value)


def test_an_unknown_recipe_suggests_the_nearest():
    with pytest.raises(RadiosslError, match="did you mean simclr-hulk"):
        read_recipe("simclr-hulkk")


def test_yaml_that_is_none_or_would_run_code_is_refused(tmp_path):
    for text in ("[1, 2", "just words", "name: !!python/object/apply:os.system ['true']"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(RadiosslError, match=r"bad\.yaml"):
            read_recipe(tmp_path / "bad.yaml")


def test_a_recipe_that_is_a_stage_of_itself_is_refused(tmp_path):
    (tmp_path / "loop.yaml").write_text(yaml.safe_dump({"stages": [str(tmp_path / "loop.yaml")]}))
    with pytest.raises(RadiosslError, match="is a stage of itself"):
        read_recipe(tmp_path / "loop.yaml")


def test_stages_stand_alone(tmp_path):
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({"stages": ["simclr-hulk"], "batch_size": 3}))
    with pytest.raises(RadiosslError, match="no other key"):
        read_recipe(tmp_path / "two.yaml")


def test_recipes_of_one_survey_share_its_mean_and_sigma_with_imported_weights():
    from radiossl.weights.formats.presets import preset

    for name in ("byol-2022", "byol-2024"):
        assert read_recipe(name)[0].preprocessing == preset("slijepcevic2024")
        assert read_recipe(name, ["preprocessing.size=64"])[0].preprocessing.size == 64
