"""Tables in text files as people and programs write them: CSV and its kin, PyBDSF, Selavy, VizieR, WSClean..."""

from __future__ import annotations

import csv
import gzip
import io
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from radiossl.io.csv_cells import unguarded_table
from radiossl.io.errors import RadiosslError
from radiossl.io.sky_models import UNITS, is_sky_model, read_sky_model
from radiossl.io.tables import TableContent, chosen_table, frame_of_equinox, table_content
from radiossl.io.values import clean_texts, typed, unique_names

_HEAD_ROWS = 100
_NAMED_DELIMITERS = {"tab": "\t", "space": " ", "comma": ",", "semicolon": ";", "\\t": "\t"}
_NUMERIC = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?|nan", re.IGNORECASE)
_SEXAGESIMAL = re.compile(r"[+-]?\d+[:hd°]\d+.*")
_DECIMAL_COMMA = r"^[+-]?\d+(,\d+)?$"
#: A column in the head of SExtractor's catalogues: number, name, description, unit.
_NUMBERED = re.compile(r"#\s*(\d+)\s+(\w+)\b.*?(?:\[(.+)\])?\s*")
_DASHES = re.compile(r"-+|=+|:?-+:?")
_UNIT = re.compile(
    r'\[.*\]|--|""?|\'\'?|deg|degrees?|"?[hd]:m:s"?|h|hours?|rad|arc(sec|min)|mas|u?m?jy(/beam)?|[mk]?pc|mag|[mkg]?hz',
    re.IGNORECASE,
)
_SYSTEM = re.compile(r"#\s*coosys\s.*?(eq_FK[45]\s+[BJ]?[\d.]+|ICRS|galactic)", re.IGNORECASE)
_EQUINOX = re.compile(r"#.*?\bequinox\s*[:=]\s*([BJ]?)(\d{4}(?:\.\d*)?)", re.IGNORECASE)
_IPAC_TYPES = {"char", "c", "int", "i", "long", "l", "double", "d", "float", "f", "real", "r", "date"}
#: Aegean's simple listing heads its columns with names of which several are the same.
_AEGEAN = "#isl,src"
_AEGEAN_COLUMNS = (
    *("uuid", "background", "local_rms", "ra_str", "dec_str", "ra", "err_ra", "dec", "err_dec", "peak_flux"),
    *("err_peak_flux", "int_flux", "err_int_flux", "a", "err_a", "b", "err_b", "pa", "err_pa", "flags"),
)


