"""The HTML report: one file that needs nothing from elsewhere, with the verdict first and long tables folded."""

from __future__ import annotations

import base64
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from html import escape, unescape
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import radiossl
from radiossl.io.errors import RadiosslError, counted
from radiossl.io.files import PathLike, existing_file, flat_keys, read_json, write_json, write_text
from radiossl.io.replacing import OURS
from radiossl.report.figures import themed
from radiossl.report.sheets import COLUMNS, DIALOG, SCRIPT, Picture, gallery_html, image_grid
from radiossl.weights.folder import backbone_name, described

if TYPE_CHECKING:
    import pandas as pd

METHOD_NAMES = {"simclr": "SimCLR", "byol": "BYOL", "nnclr": "NNCLR", "swav": "SwAV", "vicreg": "VICReg"}
#: What can be cited by its key; of long lists of authors the first.
_BIBTEX = {
    entry.partition("{")[2].partition(",")[0]: entry.replace("VERSION", radiossl.__version__)
    for entry in Path(__file__).with_name("works.bib").read_text(encoding="utf-8").strip().split("\n\n")
}


def methods_html(how: str, metadata: Mapping[str, Any], *cited: str) -> str:
    """Return, folded, how a result was made with which versions, weights and data, and what to cite.

    `how` says what was done with the features; `metadata` is that of a feature table: ``weights``, a backbone's folder
    or name, and ``weights_sha256``, or nothing. `cited` are further works: ``umap``, ``forest``.
    """
    config = _config(metadata)
    keys = ["radiossl", config["recipe"].get("method", "") if config else "", *cited]
    software = f"This was made with radiossl {radiossl.__version__} (torch {version('torch')})."
    paragraphs = [f"{software} {_backbone(metadata, config)}{how}"]
    if config and config["about"].get("citation"):
        paragraphs.append(f"To cite with these weights: {config['about']['citation'].strip()}")
    text = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)
    bibtex = "\n\n".join(_BIBTEX[key] for key in keys if key in _BIBTEX)
    return f"<details><summary>For a paper: methods and BibTeX</summary>{text}<pre>{escape(bibtex)}</pre></details>"


