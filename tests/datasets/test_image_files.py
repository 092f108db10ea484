"""Folders of images with classes by subfolder or from a table."""

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from radiossl import RadiosslError
from radiossl.datasets.published import import_set
from tests.command import run

RNG = np.random.default_rng(0)


def picture(path, shape=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 255, shape).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_subfolders_are_classes_and_splits(tmp_path):
    source = tmp_path / "images"
    first = picture(source / "train" / "FRI" / "a.png")
    picture(source / "val" / "FRII" / "b.png", (9, 9))
    picture(source / "FRII" / "c.png")
    np.save(source / "d.npy", np.ones((5, 6)))
    for hidden in ("._d.png", ".ipynb_checkpoints/d.png", ".tmp-abcdefgh-set/set/d.png"):
        picture(source / hidden)
    (source / "README.txt").write_text("not an image")
    store = import_set("images", source, tmp_path / "store", options={"pixel_scale_arcsec": "1.8"}).store
    assert store.column("cutout_id").tolist() == ["FRII/c", "d", "train/FRI/a", "val/FRII/b"]
    assert store.table.column("label").to_pylist() == ["FRII", None, "FRI", "FRII"]
    assert store.table.column("split").to_pylist() == [None, None, "train", "valid"]
    assert store.column("pixel_scale_arcsec").tolist() == [1.8] * 4
    assert np.isnan(store.column("ra_deg")).all()
    np.testing.assert_array_equal(store.pixels(2), first[::-1].astype(np.float32))


def test_a_table_gives_columns_and_positions(tmp_path):
    source = tmp_path / "images"
    for name in ("x/a.png", "b.png", "left.png"):
        picture(source / name)
    table = tmp_path / "t.csv"
    table.write_text("file,ra,dec,kind,score\na,10.5,-3.25,FRI,1\nb.png,11.5,4.5,,2\nlost.png,1,1,FRII,3\n")
    imported = import_set("images", source, tmp_path / "store", options={"table": str(table)})
    store = imported.store
    assert store.column("cutout_id").tolist() == ["x/a", "b"]
    assert store.table.column("kind").to_pylist() == ["FRI", None]
    assert store.column("score").tolist() == [1, 2]
    assert store.column("ra_deg").tolist() == [10.5, 11.5]
    assert store.column("dec_deg").tolist() == [-3.25, 4.5]
    assert any(f"1 row of {table} without an image" in remark for remark in imported.remarks)
    assert any("1 image in no row" in remark for remark in imported.remarks)


def test_fits_images_bring_their_position_scale_and_unit(tmp_path):
    source = tmp_path / "images"
    source.mkdir()
    header = fits.Header(
        {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 30.0, "CRVAL2": 5.0, "CRPIX1": 4.5, "CRPIX2": 4.5}
    )
    header.update({"CDELT1": -0.001, "CDELT2": 0.001, "BUNIT": "Jy/beam", "BMAJ": 0.003, "BMIN": 0.002, "BPA": 10.0})
    fits.writeto(source / "a.fits", np.ones((8, 8), np.float32), header)
    fits.writeto(source / "b.fits", np.ones((8, 8), np.float32))
    store = import_set("images", source, tmp_path / "store").store
    assert store.column("ra_deg")[0] == pytest.approx(30.0)
    assert store.column("pixel_scale_arcsec")[0] == pytest.approx(3.6)
    assert store.column("unit").tolist() == ["Jy/beam", ""]
    assert store.column("beam_major_arcsec")[0] == pytest.approx(10.8)
    assert np.isnan(store.column("ra_deg")[1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tabel": "t.csv"}, "images: unknown key 'tabel'; did you mean 'table'"),
        ({"pixel_scale_arcsec": "wide"}, "images: pixel_scale_arcsec: .*'wide'"),
        ({"table": "nowhere.csv"}, "nowhere.csv"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, said):
    picture(tmp_path / "images" / "a.png")
    with pytest.raises(RadiosslError, match=said):
        import_set("images", tmp_path / "images", tmp_path / "store", options=options)
    assert not (tmp_path / "store").exists()


def test_tables_that_do_not_fit_are_refused(tmp_path):
    source = tmp_path / "images"
    picture(source / "x" / "a.png")
    picture(source / "y" / "a.png")
    for text, said in [
        ("shape,kind\nround,1\n", "no column of file names"),
        ("file,kind\na.png,1\n", "could be x/a.png or y/a.png"),
        ("file,kind\nx/a.png,1\nx/a.png,2\n", "more than once"),
        ("file,kind\nz.png,1\n", "no image that .* names is there"),
    ]:
        table = tmp_path / f"{len(text)}.csv"
        table.write_text(text)
        with pytest.raises(RadiosslError, match=said):
            import_set("images", source, tmp_path / "store", options={"table": str(table)})


def test_an_empty_folder_and_a_damaged_picture_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RadiosslError, match="no image is in it"):
        import_set("images", tmp_path / "empty", tmp_path / "store")
    picture(tmp_path / "bad" / "a.png")
    (tmp_path / "bad" / "b.png").write_bytes(b"\x89PNG rubbish")
    with pytest.raises(RadiosslError, match=r"b\.png: not a readable picture"):
        import_set("images", tmp_path / "bad", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_mgcls_as_a_plain_folder_with_a_table(real_data, tmp_path):
    source = real_data / "mgcls"
    few = tmp_path / "few.csv"
    few.write_text("".join((source / "catalogue.csv").read_text().splitlines(keepends=True)[:40]))
    store = import_set("images", source / "images", tmp_path / "store", options={"table": str(few)}).store
    assert len(store) == 39
    assert np.isfinite(store.column("ra_deg")).all()


def test_links_are_followed_and_those_that_lead_nowhere_named(tmp_path, caplog):
    source = tmp_path / "images"
    picture(source / "FRI" / "a.png")
    picture(tmp_path / "elsewhere" / "b.png")
    (source / "FRII").symlink_to(tmp_path / "elsewhere")
    (source / "FRI" / "up").symlink_to(source)  # round and round
    (source / "FRI" / "lost.png").symlink_to(tmp_path / "gone.png")
    store = import_set("images", source, tmp_path / "store").store
    assert store.column("cutout_id").tolist() == ["FRI/a", "FRII/b"]
    assert f"what they link to is gone: {source / 'FRI' / 'lost.png'} (1 in all)" in caplog.text


def test_the_same_import_opens_its_store_and_another_is_refused(tmp_path, capsys):
    source, table = tmp_path / "images", tmp_path / "t.csv"
    picture(source / "a.png")
    table.write_text("file,kind\na,FRI\n")
    command = ("datasets", "import", "images", source, "--set", f"table={table}", "--out", tmp_path / "store")
    assert run(capsys, *command)[1].endswith("store: 1 cutout\n")
    assert run(capsys, *command)[1].endswith("store: 1 cutout; complete before, nothing was imported again\n")
    for change in (lambda: table.write_text("file,kind\na,BAD\n"), lambda: picture(source / "a.png", (12, 11))):
        before = table.read_text()
        change()
        status, _, err = run(capsys, *command)
        assert (status, "holds a finished store already; choose another --out or delete it" in err) == (1, True)
        table.write_text(before)
