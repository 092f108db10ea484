"""How the page looks, dark and light, and the pane that every piece of HTML stands in."""

from __future__ import annotations

from typing import Any

import panel as pn

from radiossl.explorer.drawing import Theme

_COLOURS = {
    "dark": "--rs-ink:#e6e9ec; --rs-soft:#9aa6b2; --rs-paper:#12161a; --rs-raised:#1b2127; --rs-line:#313a43;"
    " --rs-accent:#5aa9e6; --rs-bad:#ff8f80; color-scheme: dark;",
    "light": "--rs-ink:#1b1f24; --rs-soft:#56616c; --rs-paper:#fdfdfc; --rs-raised:#f1f3f5; --rs-line:#d4dade;"
    " --rs-accent:#1d66a8; --rs-bad:#b3261e; color-scheme: light;",
}

_PAGE = """
html, body { height: 100%%; margin: 0; background: var(--rs-paper); color: var(--rs-ink); overflow: hidden;
  font: 14px/1.45 system-ui, sans-serif; }
@media (max-width: 1180px) { html, body { overflow: auto; height: auto; min-height: 100%%; } }
:root { %s
  --panel-background-color: var(--rs-paper); --panel-on-background-color: var(--rs-ink);
  --panel-surface-color: var(--rs-raised); --panel-on-surface-color: var(--rs-ink);
  --panel-border-color: var(--rs-line); --panel-primary-color: var(--rs-accent);
  --background-color: var(--rs-paper); --text-color: var(--rs-ink); --border-color: var(--rs-line);
  --surface-color: var(--rs-raised); --surface-text-color: var(--rs-ink); --primary-color: var(--rs-accent); }
"""

#: Inside every pane, for a page's own rules do not reach there.
_PART = """
:host { color: var(--rs-ink); font: 14px/1.45 system-ui, sans-serif; }
h1 { font-size: 1rem; margin: 0; white-space: nowrap; } h1 small { color: var(--rs-soft); font-weight: 400; }
h2 { font-size: 1.05rem; margin: .5rem 0 0; overflow-wrap: anywhere; }
p { margin: .2rem 0 .4rem; overflow-wrap: anywhere; white-space: pre-wrap; } a { color: var(--rs-accent); }
img { display: block; image-rendering: pixelated; }
.rs-notice { color: var(--rs-soft); margin: .3rem 0; } .rs-notice.bad { color: var(--rs-bad); }
.rs-none { display: grid; place-items: center; width: 100%; aspect-ratio: 1; background: var(--rs-raised);
  color: var(--rs-soft); font-size: .8rem; }
.rs-sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 6px; padding: 2px; }
.rs-thumb { position: relative; display: block; color: var(--rs-soft); text-decoration: none; border-radius: 4px;
  overflow: hidden; background: var(--rs-raised); outline: 2px solid transparent; }
.rs-thumb img { width: 100%; aspect-ratio: 1; object-fit: contain; }
.rs-thumb:hover, .rs-thumb:focus-visible { outline-color: var(--rs-accent); }
.rs-thumb.rs-here { outline-color: #e8590c; }
.rs-thumb small { display: block; padding: 1px 5px 2px; font-variant-numeric: tabular-nums; }
.rs-thumb b { position: absolute; top: 4px; right: 4px; min-width: 1.2em; text-align: center; border-radius: 3px;
  background: #e8590c; color: #fff; font-size: .85rem; }
.rs-values { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; width: 100%; }
.rs-values th { text-align: left; font-weight: 400; color: var(--rs-soft); padding: 1px 10px 1px 0; }
.rs-values td { text-align: right; overflow-wrap: anywhere; } .rs-links { font-size: .8rem; }
.rs-legend { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: .82rem; padding: 2px 6px; }
.rs-legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; vertical-align: -1px; }
.rs-legend small { color: var(--rs-soft); } .rs-scale { display: flex; flex-wrap: wrap; width: 240px;
  justify-content: space-between; font-variant-numeric: tabular-nums; } .rs-legend .rs-scale i { width: 100%; }
h3 { font-size: .95rem; margin: .7rem 0 .2rem; } button { font: inherit; color: var(--rs-accent); cursor: pointer;
  background: var(--rs-raised); border: 1px solid var(--rs-line); border-radius: 4px; }
.rs-rating { display: flex; align-items: center; gap: 8px; color: var(--rs-soft); margin: .4rem 0; }
.rs-rating button { width: 40px; height: 32px; } button[aria-pressed=true] { background: var(--rs-accent);
  color: var(--rs-paper); border-color: var(--rs-accent); }
.rs-bars { width: 100%; height: 64px; } .rs-bars .rs-all { fill: var(--rs-line); } .rs-bars .rs-left {
  fill: var(--rs-accent); } small { color: var(--rs-soft); }
.rs-query { display: flex; flex-wrap: wrap; gap: 12px; align-items: center; margin-bottom: 8px; }
.rs-query > div { flex: 1; min-width: 150px; } .rs-query button { min-width: 28px; min-height: 28px; margin: 1px; }
.rs-frame { position: relative; flex: none; cursor: crosshair; } .rs-frame img { width: 220px; border-radius: 4px; }
.rs-frame i { position: absolute; border: 2px solid #e8590c; pointer-events: none; }
:host(.rs-large) img, :host(.rs-large) .rs-none { width: min(350px, 100%); aspect-ratio: 1;
  object-fit: contain; border-radius: 6px; background: var(--rs-raised); }
:host(.rs-card) { position: absolute !important; z-index: 20; pointer-events: none; background: var(--rs-raised);
  border: 1px solid var(--rs-line); border-radius: 6px; padding: 6px; box-shadow: 0 4px 18px rgba(0, 0, 0, .35); }
:host(.rs-card) img, :host(.rs-card) .rs-none { width: 196px; height: 196px; object-fit: contain; }
:host(.rs-card) div { font-size: .82rem; overflow-wrap: anywhere; } :host(.rs-card) small { color: var(--rs-soft); }
"""

