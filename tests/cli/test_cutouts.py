"""`radiossl cutouts ...` from the outside."""

import numpy as np
import pytest
from astropy.io import fits

from radiossl import open_store
from tests.command import run


@pytest.fixture
def mosaics(tmp_path):
    """A folder with two mosaics of 96 x 96 pixels, a degree apart, with a source in the middle of each."""
    y, x = np.indices((96, 96))
    for index in range(2):
        head = fits.Header()
        head["CTYPE1"], head["CTYPE2"], head["BUNIT"] = "RA---SIN", "DEC--SIN", "JY/BEAM"
        head["CRVAL1"], head["CRVAL2"], head["CRPIX1"], head["CRPIX2"] = 10.0 + index, 0.0, 48.5, 48.5
        head["CDELT1"], head["CDELT2"] = -2 / 3600, 2 / 3600
        pixels = np.random.default_rng(index).normal(0, 1e-4, (96, 96))
        pixels += 0.01 * np.exp(-((x - 47.5) ** 2 + (y - 47.5) ** 2) / 4)
        (tmp_path / "in").mkdir(exist_ok=True)
        fits.PrimaryHDU(pixels.astype("f4"), head).writeto(tmp_path / "in" / f"m{index}.fits")
    return tmp_path / "in"


@pytest.fixture
def catalogue(tmp_path):
    path = tmp_path / "cat.csv"
    path.write_text("name,alpha,delta,LAS,kind\na,10,0,60,FRI\nb,11,0,5,FRII\nc,40,0,60,FRI\n")
    return path


def test_blind_cuts_and_says_how_many(capsys, tmp_path, mosaics):
    status, out, _ = run(capsys, "cutouts", "blind", mosaics, "--out", tmp_path / "s", "--size", 32, "--overlap", 0)
    assert status == 0
    assert out.splitlines() == [f"{tmp_path / 's'}: 18 cutouts from 2 mosaics (m0.fits: 9, m1.fits: 9)"]
    assert len(open_store(tmp_path / "s")) == 18


def test_cutouts_of_one_value_are_counted(capsys, tmp_path, mosaics):
    """A clipped mosaic may have empty windows; they are not kept without a word."""
    with fits.open(mosaics / "m0.fits", mode="update") as parts:
        parts[0].data[:] = np.clip(parts[0].data - 0.005, 0, None)
    status, out, _ = run(
        capsys, "cutouts", "blind", mosaics / "m0.fits", "--out", tmp_path / "s", "--size", 32, "--overlap", 0
    )
    assert status == 0
    assert "9 cutouts from 1 mosaic; 8 have one value everywhere (store filter --where 'maximum > minimum'" in out
    run(capsys, "store", "filter", tmp_path / "s", "--where", "maximum > minimum", "--out", tmp_path / "t")
    assert len(open_store(tmp_path / "t")) == 1


def test_patterns_are_expanded(capsys, tmp_path, mosaics):
    status, out, _ = run(capsys, "cutouts", "blind", f"{mosaics}/*1.fits", "--out", tmp_path / "s", "--size", 96)
    assert (status, out) == (0, f"{tmp_path / 's'}: 1 cutout from 1 mosaic\n")


def test_sources_are_cut_and_the_others_counted(capsys, tmp_path, mosaics, catalogue):
    flags = ["--ra", "alpha", "--dec", "delta", "--min-extent", 10]
    status, out, _ = run(
        capsys, "cutouts", "sources", mosaics, "--catalogue", catalogue, "--out", tmp_path / "s", *flags
    )
    assert status == 0
    assert out == (
        f"{tmp_path / 's'}: 1 cutout from 1 of 2 mosaics (m0.fits: 1); not cut: 1 outside, 1 too small "
        f"(listed in {tmp_path / 's' / 'not_cut.csv'})\n"
    )
    store = open_store(tmp_path / "s")
    assert store.column("kind").tolist() == ["FRI"]
    assert store.shapes.tolist() == [[45, 45]]


def test_notes_on_the_catalogue_go_to_the_error_channel(capsys, tmp_path, mosaics):
    path = tmp_path / "cat.csv"
    path.write_text("name,ra,dec\na,10,0\na,11,0\n")
    status, out, err = run(
        capsys, "cutouts", "sources", mosaics, "--catalogue", path, "--size", 20, "--out", tmp_path / "s"
    )
    assert status == 0
    assert "1 ids" in err
    assert len(out.splitlines()) == 1