@dataclass(frozen=True)
class Layout:
    """How the file is laid out: the columns, what separates them, and how many lines come before the first row."""

    heads: Sequence[str]
    delimiter: str
    skipped: int
    #: In the order of the columns, as they are written; fewer where they are not known.
    written_units: Sequence[str]
    comments: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The names of the columns, made different."""
        return unique_names(name.strip() or f"column_{number}" for number, name in enumerate(self.heads, start=1))

    @property
    def units(self) -> dict[str, str]:
        """The units of the columns that have one."""
        found = zip(self.names, (unit.strip("[]").strip() for unit in self.written_units), strict=False)
        return {name: unit for name, unit in found if unit not in ("", "--")}

    def options(self, encoding: str) -> dict[str, Any]:
        """How pyarrow reads the rows: arguments of `pyarrow.csv.read_csv` and `pyarrow.csv.open_csv`."""

        def comment(row: arrow_csv.InvalidRow) -> str:
            return "skip" if (row.text or "").lstrip().startswith("#") else "error"

        reading = arrow_csv.ReadOptions(column_names=self.names, skip_rows=self.skipped, encoding=encoding)
        parsing = arrow_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=comment)
        return {"read_options": reading, "parse_options": parsing}


def streamed_layout(path: Path) -> Layout | None:
    """Return the layout of a text table that can be read piece by piece; None if it must be read as a whole.

    That is one of rows between marks, in UTF-8, which does not describe itself.
    """
    try:
        head = _head(path, "utf-8")
    except UnicodeDecodeError:
        return None
    if len(_vizier_tables(path)) > 1 or _astropy_format(head) or is_sky_model(head):
        return None
    layout = _layout(path, head, None)
    return None if layout.delimiter == " " else layout


def read_text_table(
    path: Path, delimiter: str | None = None, encoding: str | None = None, table: str | None = None
) -> TableContent:
    """Read a text table; see `radiossl.io.tables.read_table_content`."""
    parts = _vizier_tables(path)
    if len(parts) > 1:
        text, notes = chosen_table(path, list(parts.values()), list(parts), table)
        with tempfile.TemporaryDirectory() as folder:
            alone = Path(folder, path.name.removesuffix(".gz"))
            alone.write_bytes(text)
            try:
                content = read_text_table(alone, delimiter, encoding)
            except RadiosslError as error:
                raise RadiosslError(str(error).replace(str(alone), str(path))) from None
        return replace(content, notes=(*notes, *content.notes), tables=len(parts))
    with _opened(path) as file:
        usual = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        return _read(path, delimiter, encoding or usual)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if "UTF8" not in str(error) and not isinstance(error, UnicodeDecodeError):
            raise
        if encoding is not None:
            raise RadiosslError(f"{path}: is not in the encoding {encoding}; name another with --encoding") from None
    except LookupError:
        raise RadiosslError(f"--encoding {encoding}: unknown; expected one such as utf-8 or latin-1") from None
    content = _read(path, delimiter, "latin-1")
    note = "is not in UTF-8 and was read as Latin-1; name another encoding with --encoding"
    return replace(content, notes=(note, *content.notes))


def _vizier_tables(path: Path) -> dict[str, bytes]:
    """Return the tables of a file of VizieR by their names, each with the head of its resource; of other files none."""
    with _opened(path) as file:
        if not file.read(2**14).count(b"#RESOURCE="):
            return {}
        file.seek(0)
        head, *resources = re.split(rb"^(?=#RESOURCE=)", file.read(), flags=re.MULTILINE)
    found = {}
    for resource in resources:
        about, *tables = re.split(rb"^(?=#Table\t)", resource, flags=re.MULTILINE)
        for table in tables:
            name = table.splitlines()[0].split(b"\t")[1].strip(b" :").decode("latin-1")
            found[name] = head + about + table
    return found


def _read(path: Path, delimiter: str | None, encoding: str) -> TableContent:
    head = _head(path, encoding)
    if (known := _astropy_format(head)) is not None:
        from astropy.table import Table

        return table_content(Table.read(path, format=known))
    if is_sky_model(head):
        with _opened(path) as file:
            model = read_sky_model(path, io.TextIOWrapper(file, encoding=encoding).read().splitlines())
        return TableContent(model, {name: unit for name, unit in UNITS.items() if name in model.column_names})
    layout = _layout(path, head, _NAMED_DELIMITERS.get(delimiter or "", delimiter))
    texts = _rows(path, layout, encoding)
    columns, written = {}, {}
    for number, name in enumerate(texts.column_names, start=1):
        text = clean_texts(texts.column(name))
        if layout.delimiter == ";" and has_decimal_commas(text):
            text = pc.replace_substring(text, ",", ".")
        if name == f"column_{number}" and text.null_count == len(text):  # rows that end in a delimiter
            continue
        columns[name] = typed(text)
        if columns[name].type != text.type:
            written[name] = text
    notes = []
    if delimiter is None and layout.delimiter != "," and path.name.lower().removesuffix(".gz").endswith(".csv"):
        notes.append(f"columns are separated by {layout.delimiter!r}; name another with --delimiter")
    frame = _frame(layout.comments)
    frames = {"": frame} if frame else {}
    return TableContent(pa.table(columns), layout.units, frames, written=written, notes=tuple(notes))


def has_decimal_commas(text: pa.ChunkedArray) -> bool:
    """Return whether a column of text is of numbers as 1,5 is one in many countries."""
    numbers = pc.all(pc.match_substring_regex(text, _DECIMAL_COMMA), min_count=1)
    return bool(numbers.as_py() and pc.any(pc.match_substring(text, ",")).as_py())


def _astropy_format(head: Sequence[str]) -> str | None:
    """Return what astropy calls the format of a text file that describes itself, None for all others."""
    if head[:1] and head[0].startswith("# %ECSV"):
        return "ascii.ecsv"
    if any("byte-by-byte" in line.lower() for line in head):  # of the AAS or CDS
        return "ascii.mrt"
    # IPAC: keywords after backslashes, then lines of names and of types between bars.
    lines = [line for line in head if line.strip() and not line.startswith("\\")][:2]
    types = {kind.strip().lower() for kind in lines[1].strip().strip("|").split("|")} if len(lines) == 2 else set()
    return "ascii.ipac" if types and types <= _IPAC_TYPES and all(line.startswith("|") for line in lines) else None


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _head(path: Path, encoding: str) -> list[str]:
    """Return the lines before the first row of the table, and some more."""
    head: list[str] = []
    rows = 0
    with _opened(path) as file, io.TextIOWrapper(file, encoding=encoding) as reader:
        for line in reader:
            head.append(line.rstrip("\r\n"))
            rows += bool(line.strip()) and not line.lstrip().startswith("#")
            if rows >= _HEAD_ROWS:
                break
    if head:
        head[0] = head[0].removeprefix("\ufeff")
    return head


# The layout -----------------------------------------------------------------------------------------------------------


def _layout(path: Path, head: Sequence[str], given: str | None) -> Layout:
    if given is not None and len(given) != 1:
        raise RadiosslError(f"--delimiter {given}: expected one character, 'tab' or 'space'")
    begin = next((row for row, line in enumerate(head) if line.strip() and not line.lstrip().startswith("#")), None)
    comments = tuple(line for line in head[:begin] if line.strip())
    if begin is None:
        last = comments[-1].lstrip("# ") if comments else ""
        if not last:
            raise RadiosslError(f"{path}: not a readable csv table (the file is empty)")
        return Layout(_fields(last, given or ","), given or ",", len(head), [], comments)
    aegean = any(line.startswith(_AEGEAN) for line in comments)
    delimiter = given or (" " if aegean else _delimiter(path, head[begin], head[begin + 1 : begin + 3]))
    first = _fields(head[begin], delimiter)
    names, units = _commented_header(comments, first, delimiter)
    if names is not None:
        return Layout(names, delimiter, begin, units, comments)
    skipped, units = begin + 1, []
    below = [_fields(line, delimiter) for line in head[begin + 1 : begin + 3]]
    whole = [fields if len(fields) == len(first) else [] for fields in below]
    ruled = next((place for place, fields in enumerate(whole) if fields and all(map(_DASHES.fullmatch, fields))), None)
    if ruled is not None:
        skipped, units = begin + 2 + ruled, below[0] if ruled == 1 else []
    elif whole and any(whole[0]) and all(not unit or _UNIT.fullmatch(unit) for unit in whole[0]):
        skipped, units = begin + 2, below[0]
    return Layout(first, delimiter, skipped, units, comments)


def _delimiter(path: Path, header: str, following: Sequence[str]) -> str:
    """Return what separates the columns: the usual mark of such files if it is there, else another one or blanks."""
    usual = "\t" if ".tsv" in path.name.lower() or ".tab" in path.name.lower() else ","
    for mark in (usual, *(mark for mark in "\t,;|" if mark != usual)):
        in_all = all(not line or mark in line or line.startswith("#") for line in following)
        if len(_fields(header, mark)) > 1 and in_all:
            return mark
    return " " if len(header.split()) > 1 else usual


def _fields(line: str, delimiter: str) -> list[str]:
    text = line.replace("\t", " ").strip() if delimiter == " " else line
    fields = next(csv.reader([text], delimiter=delimiter, skipinitialspace=True), [])
    return [field.strip() for field in fields]


def _commented_header(
    comments: Sequence[str], first: Sequence[str], delimiter: str
) -> tuple[list[str] | None, list[str]]:
    """Return names and units of columns from the comments, if the first other line holds numbers."""
    if any(line.startswith(_AEGEAN) for line in comments):
        return [*_AEGEAN_COLUMNS, *(f"column_{n}" for n in range(len(_AEGEAN_COLUMNS) + 1, len(first) + 1))], []
    numbered = [match for line in comments if (match := _NUMBERED.fullmatch(line))]
    if numbered and [int(match[1]) for match in numbered[:1]] == [1] and int(numbered[-1][1]) <= len(first):
        names = {int(match[1]): (match[2], match[3] or "") for match in numbered}
        ordered = [names.get(number, ("", "")) for number in range(1, len(first) + 1)]  # vectors have one line
        return [name for name, _ in ordered], [unit for _, unit in ordered]
    if not any(_NUMERIC.fullmatch(value) or _SEXAGESIMAL.fullmatch(value) for value in first):
        return None, []
    below = ""
    for line in reversed(comments):
        body = line.lstrip("#")
        fields = _fields(body, delimiter)
        same = len(fields) == len(first) or (delimiter == " " and fields[-1:] == ["comment"])
        if same and len(fields) > 1 and not any(_NUMERIC.fullmatch(value) or "[" in value for value in fields):
            return fields, _aligned(body, below, fields, delimiter)
        below = body
    return None, []


def _aligned(header: str, below: str, names: Sequence[str], delimiter: str) -> list[str]:
    """Return the units in the line below a header: one for each column, or as in Selavy under its last letter."""
    units = _fields(below, delimiter)
    if not any(_UNIT.fullmatch(unit) for unit in units):
        return []
    if len(units) == len(names):
        return units
    ends = {match.end(): match[0] for match in re.finditer(r"\S+", below)}
    return [ends.get(match.end(), "") for match in re.finditer(r"\S+", header)]


def _frame(comments: Sequence[str]) -> str | None:
    """Return the frame that the head of a file names: VizieR's Coosys lines, PyBDSF's equinox."""
    systems = {" ".join(match[1].lower().split()) for line in comments if (match := _SYSTEM.match(line.strip()))}
    if len(systems) == 1:
        return systems.pop()
    for line in comments:
        if match := _EQUINOX.match(line.strip()):
            return frame_of_equinox(float(match[2]), match[1].upper())
    return None


# The rows -------------------------------------------------------------------------------------------------------------


def _rows(path: Path, layout: Layout, encoding: str) -> pa.Table:
    if layout.delimiter == " ":
        return _rows_between_blanks(path, layout, encoding)
    kinds = dict.fromkeys(layout.names, pa.string())
    converting = arrow_csv.ConvertOptions(column_types=kinds, strings_can_be_null=True, null_values=[""])
    try:
        return unguarded_table(arrow_csv.read_csv(path, **layout.options(encoding), convert_options=converting))
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error):
            raise
        return pa.schema(kinds).empty_table()


def _rows_between_blanks(path: Path, layout: Layout, encoding: str) -> pa.Table:
    width = len(layout.names)
    rows: list[list[str]] = []
    with _opened(path) as file:
        for number, line in enumerate(io.TextIOWrapper(file, encoding=encoding), start=1):
            if number <= layout.skipped or not line.strip() or line.lstrip().startswith("#"):
                continue
            fields = _fields(line, " ")
            if layout.names[-1].lower() == "comment":  # Selavy's may be empty or have several words
                fields = [*fields[: width - 1], " ".join(fields[width - 1 :])]
            if len(fields) != width:
                raise RadiosslError(
                    f"{path}, line {number}: {len(fields)} values for {width} columns; "
                    "if blanks do not separate them, say what does with --delimiter"
                )
            rows.append(fields)
    columns = list(zip(*rows, strict=True)) or [()] * width
    return pa.table({name: pa.array(column, pa.string()) for name, column in zip(layout.names, columns, strict=True)})
