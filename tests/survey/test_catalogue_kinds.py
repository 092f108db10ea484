"""More catalogues as programs write them, each of a kind that once came out wrong or not at all."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.time import Time
from pyarrow import parquet

from radiossl import RadiosslError
from radiossl.survey.catalogue import read_catalogue


def read(folder, name, text, **options):
    (folder / name).write_text(text, encoding="utf-8")
    return read_catalogue(folder / name, **options)


def places(catalogue):
    return np.stack([catalogue.ra_deg, catalogue.dec_deg], axis=1).tolist()


def test_the_numbered_head_of_sextractor(tmp_path):
    text = (
        "#   1 NUMBER                 Running object number\n"
        "#   2 ALPHA_J2000            Right ascension of barycenter (J2000)  [deg]\n"
        "#   3 DELTA_J2000            Declination of barycenter (J2000)      [deg]\n"
        "#   4 VIGNET                 Two values                             [count]\n"
        "#   6 FLAGS                  Extraction flags\n"
        "  1  187.5 12.5  17.1  1.0  0\n  2  187.6 12.6  18.1  3.0  4\n"
    )
    catalogue = read(tmp_path, "c.cat", text)
    assert places(catalogue) == [[187.5, 12.5], [187.6, 12.6]]
    assert catalogue.columns.column("FLAGS").to_pylist() == [0, 4]


@pytest.mark.parametrize("first", ["LDAC_IMHEAD", "GTI"])
def test_the_table_with_positions_is_read_of_several(tmp_path, first):
    parts = [
        fits.PrimaryHDU(),
        fits.BinTableHDU(Table({"START": [1.0, 2.0, 3.0]}), name=first),
        fits.BinTableHDU(Table({"ALPHA_J2000": [187.5], "DELTA_J2000": [12.5]}), name="OBJECTS"),
    ]
    fits.HDUList(parts).writeto(tmp_path / "c.fits")
    catalogue = read_catalogue(tmp_path / "c.fits")
    assert places(catalogue) == [[187.5, 12.5]]
    assert (" ".join(catalogue.notes) != "") == (first == "GTI")  # what was guessed is said


@pytest.mark.parametrize("delimiter", [" ", ","])
def test_a_commented_header_above_rows_without_a_plain_number(tmp_path, delimiter):
    text = "#name ra dec\nA 12:30:00 +12:30:00\nB 12:31:00 -12:31:00\n".replace(" ", delimiter)
    catalogue = read(tmp_path, "c.txt", text)
    assert catalogue.ids.tolist() == ["A", "B"]
    assert catalogue.ra_deg[0] == 187.5


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("RA,Dec,RA_deg,Dec_deg", "12:30:00,+12:30:00,187.5,12.5"),  # numbers before text
        ("RA(hh:mm:ss),Dec(dd:mm:ss)", "12:30:00,+12:30:00"),
        ("ALPHAWIN_J2000,DELTAWIN_J2000", "187.5,12.5"),
        ("ALPHA_SKY,DELTA_SKY", "187.5,12.5"),
        ("ra_rad,dec_rad", f"{np.radians(187.5)},{np.radians(12.5)}"),
        ("ra,dec", "12:30:00.0,+12.30.00.0"),  # CASA's declinations
        ("ra;dec", "187,5;12,5"),  # decimal commas
    ],
)
def test_positions_are_known_by_name_and_notation(tmp_path, head, row):
    assert places(read(tmp_path, "c.csv", f"{head}\n{row}\n")) == [pytest.approx([187.5, 12.5])]


def test_commas_in_text_beside_semicolons_stay(tmp_path):
    catalogue = read(tmp_path, "c.csv", "name;ra;dec;list\nA,1;187,5;12,5;1,2\nB;187;12;x\n")
    assert catalogue.ids.tolist() == ["A,1", "B"]
    assert catalogue.columns.column("list").to_pylist() == ["1,2", "x"]
    assert catalogue.ra_deg.tolist() == [187.5, 187]


@pytest.mark.parametrize(
    ("names", "extent"),
    [("local_rms,ra,dec,a,b,flags,uuid", 30.0), ("eta,ra,dec,max_angular_size,local_rms,flags,uuid", 108.0)],
)
def test_the_short_tables_and_islands_of_aegean(tmp_path, names, extent):
    row = "1e-5,187.5,12.5,30,20,0,u1" if extent == 30 else "1,187.5,12.5,0.03,1e-5,0,u1"
    catalogue = read(tmp_path, "c.csv", f"{names}\n{row}\n")
    assert catalogue.ids.tolist() == ["u1"]
    assert catalogue.extent_arcsec[0] == pytest.approx(extent)


@pytest.mark.parametrize("how", ["astropy", "arrow", "votable"])
def test_units_that_a_file_holds_beside_its_columns(tmp_path, how):
    table = QTable({"ra": [12.5] * units.hourangle, "dec": [12.5] * units.deg, "las": [2.0] * units.arcmin})
    path = tmp_path / ("c.vot" if how == "votable" else "c.parquet")
    if how == "arrow":
        named = {"ra": "h", "dec": "deg", "las": "arcmin"}
        fields = [pa.field(name, pa.float64(), metadata={"unit": unit}) for name, unit in named.items()]
        parquet.write_table(pa.table([[12.5], [12.5], [2.0]], schema=pa.schema(fields)), path)
    else:
        table.write(path, format="votable" if how == "votable" else "parquet")
    catalogue = read_catalogue(path)
    assert places(catalogue) == [pytest.approx([187.5, 12.5])]
    assert catalogue.extent_arcsec[0] == pytest.approx(120)


def test_times_are_kept_as_text(tmp_path):
    table = Table({"name": ["a", "b"], "ra": [1.0, 2.0], "dec": [3.0, 4.0], "seen": Time(["2020-01-01", "2021-02-03"])})
    table.write(tmp_path / "c.ecsv")
    column = read_catalogue(tmp_path / "c.ecsv").columns.column("seen").to_pylist()
    assert column == ["2020-01-01T00:00:00.000", "2021-02-03T00:00:00.000"]


def test_scaled_columns_and_their_gaps(tmp_path):
    columns = [
        fits.Column("Name", "5A", array=["00123", "NA"]),
        fits.Column("RA", "J", unit="deg", array=[175, 174]),
        fits.Column("DEC", "D", unit="degrees", array=[12.5, 12.6]),
        fits.Column("LAS", "I", null=-1, unit="arcsec", array=[30, -1]),
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header["TSCAL2"], table.header["TZERO2"] = 0.5, 100.0
    table.writeto(tmp_path / "c.fits")
    catalogue = read_catalogue(tmp_path / "c.fits")
    assert places(catalogue) == [[187.5, 12.5], [187, 12.6]]
    assert catalogue.ids.tolist() == ["00123", "NA"]
    np.testing.assert_array_equal(catalogue.extent_arcsec, [30, np.nan])


@pytest.mark.parametrize(
    ("number", "unit"),
    [
        ("-999", ""),
        ("99999", ""),
        ("-999.9", "deg"),
        ("-999", "hours"),
        ("1e20", ""),
        ("-1.6e30", "hours"),
        ("inf", ""),
    ],
)
def test_numbers_of_nines_or_huge_ones_mean_that_there_is_no_position(tmp_path, number, unit):
    text = f"name,ra,dec\nA,12.5,12.5\nB,{number},{number}\n"
    catalogue = read(tmp_path, "c.csv", text, position_unit=unit or None)
    assert np.isfinite(catalogue.ra_deg).tolist() == [True, False]
    with pytest.raises(RadiosslError, match="not a declination, it holds 95 degrees in row 3"):
        read(tmp_path, "c.csv", f"{text}C,12.5,95\n")


@pytest.mark.parametrize("degree", ["d", "°", " deg", "Degrees"])
def test_degrees_that_say_so_in_every_cell(tmp_path, degree):
    catalogue = read(tmp_path, "c.csv", f"name,ra,dec\nA,187.5{degree},-12.5{degree}\n")
    assert places(catalogue) == [[187.5, -12.5]]


@pytest.mark.parametrize(
    ("unit", "arcsec"), [("[']", 120), ('(")', 2), ("[arcmin]", 120), ("(deg)", 7200), ("(NVSS)", 2)]
)
def test_a_unit_in_brackets_behind_the_name_of_a_column(tmp_path, unit, arcsec):
    catalogue = read(
        tmp_path, "c.csv", f'ra;dec;"LAS {unit.replace(chr(34), chr(34) * 2)}"\n187.5;12.5;2\n', extent=f"LAS {unit}"
    )
    assert catalogue.extent_arcsec[0] == pytest.approx(arcsec)


@pytest.mark.parametrize("head", ["ra_dms,dec_dms", "RA_ddmmss,DEC_ddmmss", "ra,dec\nd:m:s,d:m:s"])
def test_right_ascensions_in_sexagesimal_degrees(tmp_path, head):
    assert places(read(tmp_path, "c.csv", f"{head}\n187:30:00,+12:30:00\n")) == [[187.5, 12.5]]


def test_digits_of_hours_minutes_and_seconds_are_no_degrees(tmp_path):
    with pytest.raises(RadiosslError, match="column 'ra' looks like hours, minutes and seconds without marks"):
        read(tmp_path, "c.csv", "ra,dec\n000130.5,+000030\n")


@pytest.mark.parametrize("name", ["{}_galaxy", "gal_{}", "gleam_{}", "{}_gl"])
def test_names_of_galaxies_are_no_galactic_coordinates(tmp_path, name):
    ra, dec = name.format("ra"), name.format("dec")
    assert places(read(tmp_path, "c.csv", f"{ra},{dec}\n187.5,12.5\n", ra=ra, dec=dec)) == [[187.5, 12.5]]


def test_the_epoch_of_proper_motions_is_no_equinox(tmp_path):
    part = fits.BinTableHDU(Table({"RA": [187.5], "DEC": [12.5], "pmRA": [3.0]}))
    part.header["EPOCH"] = 2015.5
    part.writeto(tmp_path / "c.fits")
    assert places(read_catalogue(tmp_path / "c.fits")) == [[187.5, 12.5]]


@pytest.mark.parametrize("place", ["resource", "table"])
def test_answers_cut_short_by_the_service_are_announced(tmp_path, place):
    Table({"ra": [187.5], "dec": [12.5]}).write(tmp_path / "c.vot", format="votable")
    assert read_catalogue(tmp_path / "c.vot").notes == ()
    end = f"</{place.upper()}>"
    overflow = (tmp_path / "c.vot").read_text().replace(end, f'<INFO name="QUERY_STATUS" value="OVERFLOW"/>{end}')
    (tmp_path / "c.vot").write_text(overflow)
    assert "stopped at its limit of rows" in read_catalogue(tmp_path / "c.vot").notes[0]


def test_ids_that_lost_digits_as_floats_are_refused(tmp_path):
    ids = pd.DataFrame({"source_id": [4472832130942575873, None], "ra": [187.5, 187.6], "dec": [12.5, 12.6]})
    with pytest.raises(RadiosslError, match="name 4472832130942576128: was stored as a floating-point number"):
        read_catalogue(ids)
    whole = ids.assign(source_id=pd.array([4472832130942575873, None], dtype="Int64"))
    assert read_catalogue(whole).ids[0] == "4472832130942575873"
    written = "source_id,ra,dec\n4.47E+18,187.5,12.5\n"
    assert read(tmp_path, "c.csv", written).ids.tolist() == ["4.47E+18"]
