"""Tables for programs that are open, sent through SAMP (astropy.samp), and for Aladin in a notebook."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from radiossl.features.exporting import astropy_table, write_astropy
from radiossl.features.feature_file import FeatureFile
from radiossl.features.table import FEATURES, FeatureTable
from radiossl.io.errors import RadiosslError, check_choice, check_columns
from radiossl.io.extras import require
from radiossl.io.files import PathLike
from radiossl.io.tables import read_table, table_content
from radiossl.io.values import numbers

if TYPE_CHECKING:
    from ipyaladin import Aladin

    from radiossl.features.exporting import AnyTable


def show_on_sky(table: PathLike | AnyTable, survey: str = "CDS/P/DSS2/color", **options: Any) -> Aladin:
    """Show sources on images of the sky, in a notebook, by ipyaladin; a click on one shows its columns.

    Parameters
    ----------
    table
        As for `send_table`, with columns `ra_deg` and `dec_deg` (ICRS), such as what `radiossl.search` returns.
    survey
        Images behind them: the identifier of a HiPS, such as ``CDS/P/NVSS``.
    options
        Of ``ipyaladin.Aladin.add_table``, such as ``color`` and ``shape``.

    Returns
    -------
    ipyaladin.Aladin
        The widget: centred on the sources, and as large as needed to show them all.

    Raises
    ------
    RadiosslError
        If ipyaladin is not installed, the table cannot be read, or no row has a position.

    See Also
    --------
    send_table : Send it to a program outside the notebook.

    Examples
    --------
    >>> radiossl.show_on_sky("found/neighbours.csv", color="orange")  # doctest: +SKIP
    """
    require("ipyaladin")
    from astropy.coordinates import SkyCoord
    from ipyaladin import Aladin

    columns, title = _columns(table)
    check_columns(("ra_deg", "dec_deg"), columns.column_names, title)
    found = [numbers(columns[name]) for name in ("ra_deg", "dec_deg")]
    if any(values is None for values in found):
        raise RadiosslError(f"{title}: ra_deg and dec_deg must be numbers of degrees")
    ra_deg, dec_deg = np.array(found)
    placed = np.isfinite(ra_deg) & np.isfinite(dec_deg) & (abs(dec_deg) <= 90)
    if not placed.any():
        raise RadiosslError(f"{title}: no row has a position, so nothing can be shown on the sky")
    columns = columns.filter(pa.array(placed))
    places = SkyCoord(ra_deg[placed], dec_deg[placed], unit="deg")
    centre = SkyCoord(places.cartesian.mean(), frame="icrs")
    field_deg = float(np.clip(2.2 * places.separation(centre).deg.max(), 0.05, 180))
    shown = Aladin(target=centre, fov=field_deg, survey=survey)
    named = {"name": title, "ra_field": "ra_deg", "dec_field": "dec_deg"}
    shown.add_table(astropy_table(columns, "votable"), **named | options)
    return shown


Program = Literal["topcat", "ds9", "aladin"]
_LOAD = "table.load.votable"
#: Seconds that a program may take to load the table.
_PATIENCE = 120


def send_table(table: PathLike | AnyTable, to: Program, name: str = "") -> str:
    """Send a table to TOPCAT, DS9 or Aladin; return what the program calls itself.

    Feature vectors are left out: what these programs show is the columns beside them.

    Parameters
    ----------
    table
        Feature table, or any table that `radiossl.io.tables.read_table` reads, such as neighbours.csv; or one of
        pandas, polars, Arrow or astropy.
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

    check_choice("--to", to, Program)
    columns, title = _columns(table)
    client = SAMPIntegratedClient(name="radiossl", description="radio images that look alike", callable=False)
    try:
        with conf.set_temp("use_internet", False):
            client.connect()
    except (SAMPHubError, OSError):
        hint = f"open {to} first (TOPCAT and Aladin have one)"
        raise RadiosslError(f"--to {to}: no SAMP hub is running; {hint}") from None
    try:
        with tempfile.TemporaryDirectory(prefix="radiossl-") as folder:
            file = Path(folder) / "table.vot"
            write_astropy(columns, file, "votable")
            return _load(client, to, {"url": file.as_uri(), "table-id": name or title, "name": name or title})
    finally:
        client.disconnect()


def _columns(table: PathLike | AnyTable) -> tuple[pa.Table, str]:
    """The columns of a table without vectors, and what it is called."""
    if isinstance(table, FeatureTable):
        return table.columns, "radiossl"
    if not isinstance(table, (str, os.PathLike)):
        return table_content(table).table, "radiossl"
    path = Path(table)
    if path.name.lower().endswith((".parquet", ".pq")) or path.is_dir():
        return FeatureFile(path).columns(), path.name
    columns = read_table(path)
    return columns.drop_columns([name for name in columns.column_names if name == FEATURES]), path.name


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
