"""Cutting: every cutout is the right piece of the right mosaic, and every source without one is accounted for."""

import csv
import itertools
import math
import os
import signal
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from radiossl import RadiosslError, open_store
from radiossl.store import writing as store_module
from radiossl.store.statistics import Noise, PixelStatistics
from radiossl.store.store import CutoutStore, store_manifest
from radiossl.survey import blind
from radiossl.survey.blind import cut_blind, window_starts
from radiossl.survey.catalogue import Catalogue
from radiossl.survey.mosaic import Mosaic
from radiossl.survey.sources import cut_sources

SCALE = 2.0  # arcsec per pixel


def write_mosaic(path, pixels, ra=150.0, dec=2.0):
    """A mosaic in Jy/beam centred on a position, x growing to the west."""
    head = fits.Header()
    head["CTYPE1"], head["CTYPE2"], head["RADESYS"] = "RA---SIN", "DEC--SIN", "ICRS"
    head["CRVAL1"], head["CRVAL2"] = ra, dec
    head["CRPIX1"], head["CRPIX2"] = (pixels.shape[1] + 1) / 2, (pixels.shape[0] + 1) / 2
    head["CDELT1"], head["CDELT2"] = -SCALE / 3600, SCALE / 3600
    head["BUNIT"], head["BMAJ"], head["BMIN"], head["BPA"] = "JY/BEAM", 6 / 3600, 5 / 3600, 10.0
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".fz":
        fits.CompImageHDU(pixels, head, compression_type="GZIP_2", quantize_level=0).writeto(path)
    else:
        fits.PrimaryHDU(pixels, head).writeto(path)
    return path


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 1e-4, shape).astype(np.float32)


def at(path, *positions, extent=None, **columns):
    """A catalogue of sources at these pixels of a mosaic; None is a source without position."""
    with Mosaic.open(path) as mosaic:
        sky = [mosaic.pixel_to_sky(*place) if place is not None else (np.nan, np.nan) for place in positions]
    return catalogue(sky, extent=extent, **columns)


def catalogue(sky, extent=None, **columns):
    ra, dec = np.array(sky, dtype=float).reshape(-1, 2).T
    ids = [f"s{row}" for row in range(len(ra))]
    extent = None if extent is None else np.array(extent, dtype=float)
    return Catalogue("cat", np.array(ids, object), ra, dec, extent, pa.table({"name": ids, **columns}))


def not_cut(out):
    with (out / "not_cut.csv").open() as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def same_store(one, two):
    files = sorted(path.name for path in one.glob("*.arrow"))
    assert files == sorted(path.name for path in two.glob("*.arrow"))
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)
    assert (one / "store.json").read_bytes() == (two / "store.json").read_bytes()


# Blind windows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [64, 65, 100, 128, 1000])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
def test_windows_cover_the_axis_from_edge_to_edge(length, overlap):
    starts = window_starts(length, 64, overlap)
    covered = np.zeros(length, dtype=int)
    for start in starts:
        assert 0 <= start <= length - 64
        covered[start : start + 64] += 1
    assert covered.min() >= 1
    steps = np.diff(starts)
    assert (steps[:-1] == round(64 * (1 - overlap))).all()
    assert (steps > 0).all()


@pytest.mark.parametrize("length", [1, 40, 63])
def test_a_window_larger_than_the_mosaic_is_centred_on_it(length):
    (start,) = window_starts(length, 64, 0.5)
    assert -start in (math.floor((64 - length) / 2), math.ceil((64 - length) / 2))


