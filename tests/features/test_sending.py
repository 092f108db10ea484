"""Tables reach programs on the desktop: through astropy's own SAMP hub, to a client that reads what it is sent."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.samp import SAMPIntegratedClient
from astropy.table import Table

from radiossl import RadiosslError, send_table, show_on_sky
from radiossl.cli.main import main
from radiossl.features.table import FeatureTable


def test_a_table_is_loaded_before_its_file_goes_away(topcat, tmp_path):
    frame = pd.DataFrame({"cutout_id": ["a", "007"], "ra_deg": [1.5, 2.5], "similarity": [0.9, 0.8]})
    frame.to_csv(tmp_path / "neighbours.csv", index=False)
    with pytest.raises(SystemExit) as ended:
        main(["send", str(tmp_path / "neighbours.csv"), "--to", "topcat"])
    assert ended.value.code == 0
    name, table = topcat[0]
    assert name == "neighbours.csv"
    assert [str(value) for value in table["cutout_id"]] == ["a", "007"]
    assert table["ra_deg"].tolist() == [1.5, 2.5]


def test_feature_vectors_stay_here(topcat, tmp_path):
    table = FeatureTable(pa.table({"cutout_id": ["a"], "kind": ["FRI"]}), np.ones((1, 4), np.float32))
    table.write(tmp_path / "f.parquet")
    assert send_table(tmp_path / "f.parquet", "topcat") == "TOPCAT"
    assert topcat[0][1].colnames == ["cutout_id", "kind"]


def test_what_does_not_answer_is_one_line(hub, tmp_path):
    table = pa.table({"cutout_id": ["a"]})
    with pytest.raises(RadiosslError, match="--to ds9: is not open, or not connected to SAMP"):
        send_table(table, "ds9")
    viewer = SAMPIntegratedClient(name="SAOImage DS9", addr="127.0.0.1")
    viewer.connect()
    with pytest.raises(RadiosslError, match="SAOImage DS9 takes no tables through SAMP"):
        send_table(table, "ds9")
    viewer.bind_receive_call(
        "table.load.votable",
        lambda key, sender, message, *_: viewer.ereply(message, "samp.error", error={"samp.errortxt": "too large"}),
    )
    with pytest.raises(RadiosslError, match=r"SAOImage DS9 did not load the table \(too large\)"):
        send_table(table, "ds9")
    viewer.disconnect()
    with pytest.raises(RadiosslError, match="--to vscode: expected one of topcat, ds9, aladin"):
        send_table(table, "vscode")


def test_without_a_hub_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / 'none').as_uri()}")
    with pytest.raises(RadiosslError, match="--to aladin: no SAMP hub is running; open aladin first"):
        send_table(pa.table({"cutout_id": ["a"]}), "aladin")


def test_sources_are_shown_in_a_notebook(tmp_path, monkeypatch):
    widget, sent = pytest.importorskip("ipyaladin").Aladin, []
    monkeypatch.setattr(widget, "_send_or_queue", lambda self, message, buffers: sent.append((message, buffers)))
    frame = pd.DataFrame({"cutout_id": ["a", "007", "c"], "ra_deg": [359.9, 0.1, np.nan], "dec_deg": [10, 10, 5]})
    frame.to_csv(tmp_path / "neighbours.csv", index=False)
    features = FeatureTable(pa.Table.from_pandas(frame), np.ones((3, 4), np.float32))
    for table in (tmp_path / "neighbours.csv", frame, features, Table.from_pandas(frame)):
        shown = show_on_sky(table, color="orange")
        assert abs(shown.target.ra.wrap_at("180d").deg) < 1e-6  # across 0 h
        assert shown.target.dec.deg == pytest.approx(10, abs=0.01)
        assert 0.2 < shown.fov.deg < 0.3
        assert shown.survey == "CDS/P/DSS2/color"
        message, (votable,) = sent.pop()
        assert message["options"]["ra_field"] == "ra_deg"
        read = Table.read(io.BytesIO(votable), format="votable")
        assert [str(name) for name in read["cutout_id"]] == ["a", "007"]  # not what has no position


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"ra": [1.0]}, "no column 'ra_deg'; there are ra"),
        ({"ra_deg": [None], "dec_deg": [1.0]}, "no row has a position"),
        ({"ra_deg": ["1h"], "dec_deg": ["2d"]}, "ra_deg and dec_deg must be numbers of degrees"),
    ],
)
def test_what_is_not_on_the_sky_is_one_line(columns, said):
    pytest.importorskip("ipyaladin")
    with pytest.raises(RadiosslError, match=f"^radiossl: {said}"):
        show_on_sky(pd.DataFrame(columns))
