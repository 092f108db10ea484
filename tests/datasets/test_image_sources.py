"""Whatever people point at becomes cutouts that keep their place on the sky."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table
from PIL import Image

from radiossl import RadiosslError, open_store
from radiossl.datasets.image_sources import list_images, open_images
from radiossl.survey.catalogue import read_catalogue


def fits_image(path, ra, dec=5.0, side=24, **cards):
    """A FITS image whose middle is at a position, of pixels of 2 x 2 arcsec with a beam."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"], header["CRVAL1"], header["CRVAL2"] = "RA---SIN", "DEC--SIN", ra, dec
    header["CRPIX1"] = header["CRPIX2"] = (side + 1) / 2
    header["CDELT1"], header["CDELT2"], header["BUNIT"] = -2 / 3600, 2 / 3600, "Jy/beam"
    header["BMAJ"], header["BMIN"], header["BPA"] = 6 / 3600, 4 / 3600, 20.0
    pixels = np.random.default_rng(int(ra)).normal(size=(side, side)).astype("f4")
    fits.PrimaryHDU(pixels, header).writeto(path)
    return pixels


@pytest.fixture
def folder(tmp_path):
    fits_image(tmp_path / "in" / "FRI" / "a.fits", 10.0)
    fits_image(tmp_path / "in" / "FRII" / "b.fits.gz", 11.0)
    return tmp_path / "in"


def check(store, count=2):
    """Positions, pixel size, unit and beam of the images of `fits_image`."""
    assert len(store) == count
    np.testing.assert_allclose(store.column("ra_deg"), [10.0, 11.0][:count], atol=1e-9)
    np.testing.assert_allclose(store.column("dec_deg"), 5.0)
    for name, value in (("pixel_scale_arcsec", 2), ("pixel_width_arcsec", 2), ("beam_major_arcsec", 6)):
        np.testing.assert_allclose(store.column(name), value)
    assert set(store.column("unit")) == {"Jy/beam"}


def test_a_store_stays_as_it_is(small_store):
    assert open_images(small_store) is small_store
    assert len(open_images(small_store.paths[0])) == len(small_store)


def test_a_folder_of_fits_files_with_classes(folder):
    store = open_images(folder)
    check(store)
    assert store.column("label").tolist() == ["FRI", "FRII"]
    assert store.paths == ()
    np.testing.assert_array_equal(store.pixels(0), fits.getdata(folder / "FRI" / "a.fits"))


def test_files_lists_and_patterns(folder):
    check(open_images(str(folder / "FRI" / "a.fits")), count=1)
    check(open_images([folder / "FRI" / "a.fits", folder / "FRII" / "b.fits.gz"]))
    store = open_images(str(folder / "*" / "*.fits*"))
    check(store)
    assert store.column("cutout_id").tolist() == ["a.fits", "b.fits.gz"]


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for name in "xy":
        fits_image(tmp_path / name / "a.fits", 10.0)
    files = list_images(str(tmp_path / "*" / "a.fits"))
    assert files.ids == (str(tmp_path / "x" / "a.fits"), str(tmp_path / "y" / "a.fits"))


def test_what_is_known_before_the_pixels_are_read(folder):
    (folder / "t.csv").write_text("file,kind\nFRI/a,x\nFRII/b.fits.gz,y\n")
    files = list_images(folder / "t.csv")
    table, store = files.table, open_images(folder / "t.csv")
    for name in ("cutout_id", "ra_deg", "dec_deg", "pixel_scale_arcsec", "unit", "beam_major_arcsec", "kind"):
        assert table.column(name).to_pylist() == store.table.column(name).to_pylist()
    assert table.column("file").to_pylist() == [str(path) for path in files.paths]


@pytest.mark.parametrize("form", ["csv", "frame", "astropy", "arrow"])
def test_tables_that_name_files(tmp_path, folder, form):
    Image.new("L", (8, 8), 3).save(folder / "c.png")
    names = ["FRI/a", "c.png"] if form == "csv" else [str(folder / "FRI" / "a.fits"), str(folder / "c.png")]
    columns = {"file": names, "RA": ["", "00:48:00"], "DEC": ["", "+05:30:00"], "kind": ["x", "007"]}
    frame = pd.DataFrame(columns | {"pixel_scale_arcsec": [np.nan, 1.5]})
    if form == "csv":
        frame.to_csv(folder / "t.csv", index=False)
    source = {
        "csv": lambda: folder / "t.csv",
        "frame": lambda: frame,
        "astropy": lambda: Table.from_pandas(frame),
        "arrow": lambda: pa.Table.from_pandas(frame),
    }[form]()
    store = open_images(source)
    assert store.column("kind").tolist() == ["x", "007"]
    np.testing.assert_allclose(store.column("ra_deg"), [10.0, 12.0])
    np.testing.assert_allclose(store.column("dec_deg"), [5.0, 5.5])
    np.testing.assert_allclose(store.column("pixel_scale_arcsec"), [2.0, 1.5])


