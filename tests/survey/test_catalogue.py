"""Catalogues: positions and sizes in known units from whatever astronomers call them."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.table import MaskedColumn, Table
from pyarrow import parquet

from radiossl import RadiosslError
from radiossl.survey.catalogue import Catalogue, position_ids, read_catalogue, unique_ids

RA = [10.5, 150.25, 359.0]
DEC = [-5.0, 30.125, 89.0]
LAS = [12.0, 30.5, 3.25]


def table(**columns):
    return Table({"name": ["a", "b", "c"], "ra": RA, "dec": DEC, "las": LAS, **columns})


def write(path, content):
    if path.suffix == ".csv":
        content.write(path, format="ascii.csv")
    elif path.suffix == ".tsv":
        content.write(path, format="ascii.tab")
    elif path.suffix == ".parquet":
        parquet.write_table(pa.table({name: np.ma.getdata(content[name]).tolist() for name in content.colnames}), path)
    else:
        content.write(path, format={".ecsv": "ascii.ecsv", ".fits": "fits", ".vot": "votable"}[path.suffix])
    return path


def csv(path, text):
    path.write_text(text, encoding="utf-8")
    return path


# Formats and types ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".ecsv", ".fits", ".vot", ".parquet"])
def test_every_format_gives_the_same_catalogue(tmp_path, suffix):
    content = table(flux=[0.5, 1.5, 2.5], cells=[1, 2, 3], good=[True, False, True])
    catalogue = read_catalogue(write(tmp_path / f"cat{suffix}", content))
    assert catalogue.ids.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(catalogue.ra_deg, RA)
    np.testing.assert_array_equal(catalogue.dec_deg, DEC)
    np.testing.assert_array_equal(catalogue.extent_arcsec, LAS)
    kinds = {field.name: field.type for field in catalogue.columns.schema}
    assert pa.types.is_string(kinds["name"])
    assert pa.types.is_floating(kinds["flux"])
    assert pa.types.is_integer(kinds["cells"])
    assert pa.types.is_boolean(kinds["good"])
    assert catalogue.columns.column("flux").to_pylist() == [0.5, 1.5, 2.5]
    assert catalogue.columns.column("cells").to_pylist() == [1, 2, 3]


@pytest.mark.parametrize("suffix", [".ecsv", ".fits", ".vot"])
def test_masked_values_become_null(tmp_path, suffix):
    content = table(
        flux=MaskedColumn([0.5, 1.5, 2.5], mask=[False, True, False]),
        cells=MaskedColumn([1, 2, 3], mask=[True, False, False]),
    )
    columns = read_catalogue(write(tmp_path / f"cat{suffix}", content)).columns
    assert columns.column("flux").to_pylist() == [0.5, None, 2.5]
    assert columns.column("cells").to_pylist() == [None, 2, 3]


def test_empty_cells_of_csv_become_null_and_whole_numbers_stay_whole(tmp_path):
    path = csv(tmp_path / "c.csv", "# from somewhere\nid,ra,dec,cells,label\n7,1,2,,FRI\n8,2,3,5,\n")
    catalogue = read_catalogue(path)
    assert catalogue.columns.column("cells").to_pylist() == [None, 5]
    assert catalogue.columns.column("label").to_pylist() == ["FRI", None]
    assert catalogue.ids.tolist() == ["7", "8"]


def test_columns_of_several_values_are_left_out_with_a_note(tmp_path):
    catalogue = read_catalogue(write(tmp_path / "c.fits", table(spectrum=np.zeros((3, 4)))))
    assert "spectrum" not in catalogue.columns.column_names
    assert "spectrum" in " ".join(catalogue.notes)


def test_columns_named_like_the_stores_own_get_a_prefix(tmp_path):
    content = table(rms=[1.0, 2.0, 3.0], cat_rms=[4.0, 5.0, 6.0], ra_deg=RA)
    content.remove_column("ra")
    columns = read_catalogue(write(tmp_path / "c.csv", content)).columns
    assert set(columns.column_names) == {"name", "dec", "las", "cat_rms", "cat_cat_rms", "cat_ra_deg"}
    assert {tuple(columns.column(name).to_pylist()) for name in ("cat_rms", "cat_cat_rms")} == {(1, 2, 3), (4, 5, 6)}


# Columns and units ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ra", "dec"),
    [("RA", "DEC"), ("RAJ2000", "DEJ2000"), ("ra_deg", "dec_deg"), ("ALPHA_J2000", "DELTA_J2000"), ("Ra", "Decl")],
)
def test_usual_names_of_the_position_are_known(tmp_path, ra, dec):
    path = csv(tmp_path / "c.csv", f"{ra},{dec},z\n10.5,-5.0,0.1\n")
    if dec == "Decl":
        with pytest.raises(RadiosslError, match=r"--dec \(its columns are Ra, Decl, z\)"):
            read_catalogue(path)
        return
    catalogue = read_catalogue(path)
    assert (catalogue.ra_deg[0], catalogue.dec_deg[0]) == (10.5, -5.0)
    assert catalogue.extent_arcsec is None


def test_vizier_degrees_are_preferred_to_the_authors_text(tmp_path):
    path = csv(tmp_path / "c.csv", "_RAJ2000,_DEJ2000,RAJ2000,DEJ2000\n10.5,-5.0,00 42 00.1,-05 00 00.2\n")
    assert read_catalogue(path).ra_deg.tolist() == [10.5]


def test_two_columns_that_could_be_it_are_refused(tmp_path):
    path = csv(tmp_path / "c.csv", "ra,RAJ2000,dec\n1,2,3\n")
    with pytest.raises(RadiosslError, match="ra, RAJ2000 could all be the ra column; choose one with --ra"):
        read_catalogue(path)
    assert read_catalogue(path, ra="RAJ2000").ra_deg.tolist() == [2.0]


def test_columns_can_be_named(tmp_path):
    path = csv(tmp_path / "c.csv", "host,a,d,s\nx,1,2,3\n")
    catalogue = read_catalogue(path, ra="a", dec="d", extent="s", id="host")
    assert (catalogue.ids[0], catalogue.ra_deg[0], catalogue.dec_deg[0], catalogue.extent_arcsec[0]) == ("x", 1, 2, 3)


@pytest.mark.parametrize("flag", ["ra", "dec", "extent", "id"])
def test_a_named_column_must_exist(tmp_path, flag):
    path = csv(tmp_path / "c.csv", "name,ra,dec\nx,1,2\n")
    with pytest.raises(RadiosslError, match=f"no column 'nope' for --{flag}; there are name, ra, dec"):
        read_catalogue(path, **{flag: "nope"})


@pytest.mark.parametrize("name", ["ra_hours", "RA_hour", "RAh"])
def test_hours_are_known_by_name(tmp_path, name):
    assert read_catalogue(csv(tmp_path / "c.csv", f"{name},dec\n1.5,2\n")).ra_deg.tolist() == [22.5]


@pytest.mark.parametrize(
    ("unit", "factor"), [("hourangle", 15.0), ("h", 15.0), ("deg", 1.0), ("rad", 57.29577951308232)]
)
def test_hours_degrees_and_radians_are_known_by_unit(tmp_path, unit, factor):
    content = table()
    content["ra"] = [0.5, 1.0, 1.5]
    content["ra"].unit = unit
    catalogue = read_catalogue(write(tmp_path / "c.ecsv", content))
    np.testing.assert_allclose(catalogue.ra_deg, np.array([0.5, 1.0, 1.5]) * factor)


def test_a_unit_that_is_no_angle_is_refused(tmp_path):
    content = table()
    content["ra"].unit = "Jy"
    with pytest.raises(RadiosslError, match="'ra' is in 'Jy'; expected one of deg, hours, rad"):
        read_catalogue(write(tmp_path / "c.ecsv", content))


@pytest.mark.parametrize("text", ["12:34:56.5,-01:30:00", "12 34 56.5,-01 30 00", "12h34m56.5s,-1d30m00s"])
def test_sexagesimal_text_is_hours_and_degrees(tmp_path, text):
    catalogue = read_catalogue(csv(tmp_path / "c.csv", f"ra,dec\n{text}\n,\n00:00:00,-00:30:00\n"))
    np.testing.assert_allclose(catalogue.ra_deg, [15 * (12 + 34 / 60 + 56.5 / 3600), np.nan, 0])
    np.testing.assert_allclose(catalogue.dec_deg, [-1.5, np.nan, -0.5])


def test_minus_signs_as_in_print_are_signs(tmp_path):
    catalogue = read_catalogue(csv(tmp_path / "c.csv", "ra,dec\n10,−20.5\n11,–30:30:00\n12,40\n"))
    assert catalogue.dec_deg.tolist() == [-20.5, -30.5, 40.0]


def test_text_that_is_no_angle_is_refused_with_its_row(tmp_path):
    with pytest.raises(RadiosslError, match="'ra', row 2: 'east'"):
        read_catalogue(csv(tmp_path / "c.csv", "ra,dec\n12:00:00,1\neast,2\n"))


@pytest.mark.parametrize(("name", "factor"), [("las_arcsec", 1), ("LAS", 1), ("size_arcmin", 60), ("extent_deg", 3600)])
def test_units_of_the_extent_are_known_by_name(tmp_path, name, factor):
    catalogue = read_catalogue(csv(tmp_path / "c.csv", f"ra,dec,{name}\n1,2,3\n"))
    assert catalogue.extent_arcsec.tolist() == [3 * factor]


def test_units_of_the_extent_are_known_by_unit(tmp_path):
    content = table()
    content["las"].unit = "arcmin"
    extent = read_catalogue(write(tmp_path / "c.fits", content)).extent_arcsec
    np.testing.assert_allclose(extent, np.array(LAS) * 60)


# Ids ------------------------------------------------------------------------------------------------------------------


def test_repeated_ids_are_numbered_and_it_is_said(tmp_path):
    path = csv(tmp_path / "c.csv", "name,ra,dec\na,1,2\na,2,3\nb,3,4\na_2,4,5\na,5,6\n")
    catalogue = read_catalogue(path)
    assert len(set(catalogue.ids)) == 5
    assert catalogue.ids[[0, 2, 3]].tolist() == ["a", "b", "a_2"]
    assert "2 ids" in " ".join(catalogue.notes)


def test_unique_ids_leave_unique_ones_alone():
    names, changed = unique_ids(["a", "b"])
    assert (names.tolist(), changed) == (["a", "b"], 0)


def test_without_names_positions_are_the_names(tmp_path):
    catalogue = read_catalogue(csv(tmp_path / "c.csv", "ra,dec\n188.7354167,-1.50\n,\n"))
    assert catalogue.ids.tolist() == ["J123456.50-013000.0", "J-unknown"]


def test_position_names_are_truncated():
    assert position_ids(np.array([359.9999999]), np.array([-0.0000001])) == ["J235959.99-000000.0"]


# Bad input ------------------------------------------------------------------------------------------------------------


def test_without_a_position_the_columns_are_listed(tmp_path):
    with pytest.raises(
        RadiosslError,
        match=r"c.csv: no column is known to be ra; call it ra, or name it with --ra \(its columns are a, b",
    ):
        read_catalogue(csv(tmp_path / "c.csv", "a,b\n1,2\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ra,dec\n1,95\n", "not a declination, it holds 95"),
        ("ra,dec\n1e4,5\n", "not a right ascension"),
        ("ra,dec\n", "no rows"),
        ("", "not a readable csv"),
        ("ra,dec\n1,2,3\n", "not a readable csv"),
    ],
)
def test_bad_csv_is_refused(tmp_path, text, message):
    with pytest.raises(RadiosslError, match=message):
        read_catalogue(csv(tmp_path / "c.csv", text))


@pytest.mark.parametrize("suffix", [".fits", ".vot", ".ecsv", ".parquet"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, suffix):
    path = tmp_path / f"c{suffix}"
    path.write_bytes(b"\x01\x02 nothing of the kind \xff" * 100)
    with pytest.raises(RadiosslError, match=f"c{suffix}: not a readable") as caught:
        read_catalogue(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unknown_ending_are_refused(tmp_path):
    with pytest.raises(RadiosslError, match="no such file"):
        read_catalogue(tmp_path / "none.csv")
    with pytest.raises(RadiosslError, match=r"one of the endings .*\.csv"):
        read_catalogue(csv(tmp_path / "c.doc", "ra,dec\n1,2\n"))


def test_a_catalogue_cannot_be_inconsistent():
    one, two = np.zeros(1), np.zeros(2)
    with pytest.raises(RadiosslError, match="different lengths"):
        Catalogue("c", np.array(["a"], object), one, two, None, pa.table({"x": [1]}))
    with pytest.raises(RadiosslError, match="unique"):
        Catalogue("c", np.array(["a", "a"], object), two, two, None, pa.table({"x": [1, 2]}))


def test_the_fingerprint_tells_catalogues_apart(tmp_path):
    texts = [
        "name,ra,dec,z\na,1,2,3\n",
        "name,ra,dec,z\na,1,2,4\n",
        "name,ra,dec,z\nb,1,2,3\n",
        "name,ra,dec,z\na,1,3,3\n",
    ]
    prints = [read_catalogue(csv(tmp_path / "c.csv", text)).fingerprint() for text in texts]
    assert len(set(prints)) == 4
    assert read_catalogue(csv(tmp_path / "c.csv", texts[0])).fingerprint() == prints[0]


# Real data ------------------------------------------------------------------------------------------------------------


def test_real_catalogues(real_data):
    first = read_catalogue(real_data / "first" / "catalogue.csv")
    assert len(first) == 1099
    assert first.extent_arcsec[0] == 80.6
    crumb = read_catalogue(real_data / "catalogues" / "crumb_combined.csv")
    assert crumb.ra_deg[0] == pytest.approx(15 * 0.026362)
    assert crumb.ra_deg.max() > 300
    with pytest.raises(RadiosslError, match="cpnts_ras"):
        read_catalogue(real_data / "catalogues" / "rgz_d1.csv")
