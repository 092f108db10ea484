"""Points in polygons, and selections as files that other programs read."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from radiossl.explorer.selection import regions_bytes, rows_in_polygon, table_bytes
from radiossl.io.errors import RadiosslError

FRAME = pd.DataFrame(
    {
        "cutout_id": ["a", "<b>", "c{}"],
        "ra_deg": [1.0, 2.0, np.nan],
        "dec_deg": [-1.0, -2.0, 3.0],
        "height": [20, 20, 20],
        "width": [30, 30, 30],
        "pixel_scale_arcsec": [2.0, np.nan, 2.0],
        "rating": pd.array([4, None, None], dtype="Int64"),
    }
)


def inside(point, corners):
    """Even-odd rule, by the book."""
    x, y = point
    odd = False
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (y0 > y) != (y1 > y) and x < (x1 - x0) * (y - y0) / (y1 - y0) + x0:
            odd = not odd
    return odd


def test_points_in_a_polygon_equal_the_rule_by_the_book():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (500, 2))
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    radii = np.where(np.arange(12) % 2, 0.35, 0.9)  # a star
    corners = np.column_stack([radii * np.cos(angles), radii * np.sin(angles)])
    expected = [row for row, point in enumerate(points) if inside(point, corners.tolist())]
    found = rows_in_polygon(points, corners[:, 0], corners[:, 1])
    assert found.tolist() == expected
    assert 50 < len(found) < 300


@pytest.mark.parametrize("x", [[], [0.0, 1.0], [0.0, 1.0, np.nan]])
def test_what_is_no_polygon_holds_nothing(x):
    assert len(rows_in_polygon(np.zeros((3, 2)), x, x)) == 0


def test_tables_are_read_back():
    csv = pd.read_csv(io.BytesIO(table_bytes(FRAME, "csv")))
    assert csv["cutout_id"].tolist() == FRAME["cutout_id"].tolist()
    assert csv["rating"].iloc[0] == 4
    table = Table.read(io.BytesIO(table_bytes(FRAME, "fits")), format="fits")
    assert [str(name) for name in table["cutout_id"]] == FRAME["cutout_id"].tolist()


def test_regions_have_a_circle_for_every_position():
    from regions import Regions

    circles = Regions.parse(regions_bytes(FRAME).decode(), format="ds9")
    assert [round(circle.radius.to_value("arcsec"), 3) for circle in circles] == [30.0, 15.0]
    assert circles[0].center.ra.deg == pytest.approx(1.0)
    with pytest.raises(RadiosslError, match="has a position on the sky"):
        regions_bytes(FRAME.tail(1))
