"""Building a batched set: the images of the paper, dealt out evenly."""

import csv
import json

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.stats import sigma_clipped_stats
from PIL import Image

from radiossl import RadiosslError
from radiossl.datasets.batches import deal_batches, read_batch
from radiossl.datasets.build import ImageRecipe, NoImageError, build_set, circle, image_8bit
from radiossl.datasets.mirabest import parse_name
from radiossl.datasets.published import import_set
from radiossl.survey.catalogue import Catalogue
from radiossl.survey.mosaic import Mosaic


def field(seed=0, side=300, sources=((150, 150), (170, 140)), noise=1e-4):
    """Noise with Gaussian sources at (x, y)."""
    y, x = np.indices((side, side))
    image = np.random.default_rng(seed).normal(0, noise, (side, side))
    for number, (x0, y0) in enumerate(sources):
        image += 0.01 / (1 + number) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 18)
    return image.astype(np.float32)


def literal_image(pixels, radius=75, cut=3):
    """The paper's steps, pixel by pixel where that is plain."""
    std = sigma_clipped_stats(pixels, sigma=3, maxiters=5)[2]
    image = np.zeros((150, 150), dtype=np.float32)
    inside = []
    for row in range(150):
        for column in range(150):
            value = pixels[row + 75, column + 75]
            if np.hypot(row - 75, column - 75) <= radius:
                image[row, column] = value if value > cut * std else 0
                inside.append((row, column))
    values = np.array([image[place] for place in inside])
    for place in inside:
        image[place] = (image[place] - values.min()) / (values.max() - values.min())
    # Pillow truncates when it makes 8-bit pixels of these.
    return np.array(Image.fromarray(image * np.float32(255)).convert("L"))


# Images ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_an_image_is_made_by_the_steps_of_the_paper(seed):
    pixels = field(seed, sources=((150, 150), (170, 140), (80, 80), (20, 200)))
    image = image_8bit(pixels)
    np.testing.assert_array_equal(image, literal_image(pixels))
    assert image.dtype == np.uint8
    assert (image.min(), image.max()) == (0, 255)
    assert image[75, 75] == 255  # the brighter source, in row and column 150 of the field
    assert image[65, 95] > 100
    assert image[5, 5] == 0  # beyond the mask


def test_the_median_is_not_added_to_the_noise():
    pixels = field() + np.float32(2e-4)
    np.testing.assert_array_equal(image_8bit(pixels), literal_image(pixels))
    # Two sigma of background lift the noise over the cut.
    assert (image_8bit(pixels) > 0).mean() > 0.1


def test_noise_is_that_of_the_whole_field():
    quiet = field()
    loud = quiet.copy()
    loud[:70] *= 30
    assert not np.array_equal(image_8bit(quiet), image_8bit(loud))


def test_masks():
    mask = circle(150, 75)
    # Centred on pixel 75, so that row 0 is touched once and the far corner is as far as the near one.
    assert mask[0].sum() == 1
    assert mask[0, 75]
    assert not mask[149, 149]
    recipe = ImageRecipe(mask="extent")
    assert [recipe.radius_px(extent) for extent in (1.0, 18.0, 19.0, 80.6, 1000.0)] == [1, 5, 6, 23, 75]
    assert recipe.radius_px(masked=False) == np.inf
    assert ImageRecipe(mask="none").radius_px() == np.inf
    pixels = field(sources=((150, 150), (180, 150)))
    np.testing.assert_array_equal(image_8bit(pixels, recipe, 23), literal_image(pixels, 23))
    with pytest.raises(RadiosslError, match="largest angular size"):
        recipe.radius_px(float("nan"))


def test_images_that_cannot_be_made():
    with pytest.raises(NoImageError, match="nothing above the noise"):
        image_8bit(np.zeros((300, 300), np.float32))
    pixels = field()
    pixels[:100] = np.nan
    with pytest.raises(NoImageError, match="incomplete"):
        image_8bit(pixels)


def test_a_blank_row_at_the_edge_counts_as_noise():
    pixels = field()
    pixels[:76] = np.nan
    assert (image_8bit(pixels)[0] == 0).all()
    with pytest.raises(NoImageError, match="incomplete"):
        image_8bit(pixels, ImageRecipe(max_blank=0))


