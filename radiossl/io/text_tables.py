"""Tables in text files as people and programs write them: CSV and its kin, PyBDSF, Selavy, Aegean, VizieR, CDS."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
from pyarrow import csv as arrow_csv

from radiossl.io.csv_cells import unguarded_table
from radiossl.io.errors import RadiosslError
from radiossl.io.tables import TableContent, renamed_twins
from radiossl.io.values import clean_texts, typed

_HEAD_LINES = 1000
_NAMED_DELIMITERS = {"tab": "\t", "space": " ", "comma": ",", "semicolon": ";", "\\t": "\t"}
_NUMERIC = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?|nan", re.IGNORECASE)
_DASHES = re.compile(r"-+|=+|:?-+:?")
_UNIT = re.compile(
    r'\[.*\]|--|""?|\'\'?|deg|degrees?|"?[hd]:m:s"?|h|hours?|rad|arc(sec|min)|mas|u?m?jy(/beam)?|[mk]?pc|mag|[mkg]?hz',
    re.IGNORECASE,
)
_SYSTEM = re.compile(r"#\s*coosys\s.*?(eq_FK[45]\s+[BJ]?[\d.]+|ICRS|galactic)", re.IGNORECASE)
_EQUINOX = re.compile(r"#.*?\bequinox\s*[:=]\s*([BJ]?)(\d{4}(?:\.\d*)?)", re.IGNORECASE)
#: Aegean's simple listing heads its columns with names of which several are the same.
_AEGEAN = "#isl,src"
_AEGEAN_COLUMNS = (
    *("uuid", "background", "local_rms", "ra_str", "dec_str", "ra", "err_ra", "dec", "err_dec", "peak_flux"),
    *("err_peak_flux", "int_flux", "err_int_flux", "a", "err_a", "b", "err_b", "pa", "err_pa", "flags"),
)


@dataclass(frozen=True)
class _Layout:
    """How the file is laid out: the columns, what separates them, and how many lines come before the first row."""

    names: list[str]
    delimiter: str
    skipped: int
    units: dict[str, str]
    comments: tuple[str, ...]


def read_text_table(path: Path, delimiter: str | None = None, encoding: str | None = None) -> TableContent:
    """Read a text table, see `radiossl.io.tables.read_table_content`."""
    head, coding = _head(path, encoding)
    if head[:1] and head[0].startswith("# %ECSV"):
        from radiossl.io.tables import _read_astropy

        return _read_astropy(path, "ecsv", None)
    if any("byte-by-byte" in line.lower() for line in head[:200]):
        return _read_byte_by_byte(path)
    layout = _layout(path, head, _NAMED_DELIMITERS.get(delimiter or "", delimiter))
    notes = []
    try:
        texts = _rows(path, layout, coding)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if "UTF8" not in str(error) and "utf-8" not in str(error):
            raise
        if encoding is not None:
            raise RadiosslError(f"{path}: is not in the encoding {encoding}; name another with --encoding") from None
        texts = _rows(path, layout, "latin-1")
        notes = ["is not in UTF-8 and was read as Latin-1; name another encoding with --encoding"]
    columns, written = {}, {}
    for name in texts.column_names:
        text = clean_texts(texts.column(name))
        columns[name] = typed(text)
        if columns[name].type != text.type:
            written[name] = text
    if delimiter is None and layout.delimiter != "," and path.name.lower().removesuffix(".gz").endswith(".csv"):
        notes.append(f"columns are separated by {layout.delimiter!r}; name another with --delimiter")
    frame = _frame(layout.comments)
    return TableContent(
        table=pa.table(columns),
        units=layout.units,
        frames={"": frame} if frame else {},
        written=written,
        comments=layout.comments,
        notes=tuple(notes),
    )


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _head(path: Path, encoding: str | None) -> tuple[list[str], str]:
    """The first lines, and the encoding of the file as Arrow is to be told it."""
    with _opened(path) as file:
        start = file.read(4)
        wide = start.startswith((b"\xff\xfe", b"\xfe\xff"))
        coding = encoding or ("utf-16" if wide else "utf-8")
        file.seek(0)
        try:
            reader = io.TextIOWrapper(file, encoding=coding, errors="replace")
        except LookupError:
            raise RadiosslError(f"--encoding {encoding}: unknown; expected one such as utf-8 or latin-1") from None
        head = [line.rstrip("\r\n") for line, _ in zip(reader, range(_HEAD_LINES), strict=False)]
        reader.detach()
    if head:
        head[0] = head[0].removeprefix("\ufeff")
    return head, coding


# The layout -----------------------------------------------------------------------------------------------------------


def _layout(path: Path, head: Sequence[str], given: str | None) -> _Layout:
    if given is not None and len(given) != 1:
        raise RadiosslError(f"--delimiter {given}: expected one character, 'tab' or 'space'")
    begin = next((row for row, line in enumerate(head) if line.strip() and not line.lstrip().startswith("#")), None)
    comments = tuple(line for line in head[:begin] if line.strip())
    if begin is None:
        last = comments[-1].lstrip("# ") if comments else ""
        if not last:
            raise RadiosslError(f"{path}: not a readable csv table (the file is empty)")
        return _Layout(renamed_twins(_fields(last, given or ",")), given or ",", len(head), {}, comments)
    aegean = any(line.startswith(_AEGEAN) for line in comments)
    delimiter = given or (" " if aegean else _delimiter(path, head[begin], head[begin + 1 : begin + 3]))
    first = _fields(head[begin], delimiter)
    names, units = _commented_header(comments, first, delimiter)
    if names is not None:
        return _Layout(renamed_twins(names), delimiter, begin, _named(names, units), comments)
    following = [(row, _fields(head[row], delimiter)) for row in range(begin + 1, min(begin + 3, len(head)))]
    skipped, units = begin + 1, []
    ruled = next((place for place, (_, fields) in enumerate(following) if _are(fields, _DASHES, len(first))), None)
    if ruled is not None:
        skipped = following[ruled][0] + 1
        units = following[0][1] if ruled == 1 else []
    elif following and _are_units(following[0][1], len(first)):
        skipped, units = following[0][0] + 1, following[0][1]
    return _Layout(renamed_twins(first), delimiter, skipped, _named(first, units), comments)


def _delimiter(path: Path, header: str, following: Sequence[str]) -> str:
    """What separates the columns: the usual mark of the file's kind if it is there, else another one, else blanks."""
    usual = "\t" if ".tsv" in path.name.lower() or ".tab" in path.name.lower() else ","
    for mark in (usual, *(mark for mark in "\t,;|" if mark != usual)):
        if len(_fields(header, mark)) > 1 and all(
            not line or mark in line or line.startswith("#") for line in following
        ):
            return mark
    return " " if len(header.split()) > 1 else usual


