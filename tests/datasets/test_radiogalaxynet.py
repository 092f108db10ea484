"""RadioGalaxyNET: the 16-bit radio image, outlines in its pixels, labels and splits."""

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from radiossl import RadiosslError
from radiossl.datasets.published import import_set, published_set
from radiossl.datasets.radiogalaxynet import RadioGalaxyNetOptions, declination_of_name
from radiossl.store.statistics import Noise

CLASSES = [{"id": 1, "name": "FR-II"}, {"id": 2, "name": "FR-I"}]


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3)).astype(np.uint8)


def instance(image_id, category_id):
    outline = [[4.0, 2.5, 6.0, 2.5, 5.0, 4.5]]
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [4.0, 2.5, 2.0, 2.0],
        "area": 3.0,
        "segmentation": outline,
        "keypoints": [5, 3, 2],
        "iscrowd": 0,
    }


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "set"
    (folder / "annotations").mkdir(parents=True)
    names = {"train": ["533454_1.png", "000001_2.png", "524425_3.png"], "val": ["533454_1.png"]}
    objects = {"train": [instance(1, 1), instance(1, 1), instance(2, 1), instance(2, 2)], "val": [instance(1, 2)]}
    for split, files in names.items():
        (folder / split).mkdir()
        images = [{"id": i, "file_name": name, "height": 20, "width": 30} for i, name in enumerate(files, start=1)]
        for image in images:
            Image.fromarray(picture(image["id"])).save(folder / split / image["file_name"])
        content = {"images": images, "categories": CLASSES, "annotations": objects[split]}
        (folder / "annotations" / f"{split}.json").write_text(json.dumps(content))
    return folder


def test_green_and_blue_are_the_bytes_of_one_image_with_its_rows_as_they_are(source, tmp_path):
    store = import_set("radiogalaxynet", source, tmp_path / "store").store
    expected = 256.0 * picture(1)[..., 2] + picture(1)[..., 1]
    np.testing.assert_array_equal(store.pixels(0), expected)
    assert set(store.column("unit")) == {"16-bit"}
    assert set(store.column("pixel_scale_arcsec")) == {2.0}


@pytest.mark.parametrize(("channel", "index"), [("blue", 2), ("red", 0)])
def test_single_channels(source, tmp_path, channel, index):
    store = import_set("radiogalaxynet", source, tmp_path / "store", options={"channel": channel}).store
    np.testing.assert_array_equal(store.pixels(1), picture(2)[..., index])


def test_labels_splits_and_objects(source, tmp_path):
    imported = import_set("radiogalaxynet", source, tmp_path / "store")
    store = imported.store
    assert store.table["label"].to_pylist() == ["FR-II", "several", None, "FR-I"]
    assert store.column("split").tolist() == ["train", "train", "train", "valid"]
    assert store.column("n_instances").tolist() == [2, 2, 0, 1]
    assert len(set(store.column("cutout_id"))) == 4
    objects = json.loads(store.column("instances")[1])
    assert [entry["category"] for entry in objects] == ["FR-II", "FR-I"]
    kept = {key: value for key, value in instance(2, 2).items() if key in ("bbox", "area", "segmentation", "keypoints")}
    assert {**kept, "category": "FR-I"} == objects[1]
    assert np.isnan(store.column("ra_deg")).all()
    assert imported.remarks[-1] == "the split test is not in this folder"


def test_objects_are_cut_out_in_boxes_with_blanks_beyond_the_image(source, tmp_path):
    store = import_set("radiogalaxynet", source, tmp_path / "store", options={"cutouts": "objects"}).store
    assert list(store.column("cutout_id"))[:3] == [f"train_533454_1_{n}" for n in (0, 1)] + ["train_000001_2_0"]
    assert list(store.column("label"))[2:4] == ["FR-II", "FR-I"]
    assert set(store.column("n_instances")) == {1}
    whole = 256.0 * picture(1)[..., 2] + picture(1)[..., 1]
    box = store.pixels(0)
    assert box.shape == (32, 32)
    # The object's box is 4.0 to 6.0 by 2.5 to 4.5 pixels, whose centre is the pixel 4.5, 3: the middle of 32.
    assert (store.column("x")[0], store.column("y")[0]) == (4.5, 2.5)
    finite = np.isfinite(box)
    assert finite.sum() == 19 * 21
    np.testing.assert_array_equal(box[finite].reshape(19, 21), whole[:19, :21])
    assert finite[13:, 11:].sum() == 19 * 21
    assert store[0].noise == Noise.of(whole.astype(np.float32))  # that of the image, not of the object