@pytest.mark.parametrize("form", ["file", "frame", "catalogue"])
def test_a_catalogue_beside_mosaics(tmp_path, form):
    fits_image(tmp_path / "m.fits", 10.0, side=100)
    frame = pd.DataFrame({"name": ["007", "out"], "ra": [10.01, 90.0], "dec": [5.0, 0.0], "las": [10.0, 10.0]})
    Table.from_pandas(frame).write(tmp_path / "c.vot", format="votable")
    source = {"file": tmp_path / "c.vot", "frame": frame, "catalogue": read_catalogue(frame)}[form]
    store = open_images(source, tmp_path / "m.fits", size=20)
    assert store.column("cutout_id").tolist() == ["007"]
    np.testing.assert_allclose(store.column("ra_deg"), 10.01)
    assert store.shapes.tolist() == [[20, 20]]
    assert open_images(source, [tmp_path / "m.fits"], box_factor=2.0, min_size=8).shapes.tolist() == [[10, 10]]


def test_a_catalogue_needs_mosaics(tmp_path):
    frame = pd.DataFrame({"name": ["a"], "ra": [10.0], "dec": [5.0]})
    with pytest.raises(RadiosslError, match="give the mosaics that show its sources as well"):
        open_images(frame)
    with pytest.raises(RadiosslError, match="table: is a catalogue; give the mosaics"):
        open_images(read_catalogue(frame))
    Table.from_pandas(frame).write(tmp_path / "c.fits")
    with pytest.raises(RadiosslError, match=r"c\.fits: not an image, and it names none"):
        open_images(tmp_path / "c.fits")


def test_arrays():
    image = np.arange(12.0).reshape(3, 4)
    assert open_images(image).shapes.tolist() == [[3, 4]]
    assert open_images(np.stack([image, image])).column("cutout_id").tolist() == ["array_0", "array_1"]
    store = open_images([image, np.ma.array(image, mask=image > 5)], options={"pixel_scale_arcsec": 1.8})
    assert store.column("pixel_scale_arcsec").tolist() == [1.8, 1.8]
    assert np.isnan(store.pixels(1)).sum() == 6
    assert len(open_images(np.zeros((40, 50, 3)))) == 1
    with pytest.raises(RadiosslError, match=r"^in memory: no cutout with id 'a'"):
        store["a"]


@pytest.mark.parametrize(
    ("options", "what"), [({"pixel_scale_arcsec": -1}, "greater than 0"), ({"colour": 1}, "colour")]
)
def test_options_that_cannot_be_are_named(options, what):
    with pytest.raises(RadiosslError, match=rf"^options: .*{what}"):
        open_images(np.zeros((4, 5)), options=options)


@pytest.mark.parametrize(
    ("name", "what"),
    [("none.fits", "no such file or folder"), ("*.fits", "no such file or folder"), ("t.csv", "image 'lost'")],
)
def test_what_is_not_there_is_said(tmp_path, name, what):
    (tmp_path / "t.csv").write_text("file,x\nlost,1\n")
    with pytest.raises(RadiosslError, match=what):
        open_images(str(tmp_path / name))


def test_an_empty_folder_and_an_empty_list_are_refused(tmp_path):
    with pytest.raises(RadiosslError, match="not a cutout store, and no image is in it"):
        open_images(tmp_path)
    with pytest.raises(RadiosslError, match="no image was given"):
        open_images([])


def test_what_was_opened_can_be_kept(tmp_path, folder):
    from radiossl.datasets.published import import_set

    kept = import_set("images", folder, tmp_path / "store").store
    check(kept)
    assert open_store(tmp_path / "store").table.equals(open_images(folder).table)


def test_a_table_that_was_changed_is_read_again(tmp_path, folder):
    for kind in ("x", "y"):
        (folder / "t.csv").write_text(f"file,kind\nFRI/a,{kind}\n")
        assert open_images(folder, options={"table": str(folder / "t.csv")}).column("kind").tolist() == [kind]
