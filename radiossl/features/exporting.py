"""Feature tables for other programs, as files or sent through SAMP (astropy.samp) to those that are open."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa

from radiossl.datasets.image_sources import open_images
from radiossl.features.feature_file import FeatureFile, feature_images
from radiossl.features.hats import write_hats
from radiossl.features.other_formats import write_astropy
from radiossl.features.table import FEATURES, FeatureTable
from radiossl.io.csv_cells import guarded_frame
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, atomic_file
from radiossl.io.locks import only_writer
from radiossl.io.parquet import parquet_writer
from radiossl.io.progress import track
from radiossl.io.tables import read_table
from radiossl.store.pictures import png_thumbnail

if TYPE_CHECKING:
    from radiossl.datasets.image_files import ImageFiles
    from radiossl.datasets.image_sources import Images
    from radiossl.store.store import CutoutStore

Format = Literal["fits", "votable", "csv", "hats", "embedding-atlas", "spotlight"]
#: Side of the pictures beside the features, in pixels.
_PICTURE_SIDE = 128
FORMATS: tuple[Format, ...] = get_args(Format)


def export_table(
    features: PathLike,
    out: PathLike,
    form: Format,
    images: Images | None = None,
    margin_arcsec: float = 0.0,
    with_images: bool = False,
) -> int:
    """Write a feature table in another format.

    Parameters
    ----------
    features
        Parquet file, or folder of such, from `radiossl embed`.
    out
        FITS, VOTable or CSV file to write, or the folder of a HATS catalogue (see `write_hats`).
    form
        ``fits`` or ``votable``: all columns, the features as a column of vectors; the table is read into memory.
        ``csv``: all columns, then feature_0, feature_1 and so on. ``hats``: partitioned by position.
        ``embedding-atlas`` and ``spotlight``: Parquet with a column ``image`` of PNG pictures beside the features.
    images
        Those pictures' pixels, if the images that the features were made of have moved.
    margin_arcsec, with_images
        Of a HATS catalogue: a margin cache so wide, and a column of images; see `write_hats`.

    Returns
    -------
    int
        How many rows were left out: those without a position in a HATS catalogue.

    Raises
    ------
    RadiosslError
        If the table cannot be read, `form` is unknown, or `out` cannot be written.
    """
    if form not in FORMATS:
        raise RadiosslError(f"--format {form}: expected one of {', '.join(FORMATS)}")
    out = Path(out)
    with only_writer(out):
        if form == "hats":
            table = FeatureFile(features)
            cutouts = open_images(_images_of(table, images)) if with_images else None
            return write_hats(table, out, margin_arcsec, cutouts)
        if margin_arcsec or with_images:
            raise RadiosslError(f"--margin and --images are of HATS catalogues, not of {form}")
        if out.is_dir():
            raise RadiosslError(f"{out}: is a folder, a file was to be written; choose another --out")
        if form == "csv":
            _write_csv(FeatureFile(features), out)
        elif form == "embedding-atlas" or form == "spotlight":
            _write_with_pictures(FeatureFile(features), out, form, images)
        else:
            whole = FeatureTable.read(features)
            write_astropy(whole.columns, out, form, {FEATURES: whole.features}, whole.metadata)
    return 0


def _write_csv(features: FeatureFile, out: Path) -> None:
    """Write the columns, then the features as feature_0, feature_1 and so on, batch by batch."""
    names = [f"feature_{number}" for number in range(features.dimension)]
    with atomic_file(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        batches = track(features.batches_with_columns(), "writing", total=features.batch_count)
        for number, (columns, vectors) in enumerate(batches):
            frame = columns.to_pandas(types_mapper=pd.ArrowDtype)
            whole = pd.concat([frame, pd.DataFrame(vectors, columns=names)], axis=1)
            guarded_frame(whole).to_csv(stream, index=False, header=number == 0)


def _write_with_pictures(features: FeatureFile, out: Path, form: str, images: Images | None) -> None:
    """Write Parquet with pictures: bytes for Spotlight, for Embedding Atlas as Hugging Face stores images."""
    found = _images_of(features, images)
    kind = pa.binary() if form == "spotlight" else pa.struct({"bytes": pa.binary(), "path": pa.string()})
    vectors = pa.list_(pa.float32(), features.dimension)
    schema = features.schema.append(pa.field("image", kind)).append(pa.field(FEATURES, vectors))
    with atomic_file(out) as temporary, parquet_writer(temporary, schema) as writer:
        for columns, values in track(features.batches_with_columns(), "writing", total=features.batch_count):
            names = [name for name in ("ra_deg", "dec_deg") if name in columns.column_names]
            ids, *place = (columns.column(name).to_pylist() for name in ("cutout_id", *names))
            cutouts = found.select_ids(ids, *(np.array(column, float) for column in place))
            pictures = [png_thumbnail(cutouts.pixels(row), _PICTURE_SIDE) for row in range(len(cutouts))]
            shown = pictures if form == "spotlight" else [{"bytes": picture, "path": None} for picture in pictures]
            flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
            table = columns.append_column("image", pa.array(shown, kind))
            table = table.append_column(FEATURES, pa.FixedSizeListArray.from_arrays(flat, features.dimension))
            writer.write_table(table.cast(schema))


def _images_of(features: FeatureFile, images: Images | None) -> CutoutStore | ImageFiles:
    found = feature_images(features.metadata, features.columns(["cutout_id", "file"]), images)
    if found is None:
        raise RadiosslError(f"{features.path}: the images that it was made of are gone; give them with --store")
    return found


Program = Literal["topcat", "ds9", "aladin"]
_LOAD = "table.load.votable"
#: Seconds that a program may take to load the table.
_PATIENCE = 120


def send_table(table: PathLike | pa.Table, to: Program, name: str = "") -> str:
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
        hint = f"open {to} first (TOPCAT and Aladin have one)"
        raise RadiosslError(f"--to {to}: no SAMP hub is running; {hint}") from None
    try:
        with tempfile.TemporaryDirectory(prefix="radiossl-") as folder:
            file = Path(folder) / "table.vot"
            write_astropy(columns, file, "votable")
            return _load(client, to, {"url": file.as_uri(), "table-id": title, "name": title})
    finally:
        client.disconnect()


def _columns(path: PathLike) -> pa.Table:
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