@pytest.mark.parametrize(
    "numbers",
    [{"side_px": 301}, {"side_px": 0}, {"sigma": -1}, {"mask": "square"}, {"max_blank": 1}, {"pixel_arcsec": 0}],
)
def test_recipes_that_make_no_sense_are_refused(numbers):
    with pytest.raises(RadiosslError, match="expected"):
        ImageRecipe(**numbers)


# Batches --------------------------------------------------------------------------------------------------------------

PUBLISHED = ["FRI"] * 1006 + ["FRII"] * 997 + ["hybrid"] * 97


def test_batches_are_alike_in_size_and_classes():
    batch = deal_batches(PUBLISHED)
    assert np.bincount(batch).tolist() == [300] * 7
    for name in ("FRI", "FRII", "hybrid"):
        counts = np.bincount(batch[np.array(PUBLISHED) == name])
        assert counts.max() - counts.min() <= 1
    # The paper has at least 13 hybrids in each.
    assert np.bincount(batch[2003:]).min() == 13


@pytest.mark.parametrize(("classes", "batches"), [("aab", 3), ("abcdefgh", 3), ("a" * 10 + "b" * 3 + "c" * 8, 4)])
def test_small_sets_are_dealt_evenly_too(classes, batches):
    batch = deal_batches(list(classes), batches)
    sizes = np.bincount(batch, minlength=batches)
    assert sizes.max() - sizes.min() <= 1
    for name in set(classes):
        counts = np.bincount(batch[np.array(list(classes)) == name], minlength=batches)
        assert counts.max() - counts.min() <= 1


def test_the_seed_decides_who_goes_where():
    assert np.array_equal(deal_batches(PUBLISHED, seed=3), deal_batches(PUBLISHED, seed=3))
    assert not np.array_equal(deal_batches(PUBLISHED, seed=3), deal_batches(PUBLISHED, seed=4))


def test_some_sources_belong_into_the_last_batch():
    last = [0, 1, 1500, 2099]
    batch = deal_batches(PUBLISHED, last=last)
    assert (batch[last] == 6).all()
    assert (deal_batches(PUBLISHED)[last] != 6).any()
    assert np.bincount(batch).tolist() == [300] * 7
    assert np.bincount(batch[2003:]).min() == 13


def test_more_batches_than_sources_are_refused():
    with pytest.raises(RadiosslError, match="3 batches of 2 sources"):
        deal_batches(["a", "b"], 3)


# The set --------------------------------------------------------------------------------------------------------------


def write_fits(path, pixels, ra, dec):
    head = fits.Header()
    head["CTYPE1"], head["CTYPE2"], head["RADESYS"] = "RA---TAN", "DEC--TAN", "ICRS"
    head["CRVAL1"], head["CRVAL2"] = ra, dec
    head["CRPIX1"], head["CRPIX2"] = (pixels.shape[1] + 1) / 2, (pixels.shape[0] + 1) / 2
    head["CDELT1"], head["CDELT2"] = -0.0005, 0.0005
    head["BUNIT"] = "JY/BEAM"
    path.parent.mkdir(exist_ok=True)
    fits.PrimaryHDU(pixels, head).writeto(path)


def catalogue(places, labels, ids=None, **columns):
    ra, dec = np.array(places, dtype=float).T
    ids = np.array(ids or [f"{r:07.3f}_{d:+08.3f}" for r, d in places], dtype=object)
    table = pa.table({"name": ids.tolist(), "basic_label": labels, **columns})
    return Catalogue("sources.csv", ids, ra, dec, None, table)


PLACES = [(10.0 + index, 20.0) for index in range(6)]
LABELS = ["FRI", "FRII", "FRI", "hybrid", "FRII", "FRI"]


@pytest.fixture
def tiles(tmp_path):
    """Six images of one source each, 300 pixels wide; the sixth has no source."""
    for index, (ra, dec) in enumerate(PLACES):
        pixels = field(index, sources=((150, 150), (160 + index, 170)))
        write_fits(tmp_path / "tiles" / f"t{index}.fits", pixels if index < 5 else 0 * pixels, ra, dec)
    return tmp_path / "tiles"