@pytest.mark.parametrize("name", ["m.fits", "m.fits.fz"])
def test_blind_cutouts_are_the_pieces_that_their_ids_name(tmp_path, name):
    pixels = noise((150, 110))
    path = write_mosaic(tmp_path / name, pixels)
    result = cut_blind([path], tmp_path / "store", size=40)
    store = result.store
    assert len(store) == len(window_starts(150, 40, 0.5)) * len(window_starts(110, 40, 0.5))
    ids = store.column("cutout_id")
    assert len(set(ids)) == len(ids)
    with Mosaic.open(path) as mosaic:
        for row, name_ in enumerate(ids):
            x0, y0 = int(name_[3:8]), int(name_[10:15])
            assert name_ == f"m_x{x0:05d}_y{y0:05d}"
            np.testing.assert_array_equal(store.pixels(row), pixels[y0 : y0 + 40, x0 : x0 + 40])
            assert (store.column("x")[row], store.column("y")[row]) == (x0 + 19.5, y0 + 19.5)
            sky = mosaic.pixel_to_sky(x0 + 19.5, y0 + 19.5)
            np.testing.assert_allclose([store.column("ra_deg")[row], store.column("dec_deg")[row]], sky)
    assert set(store.column("mosaic")) == {name}
    assert set(store.column("unit")) == {"Jy/beam"}
    assert store.column("beam_major_arcsec")[0] == pytest.approx(6.0)
    assert store.column("pixel_scale_arcsec")[0] == pytest.approx(SCALE)


def test_windows_blanker_than_the_limit_are_left_out(tmp_path):
    pixels = noise((64, 128))
    pixels[:, :26] = np.nan  # 40.6 % of the first window
    path = write_mosaic(tmp_path / "m.fits", pixels)
    result = cut_blind([path], tmp_path / "a", size=64, overlap=0, max_blank=0.4)
    assert result.store.column("cutout_id").tolist() == ["m_x00064_y00000"]
    assert result.not_cut == {"blank": 1}
    assert len(cut_blind([path], tmp_path / "b", size=64, overlap=0, max_blank=0.41).store) == 2


def test_a_small_mosaic_gives_one_padded_cutout(tmp_path):
    pixels = noise((50, 60))
    store = cut_blind([write_mosaic(tmp_path / "m.fits", pixels)], tmp_path / "s", size=64).store
    assert len(store) == 1
    found = store.pixels(0)
    assert np.isnan(found).sum() == 64 * 64 - 50 * 60
    np.testing.assert_array_equal(found[7:57, 2:62], pixels)
    assert store.column("blank_fraction")[0] == pytest.approx(1 - 3000 / 4096)


def test_mosaics_of_one_name_in_two_folders_stay_apart(tmp_path):
    for folder, seed in (("one", 1), ("two", 2)):
        write_mosaic(tmp_path / folder / "m.fits", noise((32, 32), seed))
    store = cut_blind([tmp_path / "one", tmp_path / "two"], tmp_path / "s", size=32).store
    assert store.column("cutout_id").tolist() == ["one_m_x00000_y00000", "two_m_x00000_y00000"]
    assert store.column("mosaic").tolist() == ["one/m.fits", "two/m.fits"]
    np.testing.assert_array_equal(store.pixels(1), noise((32, 32), 2))