def _config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the weights, if they are still where they were and the same."""
    if not metadata.get("weights"):
        return {}
    try:
        config = {"recipe": {}, "about": {}} | described(Path(metadata["weights"]))
    except (OSError, RadiosslError):
        return {}
    whole = all(isinstance(config.get(name), dict) for name in ("backbone", "preprocessing", "recipe", "about"))
    return config if whole and config.get("sha256") == metadata.get("weights_sha256") else {}


def _backbone(metadata: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    if not metadata.get("weights"):
        return ""
    name, known = backbone_name(metadata["weights"]), f"SHA-256 {str(metadata.get('weights_sha256', ''))[:16]}"
    if not config:
        return f"Features are those of the backbone {name} ({known}). "
    seen, recipe = config["preprocessing"], config["recipe"]
    text = f"Features are those of the backbone {name} ({config['backbone'].get('name', '?')}, {known})"
    if "method" in recipe:
        method = METHOD_NAMES.get(recipe["method"], recipe["method"])
        stores = ", ".join(
            f"{entry.get('store', '?')} ({entry.get('cutouts', '?')})" for entry in config.get("data", ())
        )
        text += f", pretrained by {method} with the recipe {recipe.get('name', '?')} on the cutouts of {stores}"
    mode, size, views = (seen.get(name, "?") for name in ("mode", "size", "views"))
    average = ", and averaged over 8 flips and rotations" if views == 8 else ""
    return f"{text}; images were preprocessed by {mode} at {size} x {size} pixels{average}. "


STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
#: Tables of more rows are folded.
_FOLDED_ABOVE = 12
#: Figures that are higher than wide, and than this, are long lists.
_LONG_PT = 480
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
#: Figures of one result folder that `index_report` shows; the others are in its report.
_FIGURES_PER_PART = 5


class Report:
    """A report, built piece by piece; every method but `write` returns the report itself.

    All text is escaped: names and labels come from catalogues, which are not to be trusted.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._verdict = ""
        self._sections: list[str] = []
        # What holds links is made when the report is written: then it is known what they are relative to.
        self._parts: list[str | Callable[[Path], str]] = []

    def verdict(self, sentence: str) -> Report:
        """Say the answer in a sentence, at the top of the page and of every page that ties several together."""
        self._verdict = sentence
        return self

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
        rows = [f"<tr><th>{escape(str(name))}</th>{_cell(value, str(name))}</tr>" for name, value in values.items()]
        return self._table("".join(rows), caption)

    def table(
        self,
        rows: Sequence[Mapping[str, Any]] | pd.DataFrame,
        caption: str = "",
        links: Sequence[Mapping[str, str]] | None = None,
    ) -> Report:
        """Add a table with a heading: one mapping per row, or a data frame (without its index).

        Columns are in the order in which the rows first name them; missing values are shown as a dash. The interval of
        a value, in columns ``..._low`` and ``..._high``, stands behind it. `links` are addresses by name for each row,
        shown in a last column.
        """
        if hasattr(rows, "to_dict"):
            rows = rows.to_dict("records")
        rows = [_with_intervals(row) for row in rows]
        names = list(dict.fromkeys(name for row in rows for name in row))
        if not names:
            return self.text(f"{caption}: no rows." if caption else "No rows.")
        of_numbers = {name: _number_class(all(_is_number(row.get(name)) for row in rows)) for name in names}
        head = "".join(
            f"<th{of_numbers[name]}>{escape(str(name)).replace('_', '_<wbr>').replace('[', '<wbr>[')}</th>"
            for name in names
        )
        cells = ["".join(_cell(row.get(name), str(name)) for name in names) for row in rows]
        if links is not None:
            head += "<th>on the sky</th>"
            cells = [one + _link_cell(addresses) for one, addresses in zip(cells, links, strict=True)]
        body = "".join(f"<tr>{one}</tr>" for one in cells)
        return self._table(f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>", caption)

    def figure(self, path: PathLike, caption: str = "") -> Report:
        """Embed a PNG file, or the SVG file beside it, which follows the theme; raise `RadiosslError` if it is none."""
        path = Path(path)
        vectors = [file for file in (path.with_suffix(".svg"), path.with_suffix(".pdf")) if file.is_file()]
        files = [path, *vectors] if vectors else []
        self._parts.append(partial(_figure, _image(path, caption), caption, files, "drawn"))
        return self

    def gallery(self, pictures: Sequence[Picture], caption: str = "", *, sheet: PathLike | None = None) -> Report:
        """Show pictures in a grid, each enlarged by a click; draw them on a sheet too, a PNG file that is linked."""
        files = []
        if sheet is not None:
            image_grid(pictures, out=sheet)
            files = [Path(sheet)]
        self._parts.append(partial(_figure, gallery_html(pictures), caption, files, "gallery"))
        return self

    def link(self, path: PathLike, label: str = "") -> Report:
        """Link a file, relative to the report so that both can move together.

        A bare file name is beside the report; any other path is taken as usual, from the working directory.
        """
        if not (self._parts and isinstance(self._parts[-1], _Links)):
            self._parts.append(_Links())
        self._parts[-1].append((Path(path), label or Path(path).name))  # type: ignore[union-attr]
        return self

    def methods(self, how: str, metadata: Mapping[str, Any], *cited: str) -> Report:
        """Add, folded, what a paper says of the result; see `radiossl.report.html.methods_html`."""
        self._parts.append(methods_html(how, metadata, *cited))
        return self

    def finish(
        self,
        out: Path,
        metrics: Mapping[str, Any],
        files: Sequence[str] = (),
        how: str = "",
        metadata: Mapping[str, Any] | None = None,
        cited: Sequence[str] = (),
    ) -> Path:
        """End the report of a result folder as all of them end, write both, and return the report's path.

        Its numbers go to metrics.json too; `how` begins the methods paragraph, see `methods`; files are linked.
        """
        write_json(out / "metrics.json", metrics)
        self.section("Numbers").values(metrics)
        if how:
            self.methods(how, metadata or {}, *cited)
        for name in [*files, "metrics.json"]:
            self.link(out / name)
        return self.write(out / "report.html")

    def write(self, path: PathLike) -> Path:
        """Write the report atomically and return its path."""
        path = Path(path)
        title = escape(self.title)
        body = "\n".join(part if isinstance(part, str) else part(path) for part in self._parts)
        allowed = "'none'"
        if 'class="gallery"' in body:
            body += f"\n{DIALOG}<script>{SCRIPT}</script>"
            allowed = f"'sha256-{base64.b64encode(sha256(SCRIPT.encode()).digest()).decode('ascii')}'"
        verdict = f'<p class="verdict">{escape(self._verdict)}</p>\n' if self._verdict else ""
        links = [f'<a href="#part-{number}">{escape(name)}</a>' for number, name in enumerate(self._sections, start=1)]
        contents = f"<nav><p>{' · '.join(links)}</p></nav>\n" if len(links) > 2 else ""
        write_text(
            path,
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
            '<meta name="generator" content="radiossl"><meta name="viewport" content="width=device-width">\n'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:;'
            f" style-src 'unsafe-inline'; script-src {allowed}\">\n"
            f'<meta name="description" content="{escape(self._verdict)}">\n'
            f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{verdict}{contents}"
            f"{body}\n<footer>radiossl {escape(radiossl.__version__)}</footer>\n</body>\n</html>\n",
        )
        return path

    def _table(self, rows: str, caption: str) -> Report:
        count = rows.count("<tr>") - rows.count("<thead>")
        folded = count > _FOLDED_ABOVE
        # Not within the table: it would be as wide as that, squeezed or hidden beyond the edge of a narrow screen.
        above = f'<p class="caption">{escape(caption)}</p>' if caption and not folded else ""
        table = f'{above}<div class="wide"><table>{rows}</table></div>'
        summary = escape(f"{caption.rstrip('.') or 'Table'}: {counted(count, 'row')}")
        self._parts.append(f"<details><summary>{summary}</summary>{table}</details>" if folded else table)
        return self


class _Links(list[tuple[Path, str]]):
    """Files that are linked one after the other, in one line."""

    def __call__(self, report: Path) -> str:
        return f'<p class="files">{" · ".join(_link(report, *link) for link in self)}</p>'


def index_report(out: PathLike, title: str, parts: Sequence[tuple[str, PathLike]]) -> Path:
    """Tie several result folders, each with a name, together on one page.

    From a folder come the first figures and galleries of its report.html (its PNG files if it has none), the numbers in
    its metrics.json, and links to its report and to everything else in it.
    """
    folders = [(name, Path(place)) for name, place in parts]
    for _, folder in folders:
        if not folder.is_dir():
            raise RadiosslError(f"{folder}: no such folder of results")
    cards: list[str] = []
    report = Report(title)
    report._parts.append(lambda _: f'<div class="cards">{"".join(cards)}</div>' if cards else "")
    for name, folder in folders:
        files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
        drawn = [file for file in files if file.suffix.lower() == ".png"]
        page = folder / "report.html"
        sentence, figures = _opening(page, Path(out)) if page in files else ("", [])
        more, figures = len(figures[_FIGURES_PER_PART:]), figures[:_FIGURES_PER_PART]
        report.section(name)
        if sentence:
            report.text(sentence)
        if page in files:
            report.link(page, f"full report, with {counted(more, 'more figure')}" if more else "full report")
        shown = [] if figures else drawn[:_FIGURES_PER_PART]
        for file in shown:
            report.figure(file, file.stem.replace("_", " "))
        if sentence and (figures or shown):
            picture = _card(figures[0] if figures else _image(shown[0], name))
            title = f'<a href="#part-{len(report._sections)}"><strong>{escape(name)}</strong></a>'
            cards.append(f"<div>{picture}<p>{title}: {escape(sentence)}</p></div>")
        report._parts += figures
        if (folder / "metrics.json").exists():
            report.values(flat_keys(read_json(folder / "metrics.json")), "Numbers")
        vectors = {file.with_suffix(suffix) for file in drawn for suffix in (".svg", ".pdf")}
        linked = {file for file in drawn if any(f'/{quote(file.name)}"' in figure for figure in figures)}
        for file in files:
            if file not in {*shown, *vectors, *linked, page}:
                report.link(file)
        if not files:
            report.text("No results in this folder.")
    return report.write(out)


def _opening(page: Path, out: Path) -> tuple[str, list[str]]:
    """The verdict of a report and its figures and galleries, with links that hold from another page."""
    text = page.read_text(encoding="utf-8", errors="replace")
    verdict = re.search(r'<meta name="description" content="([^"]*)">', text)
    figures = re.findall(r'<figure class="(?:drawn|gallery)">.*?</figure>', text, re.DOTALL)
    folder = escape(quote(Path(os.path.relpath(page.parent, out.parent)).as_posix()))
    figures = [figure.replace('<a href="', f'<a href="{folder}/') for figure in figures]
    return unescape(verdict[1]) if verdict else "", figures


def _card(figure: str) -> str:
    """A figure without its caption, a gallery's first pictures alone."""
    image = re.search(r"<img [^>]*>", figure)
    pictures = "".join(re.findall(r"<li .*?</li>", figure, re.DOTALL)[:COLUMNS])
    return f'<div class="image">{image[0]}</div>' if image else f'<div class="gallery"><ul>{pictures}</ul></div>'


def _image(path: Path, alt: str) -> str:
    data, kind = existing_file(path).read_bytes(), "png"
    if not data.startswith(_PNG_MAGIC):
        raise RadiosslError(f"{path}: not a PNG file")
    kept = ' class="sheet"' if OURS.encode() in data[:512] else ""
    if path.with_suffix(".svg").is_file():
        drawn = path.with_suffix(".svg").read_text(encoding="utf-8")
        data, kind = themed(drawn).encode(), "svg+xml"
        size = re.search(r'<svg[^>]* width="([\d.]+)pt" height="([\d.]+)pt"', drawn)
        if size and float(size[2]) > max(_LONG_PT, float(size[1])):
            kept = ' class="long"'
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return f'<img{kept} src="{source}" alt="{escape(alt or path.stem)}">'


def _figure(content: str, caption: str, files: Sequence[Path], kind: str, report: Path) -> str:
    """A figure with its caption and links to its files."""
    links = " · ".join(_link(report, file, file.suffix[1:].upper()) for file in files)
    below = f"{escape(caption)} {links}".strip()
    below = f"<figcaption>{below}</figcaption>" if below else ""
    return f'<figure class="{kind}"><div class="image">{content}</div>{below}</figure>'


def _link(report: Path, target: Path, label: str) -> str:
    if target.is_absolute() or len(target.parts) > 1:
        target = Path(os.path.relpath(target, report.parent))
    # Quoting also disarms a name such as "javascript:...".
    return f'<a href="{escape(quote(target.as_posix()))}">{escape(label)}</a>'


class _Interval(str):
    """A number with its interval, as text."""


def _with_intervals(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table in which the ends of intervals are part of their values."""
    merged = dict(row)
    for name in row:
        low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
        if isinstance(low, float) and isinstance(high, float) and isinstance(row[name], Real):
            del merged[f"{name}_low"], merged[f"{name}_high"]
            if not any(map(math.isnan, (low, high))):
                merged[name] = _Interval(f"{row[name]:.3g} ({low:.3g} to {high:.3g})")
    return merged


def _cell(value: Any, name: str) -> str:
    text = format_value(value, name)
    # The name of a source is not broken at its minus sign; a long path may be.
    word = isinstance(value, str) and "-" in text and re.fullmatch(r"\S{,32}", text)
    kind = ' class="word"' if word else _number_class(_is_number(value))
    return f"<td{kind}>{escape(text)}</td>"


def _link_cell(addresses: Mapping[str, str]) -> str:
    anchors = [f'<a href="{escape(at)}" rel="noopener noreferrer">{escape(name)}</a>' for name, at in addresses.items()]
    return f'<td class="links">{" · ".join(anchors) or "–"}</td>'


def _number_class(is_number: bool) -> str:
    return ' class="number"' if is_number else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, _Interval | None) or (hasattr(value, "__float__") and not isinstance(value, bool))


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