def test_selections(source, tmp_path):
    chosen = import_set("radiogalaxynet", source, tmp_path / "store", select="one-class").store
    assert chosen.column("label").tolist() == ["FR-II", "FR-I"]


def test_file_names_begin_with_the_declination():
    assert declination_of_name("533454_1.png") == pytest.approx(-(53 + 34 / 60 + 54 / 3600))
    assert declination_of_name("image_1.png") is None
    assert declination_of_name("537054_1.png") is None


def test_damage_is_named(source, tmp_path):
    (source / "val" / "533454_1.png").write_bytes(b"no picture")
    with pytest.raises(RadiosslError, match=r"533454_1\.png: not a readable picture"):
        import_set("radiogalaxynet", source, tmp_path / "store")
    Image.fromarray(picture(0)[..., 0]).save(source / "val" / "533454_1.png")
    with pytest.raises(RadiosslError, match="a picture of mode L, expected the three channels"):
        import_set("radiogalaxynet", source, tmp_path / "b")
    with pytest.raises(RadiosslError, match=r"no annotations/train\.json in there"):
        import_set("radiogalaxynet", tmp_path, tmp_path / "c")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": []}, "not the COCO annotations of RadioGalaxyNET"),
        ({"images": [], "categories": CLASSES, "annotations": [instance(7, 1)]}, "objects of image 7"),
        ({"images": [{"id": 1, "file_name": "a.png", "height": 1, "width": 1}], "categories": CLASSES,
          "annotations": [instance(1, 9)]}, "not the COCO annotations"),
    ],
)  # fmt: skip
def test_damaged_annotations_are_named(source, tmp_path, content, message):
    (source / "annotations" / "train.json").write_text(json.dumps(content))
    with pytest.raises(RadiosslError, match=rf"train\.json: {message}"):
        import_set("radiogalaxynet", source, tmp_path / "store")


def test_counts_of_the_published_set(real_data, tmp_path):
    dataset, options = published_set("radiogalaxynet"), RadioGalaxyNetOptions()
    source = real_data / "radiogalaxynet"
    parts = dataset.reader.parts(source, options)
    assert sum(int(p.split(":")[2]) - int(p.split(":")[1]) for p in parts if p.startswith("train")) == 1959
    assert sum(int(p.split(":")[2]) - int(p.split(":")[1]) for p in parts if p.startswith("val")) == 420
    validation = [c for p in parts if p.startswith("val") for c in dataset.reader.read(source, p, options)]
    assert sum(cutout.extra["n_instances"] for cutout in validation) == 631
    labels = Counter(cutout.extra["label"] for cutout in validation)
    assert labels == {"FR-II": 136, "R": 81, "FR-X": 44, "FR-I": 35, "several": 124}


def test_real_outlines_lie_on_the_sources(real_data):
    dataset, options = published_set("radiogalaxynet"), RadioGalaxyNetOptions()
    inside, mirrored = [], []
    for cutout in dataset.reader.read(real_data / "radiogalaxynet", "val:0:60", options):
        bright = cutout.pixels > 0
        for entry in json.loads(cutout.extra["instances"]):
            for outline in entry["segmentation"]:
                corners = np.array(outline).reshape(-1, 2).astype(int)
                inside.append(bright[corners[:, 1], corners[:, 0]].mean())
                mirrored.append(bright[::-1][corners[:, 1], corners[:, 0]].mean())
    assert np.mean(inside) > 0.4  # an outline runs along the edge of what is above the noise
    assert np.mean(inside) > 2 * np.mean(mirrored)


def test_sixteen_bits_are_smooth_where_eight_have_steps(real_data):
    """Structure far below the beam, in units of the upper byte."""
    dataset = published_set("radiogalaxynet")
    rough = {}
    for channel, unit in {"radio": 256, "blue": 1}.items():
        values = []
        for cutout in dataset.reader.read(
            real_data / "radiogalaxynet", "val:0:4", RadioGalaxyNetOptions(channel=channel)
        ):
            image = cutout.pixels / unit
            boxes = np.lib.stride_tricks.sliding_window_view(image, (5, 5))
            smooth = (boxes.min(axis=(2, 3)) > 8) & (boxes.max(axis=(2, 3)) < 255)
            values.append(np.abs(np.diff(np.diff(image, n=4, axis=0), n=4, axis=1)[smooth]))
        rough[channel] = np.median(np.concatenate(values))
    assert rough["radio"] < 0.1 * rough["blue"]
