"""Clusters: each with its typical members, and a button that chooses all of them."""

from __future__ import annotations

from html import escape

import numpy as np
import panel as pn

from radiossl.explorer.page_state import CLUSTERS_TAB, PageState
from radiossl.explorer.pictures import notice_html, sheet_html
from radiossl.explorer.session import CLUSTER
from radiossl.explorer.style import column, html_pane
from radiossl.maps.colours import ClassColours

_WAITING = "Clusters are computed as soon as the features are read."
_EXPLAINED = "k-means on the features, largest cluster first, each with the members nearest to its centre."


class ClusterView:
    """The tab of clusters.

    Parameters
    ----------
    state : PageState
        Of the page.
    """

    def __init__(self, state: PageState) -> None:
        self.state = state
        self.sheets = html_pane(notice_html(_WAITING))
        state.param.watch(state.guarded(lambda _: self.show()), ["tab", "row", "stretch", "colour_map"])
        self.show()  # the address may have opened this list

    def view(self) -> pn.viewable.Viewable:
        """Return the tab."""
        return column(self.sheets, kind="rs-side", sizing_mode="stretch_both", scroll=True)

    def show(self) -> None:
        """Show the clusters, if there are any and their list is open."""
        state, clusters = self.state, self.state.session.clusters
        if state.tab != CLUSTERS_TAB or clusters is None:
            return
        parts = [notice_html(_EXPLAINED)]
        for code, rows in enumerate(clusters.typical):
            name = str(clusters.names[rows[0]])
            members = clusters.codes == code
            parts.append(
                f"<h3>cluster {name} · {int(members.sum()):,} sources{self._classes(members)}"
                f' <button data-act="{escape("cluster " + name)}">choose them</button></h3>'
            )
            parts.append(sheet_html([state.thumb(row) for row in rows.tolist()]))
        self.sheets.object = "".join(parts)

    def choose(self, name: str) -> None:
        """Choose the sources of a cluster, and colour the map by clusters."""
        self.state.colour = CLUSTER
        self.state.chosen_by = {"filters": {CLUSTER: [name]}}

    def _classes(self, members: np.ndarray) -> str:
        """The most frequent class of some sources, if there are classes."""
        shown = self.state.session.shown
        classes = None if shown.class_column is None else shown.colours(shown.class_column)
        if not isinstance(classes, ClassColours):
            return ""
        counts = np.bincount(classes.codes[members] + 1, minlength=len(classes.names) + 1)[1:]
        share = counts.max() / max(1, members.sum())
        return f" · {share:.0%} {escape(classes.names[int(counts.argmax())])}" if counts.any() else ""
