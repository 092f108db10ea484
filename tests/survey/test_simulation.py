"""The simulated survey: what its headers and catalogue promise is what its pixels hold."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from radiossl.io.errors import RadiosslError
from radiossl.survey.simulation import SurveySpec, simulate_survey, simulate_tile, sky, telescope
from radiossl.survey.simulation.morphology import MORPHOLOGIES, oriented

SMALL = SurveySpec(tiles=2, size=256, sources=20, seed=3)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Table]:
    out = tmp_path_factory.mktemp("survey")
    paths = simulate_survey(out, SMALL)
    return paths, Table.read(out / "truth.csv", format="ascii.csv")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def noise_of(spec: SurveySpec) -> np.ndarray:
    rng = np.random.default_rng(0)
    return telescope.unit_noise(rng, spec, telescope.draw_pointings(rng, spec))


def correlation(image: np.ndarray) -> np.ndarray:
    """Autocorrelation with lag 0 at [0, 0]."""
    return np.fft.ifft2(np.abs(np.fft.fft2(image)) ** 2).real / (image**2).sum()


def test_the_queries_of_make_demo_are_sources_of_its_survey(tmp_path):
    simulate_survey(tmp_path, replace(SMALL, seed=0))  # its names do not depend on how large it is
    ids = set(Table.read(tmp_path / "truth.csv", format="ascii.csv")["source_id"])
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    queries = re.findall(r"--query (\S+)", makefile)
    assert "--tiles 3 --seed 0" in makefile
    assert len(queries) == 2
    assert set(queries) <= ids


def test_same_seed_gives_the_same_pixels_and_another_seed_or_tile_does_not(survey):
    paths, truth = survey
    first, second = (fits.getdata(path).squeeze().astype(np.float32) for path in paths)
    again, _, truth_again = simulate_tile(SMALL, 1)
    assert again.tobytes() == second.tobytes()
    assert truth_again["class"].tolist() == truth["class"][20:].tolist()
    assert again.tobytes() != first.tobytes()
    assert again.tobytes() != simulate_tile(replace(SMALL, seed=4), 1)[0].tobytes()


def test_a_tile_does_not_depend_on_how_many_there_are(survey):
    paths, _ = survey
    image, _, _ = simulate_tile(replace(SMALL, tiles=7), 1)
    np.testing.assert_array_equal(image, fits.getdata(paths[1]))


def test_noise_between_sources_has_the_rms_asked_for():
    spec = SurveySpec(size=384, sources=3, rms_jybeam=4e-5, seed=1)
    pixels = simulate_tile(spec, 0)[0]
    pixels = pixels[np.isfinite(pixels)]
    robust = 1.4826 * np.median(np.abs(pixels - np.median(pixels)))
    assert robust == pytest.approx(4e-5, rel=0.15)
    assert abs(np.median(pixels)) < 4e-6


@pytest.mark.parametrize("beam", [5.0, 10.0])
def test_noise_is_correlated_like_the_beam(beam, monkeypatch):
    monkeypatch.setattr(telescope, "STRIPE_SHARE", 0.0)
    spec = SurveySpec(size=512, sources=1, beam_major_arcsec=beam, beam_minor_arcsec=beam)
    sigma_px = telescope.GRAIN * beam / 2.3548 / 1.8
    measured = correlation(noise_of(spec))
    for lag in (1, 2, 4):
        expected = np.exp(-(lag**2) / (4 * sigma_px**2))
        assert measured[0, lag] == pytest.approx(expected, abs=0.03)
        assert measured[lag, 0] == pytest.approx(expected, abs=0.03)


def test_noise_is_longer_along_the_beam(monkeypatch):
    monkeypatch.setattr(telescope, "STRIPE_SHARE", 0.0)
    spec = SurveySpec(size=512, sources=1, beam_major_arcsec=10.0, beam_minor_arcsec=5.0, beam_pa_deg=45.0)
    measured = correlation(noise_of(spec))
    assert measured[2, -2] > measured[2, 2] + 0.2  # north-east is up and to the left


def test_stripes_reach_further_than_the_beam(monkeypatch):
    spec = SurveySpec(size=512, sources=1)
    far = np.abs(correlation(noise_of(spec))[20:40, 20:40]).max()
    monkeypatch.setattr(telescope, "STRIPE_SHARE", 0.0)
    assert far > 2 * np.abs(correlation(noise_of(spec))[20:40, 20:40]).max()


def test_border_is_blank_and_holds_no_source(survey):
    paths, truth = survey
    for path in paths:
        image = fits.getdata(path).squeeze()
        assert 0.01 < np.isnan(image).mean() < 0.1
        rows = truth[truth["tile"] == path.name]
        assert np.isfinite(image[np.rint(rows["y"]).astype(int), np.rint(rows["x"]).astype(int)]).all()


def test_headers_say_what_the_pixels_are(survey):
    paths, truth = survey
    shapes = []
    for path in paths:
        image, header = fits.getdata(path, header=True)
        shapes.append(image.shape)
        assert image.dtype == np.dtype(">f4")
        assert header["BUNIT"] == "JY/BEAM"
        assert header["BMAJ"] == pytest.approx(6.4 / 3600)
        assert header["BMIN"] == pytest.approx(5.4 / 3600)
        assert header["BPA"] == 20.0
        assert (header["CDELT1"], header["CDELT2"]) == pytest.approx((-1.8 / 3600, 1.8 / 3600))
        assert (header["CTYPE1"], header["CTYPE2"]) == ("RA---SIN", "DEC--SIN")
        assert (header["RADESYS"], header["EQUINOX"]) == ("FK5", 2000.0)
        rows = truth[truth["tile"] == path.name]
        x, y = WCS(header).celestial.wcs_world2pix(rows["ra_deg"], rows["dec_deg"], 0)
        np.testing.assert_allclose(x, rows["x"], atol=2e-3)
        np.testing.assert_allclose(y, rows["y"], atol=2e-3)
    assert shapes == [(1, 1, 256, 256), (256, 256)]
    assert fits.getheader(paths[0])["CTYPE3"] == "FREQ"
    assert fits.getheader(paths[0])["CTYPE4"] == "STOKES"


def test_catalogue_has_every_class_and_unique_names(survey):
    _, truth = survey
    assert len(truth) == 40
    assert len(set(truth["source_id"])) == 40
    assert set(truth["class"]) == set(sky.CLASS_SHARES)
    assert truth["snr"].min() >= 8
    assert truth["extent_arcsec"].min() >= 6.4 - 0.01
    assert ((truth["pa_deg"] >= 0) & (truth["pa_deg"] <= 180)).all()
    assert (truth["flux_jy"] >= 0.99 * truth["peak_jybeam"]).all()


def test_surveys_of_two_seeds_share_neither_names_nor_sky():
    (_, first, one), (_, second, other) = (
        simulate_tile(SurveySpec(size=128, sources=4, seed=seed), 0) for seed in (0, 1)
    )
    assert not set(one["source_id"]) & set(other["source_id"])
    assert list(other["source_id"])[:2] == ["sim1_000_00000", "sim1_000_00001"]
    centres = [wcs.celestial.pixel_to_world(64, 64) for wcs in (first, second)]
    assert centres[0].separation(centres[1]).deg > 1


def test_bright_compact_sources_are_where_and_as_bright_as_the_catalogue_says(monkeypatch):
    monkeypatch.setattr(sky, "CLASS_SHARES", {"compact": 1.0})
    monkeypatch.setattr(sky, "SNR_RANGE", (300.0, 2000.0))
    monkeypatch.setattr(sky, "BACKGROUND_PER_DEG2", 0.0)
    spec = SurveySpec(size=384, sources=8, seed=5)
    image, _, truth = simulate_tile(spec, 0)
    for row in truth:
        left, bottom = round(row["x"]) - 8, round(row["y"]) - 8
        stamp = image[bottom : bottom + 17, left : left + 17]
        peak_y, peak_x = np.unravel_index(np.argmax(stamp), stamp.shape)
        assert abs(peak_x + left - row["x"]) < 1
        assert abs(peak_y + bottom - row["y"]) < 1
        assert stamp.max() == pytest.approx(row["peak_jybeam"], rel=0.05)
        beam_area_px = 1.1331 * 6.4 * 5.4 / 1.8**2
        assert stamp.sum() / beam_area_px == pytest.approx(row["flux_jy"], rel=0.08)


def test_a_point_source_has_the_beams_shape():
    spec = SurveySpec(beam_major_arcsec=10.0, beam_minor_arcsec=5.0, beam_pa_deg=30.0)
    stamp, left, bottom = sky._render(np.array([[0.3, -0.2, 2.0, 0.0]]), spec)
    y, x = np.mgrid[: stamp.shape[0], : stamp.shape[1]]
    east, north = -(x + left - 0.3) * 1.8, (y + bottom + 0.2) * 1.8
    pa = np.radians(30.0)
    major, minor = north * np.cos(pa) + east * np.sin(pa), east * np.cos(pa) - north * np.sin(pa)
    literal = 2.0 * np.exp(-4 * np.log(2) * ((major / 10) ** 2 + (minor / 5) ** 2))
    np.testing.assert_allclose(stamp, literal, atol=0.004)


@pytest.mark.parametrize("name", [name for name in MORPHOLOGIES if name != "compact"])
def test_sources_have_the_size_and_direction_asked_for(name):
    rng = np.random.default_rng(8)
    for pa in (0.0, 35.0, 120.0):
        x, y, flux, sigma = oriented(MORPHOLOGIES[name](rng), 50.0, pa).T
        along = y * np.cos(np.radians(pa)) - x * np.sin(np.radians(pa))
        assert np.max(along + 1.5 * sigma) - np.min(along - 1.5 * sigma) == pytest.approx(50.0, rel=1e-6)
        assert flux.sum() == pytest.approx(1.0)
        assert (flux > 0).all()
        assert np.hypot(flux @ x, flux @ y) < 1e-9


def test_frii_are_brighter_at_their_ends_than_fri():
    rng = np.random.default_rng(1)

    def outer_share(name: str) -> float:
        shares = []
        for _ in range(60):
            x, y, flux, _ = oriented(MORPHOLOGIES[name](rng), 1.0, 0.0).T
            shares.append(flux[np.hypot(x, y) > 0.25].sum())
        return float(np.mean(shares))

    assert outer_share("FRII") > outer_share("FRI") + 0.25


def test_sidelobes_are_about_one_percent_of_a_source_and_spare_its_centre():
    spec = SurveySpec(size=512, sources=1)
    plane = np.zeros((512, 512))
    stamp, left, bottom = sky._render(np.array([[256.0, 256.0, 0.01, 0.0]]), spec)
    sky._add(plane, stamp, left, bottom)
    pattern = telescope.sidelobes(plane, spec, telescope.draw_pointings(np.random.default_rng(2), spec))
    assert 0.002 < pattern.max() / 0.01 < 0.02
    assert -0.02 < pattern.min() / 0.01 < -0.001
    assert abs(pattern[256, 256]) / 0.01 < 0.01


def test_places_keep_apart_where_there_is_room():
    clearance = np.full((400, 400), 500.0)
    radii = np.full(20, 20.0)
    x, y = sky._place(np.random.default_rng(0), clearance, radii)
    gaps = np.hypot(x[:, None] - x, y[:, None] - y)[~np.eye(20, dtype=bool)]
    assert gaps.min() > 40


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tiles": 0}, "tiles"),
        ({"tiles": 2.0}, "tiles"),
        ({"size": 64}, "size"),
        ({"sources": 0}, "sources"),
        ({"sources": 65, "size": 256}, "room for 64"),
        ({"seed": -1}, "seed"),
        ({"rms_jybeam": 0.0}, "rms_jybeam"),
        ({"pixel_scale_arcsec": float("nan")}, "pixel_scale_arcsec"),
        ({"beam_pa_deg": float("inf")}, "beam_pa_deg"),
        ({"beam_minor_arcsec": 2.0}, "two pixels"),
        ({"beam_major_arcsec": 5.0}, "beam_major_arcsec"),
        ({"beam_major_arcsec": 50.0}, "beam_major_arcsec"),
    ],
)
def test_impossible_surveys_are_refused_in_one_line(changes, named):
    with pytest.raises(RadiosslError, match=named) as refusal:
        SurveySpec(**changes)
    assert "\n" not in str(refusal.value)


def test_an_interrupted_survey_is_completed_to_the_same_files(survey, tmp_path):
    out = shutil.copytree(survey[0][0].parent, tmp_path / "survey")
    complete = contents(out)
    (out / "truth.csv").unlink()
    (out / "tile_001.fits").unlink()
    (out / ".tmp-left-tile_001.fits").touch()  # a process that was killed
    kept = (out / "tile_000.fits").stat().st_mtime_ns
    assert simulate_survey(out, SMALL) == [out / "tile_000.fits", out / "tile_001.fits"]
    (out / ".tmp-left-tile_001.fits").unlink()
    assert contents(out) == complete
    assert (out / "tile_000.fits").stat().st_mtime_ns == kept


def test_a_lone_missing_mosaic_is_made_again(survey, tmp_path):
    out = shutil.copytree(survey[0][0].parent, tmp_path / "survey")
    complete = contents(out)
    (out / "tile_000.fits").unlink()
    simulate_survey(out, SMALL)
    assert contents(out) == complete


def test_folders_with_something_else_are_refused(survey, tmp_path):
    with pytest.raises(RadiosslError, match="other settings"):
        simulate_survey(survey[0][0].parent, replace(SMALL, seed=9))
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").touch()
    with pytest.raises(RadiosslError, match="other files"):
        simulate_survey(tmp_path / "holiday", SMALL)
    assert [path.name for path in (tmp_path / "holiday").iterdir()] == ["beach.jpg"]
    with pytest.raises(RadiosslError, match="folder was expected"):
        simulate_survey(tmp_path / "holiday" / "beach.jpg", SMALL)


def test_import_stays_light():
    code = (
        "import sys, radiossl.survey.simulation; "
        "print([name for name in ('astropy', 'scipy', 'torch', 'rich') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