def lines(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_set_is_built_and_read_again_as_published(tiles, tmp_path):
    parents = {"mirabest": [0, -1, 1, -1, 5, 3], "at17": [2, 1, -1, -1, -1, -1], "mbhybrid": [-1, -1, -1, 1, -1, -1]}
    sources = catalogue(
        [*PLACES, (50.0, 0.0), (np.nan, np.nan)],
        [*LABELS, "FRI", "FRI"],
        [*"ghijkl", "far", "x"],
        **{name: [*values, 0, 0] for name, values in parents.items()},
    )
    built = build_set([tiles], sources, tmp_path / "set", batches=2, test_only=["h"])
    assert built.images == 5
    assert built.classes == {"FRI": 2, "FRII": 2, "hybrid": 1}
    assert built.missing == {"nothing above the noise": 1, "outside": 1, "no position": 1}
    assert {line["id"]: line["reason"] for line in lines(tmp_path / "set" / "missing.csv")} == {
        "l": "nothing above the noise",
        "far": "outside",
        "x": "no position",
    }
    table = {line["id"]: line for line in lines(tmp_path / "set" / "labels.csv")}
    assert list(table) == list("ghijk")
    assert (table["h"]["batch"], table["h"]["split"]) == ("test_batch", "test")
    assert (table["g"]["mosaic"], table["g"]["field_fraction"], table["g"]["mirabest"]) == ("t0.fits", "1.0000", "0")
    for index, id_ in enumerate("ghijk"):
        with Image.open(tmp_path / "set" / table[id_]["file"]) as picture:
            np.testing.assert_array_equal(
                np.array(picture), literal_image(field(index, sources=((150, 150), (160 + index, 170))))
            )
    record = json.loads((tmp_path / "set" / "build.json").read_text())
    assert (record["recipe"]["field_px"], record["seed"], record["catalogue"]["sources"]) == (300, 0, 8)
    meta = read_batch(tmp_path / "set" / "batches" / "batches.meta")
    assert meta["label_names"] == ["FRI", "FRII", "hybrid"]
    assert (meta["num_vis"], meta["num_cases_per_batch"]) == (22500, 3)


def test_a_built_set_is_a_set_to_import(tiles, tmp_path):
    sources = catalogue(
        PLACES[:5], LABELS[:5], mirabest=[0, -1, 1, -1, 5], at17=[2, 1, -1, -1, -1], mbhybrid=[-1, -1, -1, 1, -1],
        new=[7, -1, -1, -1, -1], parents=["mirabest,at17,new", "at17", "mirabest", "mbhybrid", "mirabest"],
    )  # fmt: skip
    build_set([tiles], sources, tmp_path / "set", batches=2)
    imported = import_set("crumb", tmp_path / "set" / "batches", tmp_path / "store")
    store = imported.store
    rows = {name: row for row, name in enumerate(store.column("cutout_id"))}
    assert set(rows) == {f"{ra:07.3f}_{dec:+08.3f}" for ra, dec in PLACES[:5]}
    first = rows["010.000_+020.000"]
    assert [store.column(name)[first] for name in ("mirabest", "frdeep", "at17", "mbhybrid", "new")] == [
        0,
        -1,
        2,
        -1,
        7,
    ]
    assert [store.column("basic_label")[rows[f"{ra:07.3f}_+020.000"]] for ra, _ in PLACES[:5]] == LABELS[:5]
    # The second source is above the first in the sky, and in a later row.
    pixels = store.pixels(first)
    assert pixels[95, 85] > 0
    assert pixels[55, 85] == 0
    assert not any(remark[0].isdigit() for remark in imported.remarks)  # no count of odd labels


def test_a_source_is_cut_where_it_is_farthest_from_an_edge(tmp_path):
    sky = field(sources=((250, 150),))
    write_fits(tmp_path / "tiles" / "a.fits", sky, 10.0, 0.0)
    # Nearly the same sky, 100 pixels farther west: the source is at its centre.
    write_fits(tmp_path / "tiles" / "b.fits", field(1), 10.0 - 100 * 0.0005, 0.0)
    # The source is at pixel 150, half a pixel from the centre of 300.
    sources = catalogue([(10.0 - 100.5 * 0.0005, 0.0 + 0.5 * 0.0005)], ["FRI"])
    build_set([tmp_path / "tiles"], sources, tmp_path / "set", batches=1)
    assert lines(tmp_path / "set" / "labels.csv")[0]["mosaic"] == "b.fits"


def test_sources_may_be_exempt_from_the_mask(tmp_path):
    pixels = field(sources=((150, 150), (77, 77)))
    write_fits(tmp_path / "tiles" / "a.fits", pixels, 10.0, 0.0)
    sources = catalogue([(10.0, 0.0)], ["FRI"])
    corners = {}
    for name, unmasked in (("masked", ()), ("unmasked", sources.ids)):
        build_set([tmp_path / "tiles"], sources, tmp_path / name, batches=1, unmasked=unmasked)
        with Image.open(tmp_path / name / lines(tmp_path / name / "labels.csv")[0]["file"]) as picture:
            corners[name] = np.array(picture)[:5, :5].max()
    assert corners["masked"] == 0
    assert corners["unmasked"] > 100


def test_what_cannot_be_built_is_refused(tiles, tmp_path):
    with pytest.raises(RadiosslError, match="no column 'kind'"):
        build_set([tiles], catalogue(PLACES, LABELS), tmp_path / "set", label="kind")
    with pytest.raises(RadiosslError, match="none of 1 source lies on the 6"):
        build_set([tiles], catalogue([(100.0, -20.0)], ["FRI"]), tmp_path / "set")
    with pytest.raises(RadiosslError, match="no source has a position and a label"):
        build_set([tiles], catalogue(PLACES, [None] * 6), tmp_path / "set")
    with pytest.raises(RadiosslError, match=r"no source has an image \(1 nothing above the noise"):
        build_set([tiles], catalogue(PLACES[5:], LABELS[5:]), tmp_path / "set")
    with pytest.raises(RadiosslError, match="7 batches of 5 sources"):
        build_set([tiles], catalogue(PLACES, LABELS), tmp_path / "set")
    with pytest.raises(RadiosslError, match="complete labels are whole numbers"):
        build_set([tiles], catalogue(PLACES, LABELS, mirabest=list("abcdef")), tmp_path / "set")
    with pytest.raises(RadiosslError, match="largest angular sizes"):
        build_set([tiles], catalogue(PLACES, LABELS), tmp_path / "set", recipe=ImageRecipe(mask="extent"))
    with pytest.raises(RadiosslError, match="two sources would have the picture"):
        build_set([tiles], catalogue(PLACES, LABELS, ["a/b", "a:b", *"cdef"]), tmp_path / "set", batches=2)
    assert not (tmp_path / "set").exists()


# Real images ----------------------------------------------------------------------------------------------------------


def official(real_data):
    """Images of MiraBest by rounded position."""
    found = {}
    for number in range(1, 8):
        batch = read_batch(real_data / "mirabest" / "F_batches" / f"data_batch_{number}")
        for name, image in zip(batch["filenames"], batch["data"], strict=True):
            facts = parse_name(name)
            found[facts.ra_deg, facts.dec_deg] = np.asarray(image).reshape(150, 150)
    return found


def tile_centre(mosaic):
    ra, dec = mosaic.pixel_to_sky(149.5, 149.5)
    return float(ra), float(dec)


def pairs(real_data, files):
    """Our images and the official ones of the same sources."""
    images = official(real_data)
    places = np.array(list(images))
    found = []
    for file in files:
        with Mosaic.open(file) as mosaic:
            ra, dec = tile_centre(mosaic)
            offset = np.hypot((places[:, 0] - ra) * np.cos(np.radians(dec)), places[:, 1] - dec)
            if offset.min() < 0.001:
                found.append((image_8bit(mosaic.read(0, 0, 300, 300)), images[tuple(places[offset.argmin()])]))
    return found


def test_images_of_untouched_first_files_equal_the_official_ones(real_data):
    found = pairs(real_data, sorted((real_data / "first" / "raw_headers").glob("*.fits")))
    assert len(found) >= 10
    for ours, theirs in found:
        np.testing.assert_array_equal(ours, theirs)


def test_images_of_compressed_first_files_are_as_near_as_the_compression_allows(real_data):
    found = pairs(real_data, sorted((real_data / "first" / "tiles").glob("*.fits.fz"))[::20])
    assert len(found) >= 50
    correlations = [np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] for ours, theirs in found]
    assert np.median(correlations) > 0.999
    assert np.mean([(ours == theirs).mean() for ours, theirs in found]) > 0.99