def test_the_provenance_tells_what_was_cut_from_what(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", noise((64, 64)))
    cut_blind([path], tmp_path / "s", size=32, overlap=0.25)
    provenance = store_manifest(tmp_path / "s")["provenance"]
    assert provenance["command"] == "cutouts blind"
    assert provenance["parameters"] == {"size": 32, "overlap": 0.25, "max_blank": 0.4}
    assert provenance["mosaics"] == [
        {"name": "m.fits", "bytes": path.stat().st_size, "modified_ns": path.stat().st_mtime_ns}
    ]
    assert provenance["survey"]["units"] == ["Jy/beam"]


# Sources --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.fits", "m.fits.fz"])
@pytest.mark.parametrize("size", [31, 32])
def test_a_source_is_in_the_middle_of_its_cutout(tmp_path, name, size):
    rng = np.random.default_rng(3)
    positions = rng.uniform(20, 180, (20, 2))
    pixels = noise((200, 200))
    for x, y in positions:
        pixels[round(y), round(x)] = 1.0
    path = write_mosaic(tmp_path / name, pixels)
    store = cut_sources([path], at(path, *positions), tmp_path / "s", size=size).store
    assert len(store) == 20
    assert (store.shapes == size).all()
    for row in range(20):
        x, y = positions[int(store.column("cutout_id")[row][1:])]
        assert (store.column("x")[row], store.column("y")[row]) == pytest.approx((x, y), abs=1e-6)
        x0, y0 = (math.floor(value - (size - 1) / 2 + 0.5) for value in (x, y))
        np.testing.assert_array_equal(store.pixels(row), pixels[y0 : y0 + size, x0 : x0 + size])
        offsets = np.argwhere(store.pixels(row) == 1.0) - (size - 1) / 2
        assert np.abs(offsets).max(axis=1).min() <= 1.0


def test_the_position_of_a_source_is_its_own(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", noise((100, 100)))
    sources = at(path, (40.3, 60.8))
    store = cut_sources([path], sources, tmp_path / "s", size=20).store
    assert (store.column("ra_deg")[0], store.column("dec_deg")[0]) == (sources.ra_deg[0], sources.dec_deg[0])


def test_boxes_are_a_multiple_of_the_extent_but_not_too_small(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", noise((200, 200)))
    sources = at(path, (100, 100), (100, 101), (100, 102), extent=[100.0, 0.0, 41.0])
    store = cut_sources([path], sources, tmp_path / "s", min_size=10).store
    sizes = dict(zip(store.column("cutout_id"), store.shapes[:, 0], strict=True))
    assert sizes == {"s0": 75, "s1": 10, "s2": 31}  # 1.5 x 100 / 2, the minimum, ceil(30.75)
    other = cut_sources([path], sources, tmp_path / "t", box_factor=1.0, min_size=10).store
    assert sorted(other.shapes[:, 1]) == [10, 21, 50]


def test_sources_that_cannot_be_cut_are_listed_with_the_reason(tmp_path):
    pixels = noise((200, 200))
    pixels[:, 150:] = np.nan
    path = write_mosaic(tmp_path / "m.fits", pixels)
    positions = [(100, 100), (300, 100), (100, 60), (180, 100), None, (60, 60), (1, 1), (199.6, 50)]
    sources = at(path, *positions, extent=[50, 50, 8, 50, 50, np.nan, 150, 50])
    result = cut_sources([path], sources, tmp_path / "s", min_extent_arcsec=10)
    assert result.store.column("cutout_id").tolist() == ["s0"]
    reasons = {"s1": "outside", "s2": "too small", "s3": "blank", "s4": "no position", "s5": "no extent"}
    assert not_cut(tmp_path / "s") == {**reasons, "s6": "beyond the edge", "s7": "outside"}
    counts = {"outside": 2, "too small": 1, "blank": 1, "beyond the edge": 1, "no position": 1, "no extent": 1}
    assert result.not_cut == counts


def test_when_all_are_cut_there_is_no_list(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", noise((50, 50)))
    result = cut_sources([path], at(path, (25, 25)), tmp_path / "s", size=20)
    assert result.not_cut == {}
    assert not (tmp_path / "s" / "not_cut.csv").exists()


def test_a_source_on_several_mosaics_is_cut_where_it_is_farthest_from_an_edge(tmp_path):
    write_mosaic(tmp_path / "a.fits", noise((100, 100), 1))
    write_mosaic(tmp_path / "b.fits", noise((100, 100), 2), ra=150.0 - 60 * SCALE / 3600)  # 60 pixels to the west
    sources = at(tmp_path / "a.fits", (70, 50), (90, 50), (20, 50))
    store = cut_sources([tmp_path], sources, tmp_path / "s", size=20).store
    found = dict(zip(store.column("cutout_id"), store.column("mosaic"), strict=True))
    assert found == {"s0": "a.fits", "s1": "b.fits", "s2": "a.fits"}


def test_a_mosaic_that_is_blank_there_is_passed_over(tmp_path):
    pixels = noise((100, 100), 1)
    pixels[:, 30:] = np.nan
    write_mosaic(tmp_path / "a.fits.fz", pixels)
    write_mosaic(tmp_path / "b.fits", noise((100, 100), 2), ra=150.0 - 60 * SCALE / 3600)
    sources = at(tmp_path / "a.fits.fz", (70, 50), (65, 60), (12, 50))
    store = cut_sources([tmp_path], sources, tmp_path / "s", size=16).store
    found = dict(zip(store.column("cutout_id"), store.column("mosaic"), strict=True))
    assert found == {"s0": "b.fits", "s1": "b.fits", "s2": "a.fits.fz"}


def test_a_mosaic_across_the_origin_of_right_ascension_is_searched_on_both_sides(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", noise((100, 100)), ra=0.0, dec=-60.0)
    sources = at(path, (20, 50), (80, 50))
    assert sources.ra_deg.min() < 1
    assert sources.ra_deg.max() > 359
    assert len(cut_sources([path], sources, tmp_path / "s", size=16).store) == 2


def test_an_all_sky_mosaic_is_searched_everywhere(tmp_path):
    head = fits.Header()
    head["CTYPE1"], head["CTYPE2"] = "GLON-AIT", "GLAT-AIT"
    head["CRPIX1"], head["CRPIX2"], head["CDELT1"], head["CDELT2"] = 170.0, 90.0, -1.0, 1.0
    head["CRVAL1"] = head["CRVAL2"] = 0.0
    fits.PrimaryHDU(noise((180, 340)), head).writeto(tmp_path / "m.fits")
    rng = np.random.default_rng(0)
    sky = np.stack([rng.uniform(0, 360, 50), rng.uniform(-85, 85, 50)], axis=1)
    assert len(cut_sources([tmp_path / "m.fits"], catalogue(sky), tmp_path / "s", size=8).store) >= 48


def test_catalogue_columns_travel_with_their_types(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", noise((100, 100)))
    columns = {
        "kind": pa.array(["FRI", None, "FRII"]),
        "cells": pa.array([1, None, 3], pa.int16()),
        "flux": pa.array([0.5, 1.5, None], pa.float32()),
        "good": pa.array([True, None, False]),
    }
    sources = at(path, (50, 70), (50, 30), (50, 50), **columns)  # cut in another order than they are given
    table = cut_sources([path], sources, tmp_path / "s", size=20).store.table
    assert [table.schema.field(name).type for name in columns] == [array.type for array in columns.values()]
    rows = {row["cutout_id"]: row for row in table.to_pylist()}
    assert list(rows) == ["s1", "s2", "s0"]
    for row in range(3):
        assert rows[f"s{row}"]["name"] == f"s{row}"
        assert [rows[f"s{row}"][name] for name in columns] == [array[row].as_py() for array in columns.values()]


def test_a_box_larger_than_any_memory_is_left_out_unread(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", noise((50, 50)))
    result = cut_sources([path], at(path, (25, 25), (20, 20), extent=[1e12, 20.0]), tmp_path / "s")
    assert result.not_cut == {"beyond the edge": 1}


# Interruption ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["blind", "sources"])
def test_an_interrupted_run_is_completed_to_the_same_store(tmp_path, monkeypatch, how):
    monkeypatch.setattr(store_module, "SHARD_BYTES", 12 * 4 * 32**2)
    monkeypatch.setattr(blind, "_RUN_BYTES", 5 * 4 * 32**2)
    path = write_mosaic(tmp_path / "m.fits", noise((160, 160)))
    positions = np.random.default_rng(0).uniform(20, 140, (40, 2))
    sources = at(path, *positions, flux=np.arange(40.0))

    def cut(out):
        return cut_blind([path], out, size=32) if how == "blind" else cut_sources([path], sources, out, size=32)

    whole = cut(tmp_path / "whole").store
    assert len(list((tmp_path / "whole").glob("*.arrow"))) > 3

    calls = []
    batches = store_module.cutout_batches

    def failing(cutouts, schema):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return batches(cutouts, schema)

    monkeypatch.setattr(store_module, "cutout_batches", failing)
    with pytest.raises(KeyboardInterrupt):
        cut(tmp_path / "broken")
    with pytest.raises(RadiosslError, match="run the same command again"):
        open_store(tmp_path / "broken")
    monkeypatch.setattr(store_module, "cutout_batches", batches)
    again = cut(tmp_path / "broken").store
    assert again.column("cutout_id").tolist() == whole.column("cutout_id").tolist()
    same_store(tmp_path / "whole", tmp_path / "broken")


def test_an_unfinished_store_of_other_parameters_is_not_completed(tmp_path, monkeypatch):
    paths = [write_mosaic(tmp_path / f"m{number}.fits", noise((64, 64))) for number in range(2)]
    interrupt_at_shard(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        cut_blind(paths, tmp_path / "s", size=32)
    monkeypatch.undo()
    with pytest.raises(RadiosslError, match="another command"):
        cut_blind(paths, tmp_path / "s", size=16)


def test_an_interruption_before_the_first_shard_leaves_nothing(tmp_path, monkeypatch):
    path = write_mosaic(tmp_path / "m.fits", noise((64, 64)))
    interrupt_at_shard(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        cut_blind([path], tmp_path / "s", size=32)
    assert not (tmp_path / "s").exists()


def interrupt_at_shard(number, monkeypatch):
    """Give every run of windows a shard of its own, and interrupt the writing of one of them."""
    made, real = itertools.count(1), store_module.cutout_batches

    def batches(*arguments):
        if next(made) == number:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(store_module, "cutout_batches", batches)
    monkeypatch.setattr("radiossl.store.writing.SHARD_BYTES", 1)


@pytest.mark.slow
def test_two_workers_write_the_same_store_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "SHARD_BYTES", 12 * 4 * 32**2)
    monkeypatch.setattr(blind, "_RUN_BYTES", 5 * 4 * 32**2)
    path = write_mosaic(tmp_path / "m.fits", noise((96, 96)))
    cut_blind([path], tmp_path / "one", size=32)
    cut_blind([path], tmp_path / "two", size=32, workers=2)
    same_store(tmp_path / "one", tmp_path / "two")


def killed_once(mark, job, **options):
    """As `_windows`; the process that comes to window 10 first is killed in the middle of its shard."""
    cutouts = list(blind._windows(job, **options))
    yield from cutouts[:1]
    if job[0].start == 10 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield from cutouts[1:]


@pytest.mark.slow
def test_a_killed_worker_leaves_the_store_complete_and_without_doubles(tmp_path, monkeypatch):
    import distributed

    monkeypatch.setattr(store_module, "SHARD_BYTES", 12 * 4 * 32**2)
    monkeypatch.setattr(blind, "_RUN_BYTES", 5 * 4 * 32**2)
    path = write_mosaic(tmp_path / "m.fits", noise((96, 96)))
    cut_blind([path], tmp_path / "one", size=32)
    monkeypatch.setattr(blind, "_windows", partial(killed_once, tmp_path / "mark"))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=":0", silence_logs=50
    ) as cluster:
        result = cut_blind([path], tmp_path / "two", size=32, scheduler=cluster.scheduler_address)
        assert (tmp_path / "mark").exists()
        again = cut_blind([path], tmp_path / "two", size=32, scheduler=cluster.scheduler_address)
    assert (result.again, again.again) == (False, True)
    same_store(tmp_path / "one", tmp_path / "two")


def test_a_mosaic_that_has_changed_makes_another_store(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", noise((64, 64)))
    assert not cut_blind([path], tmp_path / "s", size=32).again
    assert cut_blind([path], tmp_path / "s", size=32).again
    os.utime(path, ns=(0, 0))
    with pytest.raises(RadiosslError, match="finished store already"):
        cut_blind([path], tmp_path / "s", size=32)


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"size": 0}, "--size 0: expected a whole number of at least 1"),
        ({"size": -5}, "--size -5"),
        ({"overlap": 1.0}, "--overlap 1.0: expected a number of at least 0 and below 1"),
        ({"overlap": -0.1}, "--overlap -0.1"),
        ({"max_blank": 1.0}, "--max-blank 1.0"),
        ({"max_blank": -0.1}, "max-blank"),
        ({"workers": 0}, "--workers 0"),
    ],
)
def test_blind_parameters_out_of_range_are_refused(tmp_path, parameters, message):
    path = write_mosaic(tmp_path / "m.fits", noise((64, 64)))
    with pytest.raises(RadiosslError, match=message):
        cut_blind([path], tmp_path / "s", **{"size": 32, **parameters})
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"size": 0}, "--size 0: expected a whole number of at least 1"),
        ({"size": 20.5}, r"--size 20\.5: expected a whole number"),
        ({"size": 20, "min_extent_arcsec": float("nan")}, "--min-extent nan"),
        ({"size": 20, "min_size": 0}, "--min-size 0"),
        ({"box_factor": 0.0}, "--box-factor 0"),
        ({"size": 20, "max_blank": 1.5}, "max-blank"),
        ({}, r"with --extent COLUMN or --measure-extents \(its columns are name\)"),
        ({"size": 20, "min_extent_arcsec": 5}, "with --extent COLUMN"),
    ],
)
def test_source_parameters_out_of_range_are_refused(tmp_path, parameters, message):
    path = write_mosaic(tmp_path / "m.fits", noise((64, 64)))
    with pytest.raises(RadiosslError, match=message):
        cut_sources([path], at(path, (30, 30)), tmp_path / "s", **parameters)


