"""The HTML report: one file that stands alone, without scripts and without anything fetched from elsewhere."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import radiossl
from radiossl.io.errors import RadiosslError
from radiossl.io.files import existing_file, flat_keys, read_json, write_text

if TYPE_CHECKING:
    import pandas as pd

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
#: Figures of one result folder that `index_report` shows; the others are linked.
_FIGURES_PER_PART = 4

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --soft: #5c6670; --line: #d9dee3; --link: #005a9c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --paper: #14171a; --soft: #9aa4ae; --line: #353c43; --link: #7cc0f5; }
}
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; line-height: 1.25; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
p { max-width: 46rem; overflow-wrap: anywhere; } a { color: var(--link); }
footer, figcaption, caption { color: var(--soft); font-size: .875rem; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .5rem; }
figure { margin: 1.25rem 0; } img { max-width: 100%; background: #fff; border-radius: 4px; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; } caption { text-align: left; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 600; } td.number, th.number { text-align: right; white-space: nowrap; }
"""


class Report:
    """A report, built piece by piece; every method but `write` returns the report itself.

    All text is escaped: names and labels come from catalogues, which are not to be trusted.

    Parameters
    ----------
    title
        Heading of the page.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._sections: list[str] = []
        # Links are held back as paths: what they are relative to is known when the report is written.
        self._parts: list[str | tuple[Path, str]] = []

    def section(self, name: str) -> Report:
        """Begin a section."""
        self._sections.append(name)
        self._parts.append(f'<h2 id="part-{len(self._sections)}">{escape(name)}</h2>')
        return self

    def text(self, *paragraphs: str) -> Report:
        """Add paragraphs of plain text."""
        self._parts += [f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs]
        return self

    def values(self, values: Mapping[str, Any], caption: str = "") -> Report:
        """Add a table of names and their values."""
        rows = "".join(
            f"<tr><th>{escape(str(name))}</th>{_cell(value, str(name))}</tr>" for name, value in values.items()
        )
        return self._table(rows, caption)

    def table(self, rows: Sequence[Mapping[str, Any]] | pd.DataFrame, caption: str = "") -> Report:
        """Add a table with a heading: one mapping per row, or a data frame (without its index).

        Columns stand in the order in which the rows first name them; what a row lacks is shown as a dash.
        """
        if hasattr(rows, "to_dict"):
            rows = rows.to_dict("records")
        names = list(dict.fromkeys(name for row in rows for name in row))
        if not names:
            return self.text(f"{caption}: no rows." if caption else "No rows.")
        head = "".join(
            f"<th{_number_class(all(_is_number(row.get(name)) for row in rows))}>{escape(str(name))}</th>"
            for name in names
        )
        body = "".join(f"<tr>{''.join(_cell(row.get(name), str(name)) for name in names)}</tr>" for row in rows)
        return self._table(f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>", caption)

    def figure(self, path: str | os.PathLike[str], caption: str = "") -> Report:
        """Embed a PNG file; raise `RadiosslError` if it is missing or none."""
        data = existing_file(path).read_bytes()
        if not data.startswith(_PNG_MAGIC):
            raise RadiosslError(f"{path}: not a PNG file")
        source = f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
        alt = escape(caption or Path(path).stem)
        below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        self._parts.append(f'<figure><img src="{source}" alt="{alt}">{below}</figure>')
        return self

    def link(self, path: str | os.PathLike[str], label: str = "") -> Report:
        """Link a file, relative to the report so that both can move together.

        A bare file name is beside the report; any other path is taken as usual, from the working directory.
        """
        self._parts.append((Path(path), label or Path(path).name))
        return self

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the report atomically and return its path."""
        path = Path(path)
        body = "\n".join(part if isinstance(part, str) else _link(path, *part) for part in self._parts)
        title = escape(self.title)
        write_text(
            path,
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{self._contents()}{body}\n"
            f"<footer>radiossl {escape(radiossl.__version__)}</footer>\n</body>\n</html>\n",
        )
        return path

    def _contents(self) -> str:
        if len(self._sections) < 3:
            return ""
        links = (f'<a href="#part-{number}">{escape(name)}</a>' for number, name in enumerate(self._sections, start=1))
        return f"<nav><p>{' · '.join(links)}</p></nav>\n"

    def _table(self, rows: str, caption: str) -> Report:
        above = f"<caption>{escape(caption)}</caption>" if caption else ""
        self._parts.append(f'<div class="wide"><table>{above}{rows}</table></div>')
        return self


def index_report(out: str | os.PathLike[str], title: str, parts: Sequence[tuple[str, str | os.PathLike[str]]]) -> Path:
    """Tie several result folders together on one page.

    Parameters
    ----------
    out
        HTML file to write.
    title
        Heading of the page.
    parts
        Name and folder of each. From a folder come the numbers in its metrics.json, up to four of its PNG figures in
        the order of their names, and links to its report.html and to everything else in it.

    Raises
    ------
    RadiosslError
        If a folder does not exist or its metrics.json is damaged.
    """
    report = Report(title)
    for name, place in parts:
        folder = Path(place)
        if not folder.is_dir():
            raise RadiosslError(f"{folder}: no such folder of results")
        report.section(name)
        files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
        if (folder / "report.html").exists():
            report.link(folder / "report.html", "full report")
        if (folder / "metrics.json").exists():
            report.values(flat_keys(read_json(folder / "metrics.json")))
        shown = [file for file in files if file.suffix.lower() == ".png"][:_FIGURES_PER_PART]
        for file in shown:
            report.figure(file, file.stem.replace("_", " "))
        others = [file for file in files if file not in shown and file.name != "report.html"]
        for file in others:
            report.link(file)
        if not files:
            report.text("No results in this folder.")
    return report.write(out)


def _link(report: Path, target: Path, label: str) -> str:
    if target.is_absolute() or len(target.parts) > 1:
        target = Path(os.path.relpath(target, report.parent))
    # Quoting also disarms a name such as "javascript:...".
    return f'<p><a href="{escape(quote(target.as_posix()))}">{escape(label)}</a></p>'


def _cell(value: Any, name: str) -> str:
    return f"<td{_number_class(_is_number(value))}>{escape(format_value(value, name))}</td>"


def _number_class(is_number: bool) -> str:
    return ' class="number"' if is_number else ""


def _is_number(value: Any) -> bool:
    return value is None or (hasattr(value, "__float__") and not isinstance(value, bool))


def format_value(value: Any, name: str = "") -> str:
    """Write a value for a reader: four significant digits, degrees (columns ``..._deg``) with five decimals."""
    import pandas as pd

    if hasattr(value, "tolist"):  # numpy scalars and arrays
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return ", ".join(format_value(item, name) for item in value)
    if pd.isna(value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float) or math.isinf(value):
        return str(value)
    if name.endswith("_deg"):
        return f"{value:.5f}"
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"
