"""Tables reach programs on the desktop: through astropy's own SAMP hub, to a client that reads what it is sent."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.samp import SAMPIntegratedClient

from radiossl import RadiosslError, send_table
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