def test_mosaics_without_a_value_are_named(tmp_path):
    path = write_mosaic(tmp_path / "void.fits", np.full((64, 64), np.nan, np.float32))
    message = r"void\.fits: every pixel of the mosaic is blank"
    with pytest.raises(RadiosslError, match=message):
        cut_blind([path], tmp_path / "a", size=32)
    with pytest.raises(RadiosslError, match=message):
        cut_sources([path], at(path, (30, 30)), tmp_path / "b", size=20)
    assert not (tmp_path / "a").exists()


def test_a_limit_that_nothing_passes_is_named(tmp_path):
    pixels = noise((64, 64))
    pixels[::2] = np.nan
    path = write_mosaic(tmp_path / "m.fits", pixels)
    with pytest.raises(RadiosslError, match="more than 40% blank, allow more with --max-blank"):
        cut_blind([path], tmp_path / "s", size=32)


def test_a_catalogue_of_another_sky_is_refused_with_the_distance(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", noise((64, 64)))
    with pytest.raises(RadiosslError, match=r"none of 1 source lies on the 1 mosaic,.*nearest is 10\.0"):
        cut_sources([path], catalogue([(150.0, 12.0)]), tmp_path / "s", size=20)


def test_a_catalogue_of_nothing_but_exclusions_is_refused(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", noise((64, 64)))
    with pytest.raises(RadiosslError, match=r"no source is left to cut \(1 too small\)"):
        cut_sources([path], at(path, (30, 30), extent=[5.0]), tmp_path / "s", min_extent_arcsec=10)


def test_an_out_folder_in_use_is_left_alone(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", noise((64, 64)))
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis.tex").touch()
    with pytest.raises(RadiosslError, match="not empty"):
        cut_blind([path], tmp_path / "s", size=32)
    assert [file.name for file in (tmp_path / "s").iterdir()] == ["thesis.tex"]


def test_an_out_folder_that_cannot_be_made_is_refused(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", noise((64, 64)))
    with pytest.raises(RadiosslError, match="choose another --out"):
        cut_blind([path], path / "store", size=32)


# Real data ------------------------------------------------------------------------------------------------------------


def test_real_first_sources_are_in_the_middle_of_their_tiles(real_data, tmp_path):
    tiles = sorted((real_data / "first" / "tiles").glob("*.fits.fz"))[::30]
    result = cut_sources(tiles, real_data / "first" / "catalogue.csv", tmp_path / "s", size=150)
    store = result.store
    assert len(store) >= len(tiles) > 30
    assert result.not_cut["outside"] == 1099 - len(store)
    own = np.array([f"{name}.fits.fz" for name in store.column("name")]) == store.column("mosaic")
    assert own.sum() >= len(tiles) - 1
    for axis in ("x", "y"):
        np.testing.assert_allclose(store.column(axis)[own], 149.5, atol=0.05)
    compact = np.flatnonzero(own & (store.column("las_arcsec") < 20))
    assert compact.size >= 5
    for row in compact:
        middle = np.nan_to_num(store.pixels(row)[60:90, 60:90])
        peak = np.array(np.unravel_index(middle.argmax(), middle.shape)) + 60
        assert np.abs(peak - 74.5).max() <= store.column("las_arcsec")[row] / 1.8 / 2 + 2


def test_real_scorpio_is_cut_blindly(real_data, tmp_path):
    store = cut_blind([real_data / "scorpio"], tmp_path / "s", size=500, overlap=0).store
    assert len(store) == 4
    assert set(store.column("unit")) == {"Jy/beam"}
    assert store.column("beam_major_arcsec")[0] == pytest.approx(6.5)
    assert np.isfinite(store.column("ra_deg")).all()


# Damaged mosaics ------------------------------------------------------------------------------------------------------


def survey_with_damage(folder):
    """Three good mosaics among five that cannot be read; a source is in the middle of each."""
    for number in range(3):
        write_mosaic(folder / f"good{number}.fits", noise((80, 80), number), ra=150.0 + number)
    cut_short = write_mosaic(folder / "short.fits", noise((80, 80)), ra=160.0)
    cut_short.write_bytes(cut_short.read_bytes()[:9000])
    (folder / "garbage.fits").write_bytes(b"not FITS" * 500)
    (folder / "empty.fits").write_bytes(b"")
    packed = write_mosaic(folder / "packed.fits.fz", noise((80, 80)), ra=161.0)
    damaged = bytearray(packed.read_bytes())
    damaged[-8000:-4000] = bytes(4000)
    packed.write_bytes(damaged)
    return {"short.fits", "garbage.fits", "empty.fits", "packed.fits.fz"}


def test_damaged_mosaics_are_skipped_listed_and_the_rest_is_done(tmp_path):
    damaged = survey_with_damage(tmp_path / "m")
    with pytest.raises(RadiosslError, match="fits"):
        cut_blind([tmp_path / "m"], tmp_path / "stop", size=40)
    result = cut_blind([tmp_path / "m"], tmp_path / "blind", size=40, on_error="skip")
    assert set(result.skipped) == damaged
    with (tmp_path / "blind" / "skipped.csv").open() as file:
        assert {row["mosaic"]: row["reason"] for row in csv.DictReader(file)} == result.skipped
    alone = cut_blind(sorted((tmp_path / "m").glob("good*")), tmp_path / "alone", size=40)
    assert alone.skipped == {}
    assert not (tmp_path / "alone" / "skipped.csv").exists()
    np.testing.assert_array_equal(alone.store.column("cutout_id"), result.store.column("cutout_id"))
    assert all((alone.store.pixels(row) == result.store.pixels(row)).all() for row in range(len(alone.store)))


def test_sources_on_damaged_mosaics_are_outside(tmp_path):
    damaged = survey_with_damage(tmp_path / "m")
    sky = [(150.0, 2.0), (151.0, 2.0), (160.0, 2.0), (161.0, 2.0)]
    result = cut_sources([tmp_path / "m"], catalogue(sky), tmp_path / "s", size=20, on_error="skip")
    assert result.store.column("cutout_id").tolist() == ["s0", "s1"]
    assert not_cut(tmp_path / "s") == {"s2": "outside", "s3": "outside"}
    assert set(result.skipped) == damaged


def test_where_nothing_can_be_read_the_first_reason_is_given(tmp_path):
    (tmp_path / "a.fits").write_bytes(b"")
    with pytest.raises(RadiosslError, match=r"none of 1 mosaic can be read; the first: .*a.fits"):
        cut_blind([tmp_path / "a.fits"], tmp_path / "s", on_error="skip")
    with pytest.raises(RadiosslError, match="--on-error ignore: expected one of stop, skip"):
        cut_blind([tmp_path / "a.fits"], tmp_path / "s", on_error="ignore")


@pytest.mark.parametrize(("extents", "doubted"), [([0.02, 0.01], True), ([0.02, 40], False), ([0, 0], False)])
def test_extents_below_a_pixel_are_doubted(tmp_path, extents, doubted):
    path = write_mosaic(tmp_path / "m" / "a.fits", noise((200, 200)))
    sources = at(path, (100, 100), (80, 90), extent=extents)
    notes = cut_sources([path], sources, tmp_path / "s").notes
    assert [note.partition(":")[2][:26] for note in notes] == [" no source is larger than "] * doubted
    assert not cut_sources([path], sources, tmp_path / "sized", size=32).notes


# Noise ----------------------------------------------------------------------------------------------------------------


def test_the_noise_of_a_box_is_that_of_the_sky_around_it(tmp_path):
    """A source that fills its box leaves no sky in it: the deviation of its pixels is its own."""
    y, x = np.indices((200, 200))
    pixels = noise((200, 200))
    pixels += 0.01 * np.exp(-((x - 100) ** 2 + (y - 90) ** 2) / (2 * 5**2)).astype(np.float32) + np.float32(3e-4)
    pixels[:, :30] = np.nan
    path = write_mosaic(tmp_path / "m.fits", pixels)
    store = cut_sources([path], at(path, (100.3, 90.3), (45, 20)), tmp_path / "s", size=32).store
    for cutout in store:  # the second one is near blank pixels and the mosaic's edge
        assert cutout.rms == pytest.approx(1e-4, rel=0.15)
        assert cutout.background == pytest.approx(3e-4, abs=5e-5)
    assert PixelStatistics.of(store["s0"].pixels).rms > 5e-4
    np.testing.assert_array_equal(store["s0"].pixels, pixels[75:107, 85:117])
    boxed = cut_sources([path], at(path, (100, 90), extent=[50 * SCALE]), tmp_path / "b", box_factor=1).store
    (seen,) = boxed.shapes[:, 0]
    pieces = pixels[90 - seen : 90 + seen, 100 - seen : 100 + seen]  # twice as wide
    assert boxed[0].rms == pytest.approx(Noise.of(pieces).rms, rel=0.1)
    fields = cut_sources([path], at(path, (100, 90)), tmp_path / "f", size=100).store  # these show their own sky
    fields = CutoutStore.joined(fields, cut_blind([path], tmp_path / "windows", size=40).store)
    assert [cutout.noise for cutout in fields] == [Noise.of(cutout.pixels) for cutout in fields]


def test_where_the_noise_was_cut_away_a_box_has_that_of_its_pixels(tmp_path):
    pixels = np.zeros((100, 100), np.float32)
    pixels[45:55, 45:55] = noise((10, 10)) ** 2
    path = write_mosaic(tmp_path / "m.fits", pixels)
    store = cut_sources([path], at(path, (50, 50)), tmp_path / "s", size=12).store
    assert store[0].noise == Noise.of(store.pixels(0))
    assert store[0].rms > 0
