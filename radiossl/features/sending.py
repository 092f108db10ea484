"""Tables sent to programs that are open on the same desktop, through SAMP (astropy.samp)."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa

from radiossl.features.feature_file import FeatureFile
from radiossl.features.other_formats import write_astropy
from radiossl.features.rows import FEATURES
from radiossl.io.errors import RadiosslError
from radiossl.io.tables import read_table

Program = Literal["topcat", "ds9", "aladin"]
_LOAD = "table.load.votable"
#: Seconds that a program may take to load the table.
_PATIENCE = 120


def send_table(table: str | os.PathLike[str] | pa.Table, to: Program, name: str = "") -> str:
    """Send a table to TOPCAT, DS9 or Aladin; return what the program calls itself.

    Feature vectors are left out: what these programs show is the columns beside them.

    Parameters
    ----------
    table
        Feature table, or any table that `radiossl.io.tables.read_table` reads, such as neighbours.csv.
    to
        ``topcat``, ``ds9`` or ``aladin``: the first program with that in its name.
    name
        What the table is called there; by default as the file.

    Raises
    ------
    RadiosslError
        If the table cannot be read, or the program is not open, takes no tables or does not answer.

    Examples
    --------
    >>> send_table("found/neighbours.csv", to="topcat")  # doctest: +SKIP
    'topcat'
    """
    with warnings.catch_warnings():  # astropy 8 announces that pyvo.samp will take its place
        warnings.simplefilter("ignore")
        from astropy.samp import SAMPHubError, SAMPIntegratedClient, conf

    if to not in get_args(Program):
        raise RadiosslError(f"--to {to}: expected one of {', '.join(get_args(Program))}")
    columns = table if isinstance(table, pa.Table) else _columns(table)
    title = name or ("radiossl" if isinstance(table, pa.Table) else Path(table).name)
    client = SAMPIntegratedClient(name="radiossl", description="radio images that look alike", callable=False)
    try:
        with conf.set_temp("use_internet", False):
            client.connect()
    except (SAMPHubError, OSError):
        raise RadiosslError(
            f"--to {to}: no SAMP hub is running; open {to} first (TOPCAT and Aladin have one)"
        ) from None
    try:
        with tempfile.TemporaryDirectory(prefix="radiossl-") as folder:
            file = Path(folder) / "table.vot"
            write_astropy(columns, file, "votable")
            return _load(client, to, {"url": file.as_uri(), "table-id": title, "name": title})
    finally:
        client.disconnect()


def _columns(path: str | os.PathLike[str]) -> pa.Table:
    name = str(path).lower()
    if name.endswith((".parquet", ".pq")) or Path(path).is_dir():
        return FeatureFile(path).columns()
    table = read_table(path)
    return table.drop_columns([column for column in table.column_names if column == FEATURES])


def _load(client: Any, to: str, what: dict[str, str]) -> str:
    """Have the program load the table, and wait until it has: the file goes away afterwards."""
    listeners = set(client.get_subscribed_clients(_LOAD))
    names = {one: str(client.get_metadata(one).get("samp.name", "")) for one in client.get_registered_clients()}
    meant = [one for one, name in names.items() if to in name.lower()]
    if not meant:
        raise RadiosslError(f"--to {to}: is not open, or not connected to SAMP (there are {', '.join(names.values())})")
    chosen = next((one for one in meant if one in listeners), None)
    if chosen is None:
        raise RadiosslError(f"--to {to}: {names[meant[0]]} takes no tables through SAMP ({_LOAD})")
    answer = client.ecall_and_wait(chosen, _LOAD, str(_PATIENCE), **what)
    if answer.get("samp.status") != "samp.ok":
        reason = answer.get("samp.error", {}).get("samp.errortxt", "no reason given")
        raise RadiosslError(f"--to {to}: {names[chosen]} did not load the table ({reason})")
    return names[chosen]