def _fields(line: str, delimiter: str) -> list[str]:
    text = line.replace("\t", " ").strip() if delimiter == " " else line
    fields = next(csv.reader([text], delimiter=delimiter, skipinitialspace=True), [])
    return [field.strip() for field in fields]


def _commented_header(
    comments: Sequence[str], first: Sequence[str], delimiter: str
) -> tuple[list[str] | None, list[str]]:
    """Names and units of columns that stand in comments, where the first line that is none holds numbers."""
    if comments and any(line.startswith(_AEGEAN) for line in comments):
        return [*_AEGEAN_COLUMNS, *(f"column_{n}" for n in range(len(_AEGEAN_COLUMNS) + 1, len(first) + 1))], []
    if not any(_NUMERIC.fullmatch(value) for value in first):
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
    """The units in the line below a header: one for each column, or under the columns' last letters as in Selavy."""
    units = _fields(below, delimiter)
    if not any(_UNIT.fullmatch(unit) for unit in units):
        return []
    if len(units) == len(names):
        return units
    ends = {match.end(): unit for match in re.finditer(r"\S+", below) for unit in [match[0]]}
    return [ends.get(match.end(), "") for match in re.finditer(r"\S+", header)]


def _are(fields: Sequence[str], pattern: re.Pattern[str], count: int) -> bool:
    return len(fields) == count and all(pattern.fullmatch(value) for value in fields)


def _are_units(fields: Sequence[str], count: int) -> bool:
    """Whether a line below the header holds units: nothing but units and empty cells, and at least one unit."""
    return len(fields) == count and any(fields) and all(not value or _UNIT.fullmatch(value) for value in fields)


def _named(names: Sequence[str], units: Sequence[str]) -> dict[str, str]:
    found = zip(renamed_twins(names), (unit.strip("[]").strip() for unit in units), strict=False)
    return {name: unit for name, unit in found if unit not in ("", "--")}


def _frame(comments: Sequence[str]) -> str | None:
    """The frame that the head of a file names: VizieR's Coosys lines, PyBDSF's equinox."""
    systems = {" ".join(match[1].lower().split()) for line in comments if (match := _SYSTEM.match(line.strip()))}
    if len(systems) == 1:
        return systems.pop()
    for line in comments:
        if match := _EQUINOX.match(line.strip()):
            year, letter = float(match[2]), match[1].upper()
            old = letter == "B" or (not letter and year < 1984)
            return f"fk4 B{year:g}" if old else f"fk5 J{year:g}"
    return None


# The rows -------------------------------------------------------------------------------------------------------------


def _rows(path: Path, layout: _Layout, encoding: str) -> pa.Table:
    """All columns as text."""
    if layout.delimiter == " ":
        return _rows_between_blanks(path, layout, encoding)
    options = {
        "parse_options": arrow_csv.ParseOptions(
            delimiter=layout.delimiter, newlines_in_values=True, invalid_row_handler=_comment
        ),
        "convert_options": arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(layout.names, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    }
    reading = arrow_csv.ReadOptions(column_names=layout.names, skip_rows=layout.skipped, encoding=encoding)
    try:
        return unguarded_table(arrow_csv.read_csv(path, read_options=reading, **options))
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error):
            raise
        return pa.table({name: pa.array([], pa.string()) for name in layout.names})


def _comment(row: arrow_csv.InvalidRow) -> str:
    return "skip" if (row.text or "").lstrip().startswith("#") else "error"


def _rows_between_blanks(path: Path, layout: _Layout, encoding: str) -> pa.Table:
    """Rows whose columns are separated by any number of blanks."""
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


def _read_byte_by_byte(path: Path) -> TableContent:
    """Read a machine-readable table of the AAS or CDS, whose head describes its columns byte by byte."""
    from astropy.table import Table

    from radiossl.io.tables import table_content

    return table_content(Table.read(path, format="ascii.mrt"))