#: Around panes, widgets and rows.
_LAYOUT = """
:host(.rs-page) { padding: 0; } :host(.rs-map) { position: relative; }
:host(.rs-head) { align-items: center; gap: 14px; padding: 4px 12px; border-bottom: 1px solid var(--rs-line);
  background: var(--rs-raised); min-height: 48px; }
:host(.rs-bar) { align-items: center; gap: 4px; color: var(--rs-soft); }
:host(.rs-tools) { align-items: center; gap: 4px; padding: 2px 12px; color: var(--rs-soft); }
:host(.rs-body) { gap: 12px; padding: 4px 12px 8px; } :host(.rs-side) { padding-right: 6px; }
:host(.rs-head), :host(.rs-tools), :host(.rs-bar) { flex-wrap: wrap; height: auto !important; }
@media (max-width: 1180px) {
  :host(.rs-page), :host(.rs-body), :host(.rs-head), :host(.rs-tools), :host(.rs-map) { min-width: 0 !important;
    width: 100% !important; max-width: 100vw; box-sizing: border-box; }
  :host(.rs-page), :host(.rs-body), :host(.rs-maps) { height: auto !important; flex: none !important; }
  :host(.rs-maps) { width: 100% !important; min-width: 0 !important; }
  :host(.rs-body) { flex-direction: column; flex: none !important; align-items: stretch; }
  :host(.rs-map-part), :host(.rs-side) { width: 100% !important; min-width: 0 !important; max-width: 100%;
    box-sizing: border-box; }
  :host(.rs-map-part) { height: max(340px, 62vh) !important; flex: none !important; }
  :host(.rs-side) { height: auto !important; max-height: none !important; overflow: visible !important;
    flex: none !important; }
  :host(.rs-head) { gap: 6px; }
}
"""

_TABS = """
@media (max-width: 1180px) { :host { width: 100% !important; min-width: 0 !important; height: auto !important;
  flex: none !important; } }
.bk-header { overflow-x: auto; }
.bk-header { border-color: var(--rs-line) !important; }
.bk-tab { color: var(--rs-soft) !important; background: none !important; border: 0 !important; font-size: 14px;
  padding: 6px 9px !important; border-bottom: 2px solid transparent !important; }
.bk-tab.bk-active { color: var(--rs-ink) !important; border-bottom-color: var(--rs-accent) !important; }
"""


#: A label that is read out, not seen: the words beside a widget say the same.
UNSEEN = "label { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }"


#: Of a list to choose from: names, or names by group.
Options = list[str] | dict[str, list[str]]


def select(label: str, options: Options, **more: Any) -> pn.widgets.Select:
    """Return a list to choose from, with a label for screen readers."""
    kind = "groups" if isinstance(options, dict) else "options"
    return pn.widgets.Select(name=label, stylesheets=[UNSEEN], **{kind: options}, **more)


def page_style(theme: Theme) -> str:
    """Return the rules of the page as a whole."""
    return _PAGE % _COLOURS[theme.name]


def html_pane(text: str = "", kind: str = "", **options: Any) -> pn.pane.HTML:
    """Return a pane for HTML in which every text is escaped already; `kind` is a class of the rules above."""
    options.setdefault("sizing_mode", "stretch_width")
    return pn.pane.HTML(text, stylesheets=[_PART], css_classes=[kind] if kind else [], **options)


def side_by_side(*parts: Any, kind: str = "rs-bar", **options: Any) -> pn.Row:
    """Return parts side by side."""
    return pn.Row(*map(_worded, parts), stylesheets=[_LAYOUT], css_classes=[kind], **options)


def column(*parts: Any, kind: str = "rs-column", **options: Any) -> pn.Column:
    """Return parts below one another."""
    return pn.Column(*map(_worded, parts), stylesheets=[_LAYOUT], css_classes=[kind], **options)


def tabs(*parts: tuple[str, Any], **options: Any) -> pn.Tabs:
    """Return parts behind one another, each with its name."""
    return pn.Tabs(*parts, stylesheets=[_TABS], **options)


def _worded(part: Any) -> Any:
    """Words between widgets as a pane of their own."""
    if not isinstance(part, str):
        return part
    return html_pane(
        f'<span class="rs-notice">{part}</span>',
        width=7 * len(part) + 4,
        margin=(0, 2),
        align="center",
        sizing_mode=None,
    )