def test_sources_can_be_detected(capsys, tmp_path, mosaics):
    status, out, _ = run(capsys, "cutouts", "sources", mosaics, "--detect", "--size", 30, "--out", tmp_path / "s")
    assert status == 0
    assert out.splitlines() == [
        "found 2 sources above 5 sigma",
        f"{tmp_path / 's'}: 2 cutouts from 2 mosaics (m0.fits: 1, m1.fits: 1)",
    ]
    store = open_store(tmp_path / "s")
    np.testing.assert_allclose(np.sort(store.column("ra_deg")), [10, 11], atol=1e-4)
    assert (store.column("snr") > 50).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["blind", "IN", "--size", "0"], "--size 0: expected a whole number"),
        (["blind", "IN", "--overlap", "1"], "--overlap 1.0: expected a number"),
        (["blind", "none.fits"], "none.fits: no such file"),
        (["blind", "CAT"], "cat.csv: not a FITS file"),
        (["sources", "IN"], "--catalogue, or find them with --detect"),
        (["sources", "IN", "--detect", "--catalogue", "CAT"], "leave one of them out"),
        (["sources", "IN", "--catalogue", "CAT", "--size", "9", "--box-factor", "2"], "exclude each other"),
        (["sources", "IN", "--catalogue", "CAT"], "--ra (its columns are name, alpha, delta, LAS, kind)"),
        (["sources", "IN", "--catalogue", "none.csv"], "none.csv: no such file"),
        (["sources", "IN", "--catalogue", "CAT", "--ra", "alpha", "--dec", "delta", "--size", "0"], "--size 0"),
    ],
)
def test_mistakes_end_in_one_line_and_status_1(capsys, tmp_path, mosaics, catalogue, arguments, message):
    places = {"IN": str(mosaics), "CAT": str(catalogue)}
    arguments = [places.get(argument, argument) for argument in arguments]
    status, out, err = run(capsys, "cutouts", *arguments, "--out", tmp_path / "s")
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("radiossl: error: ")
    assert message in err
    assert not (tmp_path / "s").exists()


def test_the_same_command_again_does_nothing_and_another_one_is_refused(capsys, tmp_path, mosaics):
    command = ["cutouts", "blind", mosaics, "--out", tmp_path / "s", "--size", 96]
    assert run(capsys, *command)[0] == 0
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "s").iterdir()}
    status, out, _ = run(capsys, *command)
    assert status == 0
    made = f"{tmp_path / 's'}: 2 cutouts from 2 mosaics (m0.fits: 1, m1.fits: 1)"
    assert out == f"{made}; complete before, nothing was cut again\n"
    status, _, err = run(capsys, *command[:-1], 48)
    assert status == 1
    assert "finished store already" in err
    assert {file.name: file.stat().st_mtime_ns for file in (tmp_path / "s").iterdir()} == before


# Reading the catalogue ------------------------------------------------------------------------------------------------


def test_the_options_of_reading_reach_the_catalogue(mosaics, tmp_path, capsys):
    """The centre of the first mosaic, in B1950, in radians, in Latin-1 and between colons."""
    from astropy.coordinates import SkyCoord

    old = SkyCoord(10, 0, unit="deg").transform_to("fk4")
    row = f"M\xe4dler:{old.ra.rad}:{old.dec.rad}:1.0"
    (tmp_path / "c.txt").write_bytes(f"name:ra:dec:las\n{row}\n".encode("latin-1"))
    options = ["--frame", "fk4", "--position-unit", "rad", "--extent-unit", "arcmin", "--delimiter", ":"]
    options += ["--encoding", "latin-1"]
    arguments = [
        "cutouts",
        "sources",
        mosaics,
        "--catalogue",
        tmp_path / "c.txt",
        "--out",
        tmp_path / "store",
        *options,
    ]
    assert run(capsys, *arguments)[0] == 0
    store = open_store(tmp_path / "store")
    assert store.column("cutout_id").tolist() == ["Mädler"]
    assert store.shapes.tolist() == [[45, 45]]
    np.testing.assert_allclose([store.column(name)[0] for name in "xy"], 47.5, atol=0.05)


def test_names_with_zeros_are_joined_as_they_are_written(mosaics, tmp_path, capsys):
    from astropy.table import Table

    (tmp_path / "z.csv").write_text('id,ra,dec\n"00123",10,0\n"45000",11,0\n')
    Table({"id": ["00123", "45000"], "label": ["FRI", "FRII"]}).write(tmp_path / "lab.fits")
    source = ["--catalogue", tmp_path / "z.csv", "--size", "40"]
    assert run(capsys, "cutouts", "sources", mosaics, *source, "--out", tmp_path / "a")[0] == 0
    joining = [tmp_path / "a", tmp_path / "lab.fits", "--on", "cutout_id=id", "--out", tmp_path / "b", "--table", "1"]
    assert run(capsys, "store", "join", *joining)[0] == 0
    store = open_store(tmp_path / "b")
    assert store.column("cutout_id").tolist() == ["00123", "45000"]
    assert store.column("label").tolist() == ["FRI", "FRII"]
