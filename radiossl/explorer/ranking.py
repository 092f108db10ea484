"""The list of anomalies: starting scores, and what ratings make of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.anomalies.scores import AnomalySettings, anomaly_scores
from radiossl.explorer.session import Session
from radiossl.features.confounders import EDGE, LEAST_SNR, NOISE, artefact_marks
from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError, counted
from radiossl.ratings.active_learning import Prediction, choose, learn, rated_objects, rating_space
from radiossl.ratings.ranking import ranked_table
from radiossl.ratings.records import read_scores
from radiossl.ratings.rounds import learnt_columns

#: Names of the columns that a ranking adds to those that colour the map.
SCORE, EXPECTED = "anomaly score", "expected rating"
PROPOSED = 25
_MARKED = {NOISE: f"nothing above {LEAST_SNR:g} rms: perhaps only noise", EDGE: "at the edge of a mosaic"}


@dataclass(frozen=True, eq=False)
class Order:
    """An order of all sources."""

    rows: NDArray[np.int64]  # highest first; empty while there are no scores yet
    learnt_from: int = 0  # number of ratings; 0 for the starting scores
    method: str = ""  # empty for the starting scores

    @property
    def heading(self) -> str:
        """What the list is ordered by, in words."""
        if not self.learnt_from:
            return "ranked by anomaly score"
        return f"ranked by {counted(self.learnt_from, 'rating')}"


class Ranking:
    """The order of a session's sources, the most remarkable first; its features must be loaded before `prepare`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        #: The order of now; replaced as a whole, so that no list is shown under another's heading.
        self.now = Order(np.zeros(0, np.int64))
        self.version = 0  # changes whenever the order does
        self.trouble = ""
        self._starting: NDArray[np.float64] | None = None
        self._prediction: Prediction | None = None
        self._table: pd.DataFrame | None = None
        self._lock = Lock()
        if session.files.scores is not None:
            ids = session.cutout_ids(np.arange(len(session)))
            self._start(read_scores(session.files.scores, ids))

    def prepare(self) -> None:
        """Make the starting scores if none were given: an Isolation Forest, see `anomaly_scores`."""
        if self._starting is not None:
            return
        try:
            settings = AnomalySettings(seed=self.session.files.seed)
            self._start(anomaly_scores(self.session.table.features, settings))
        except RadiosslError as error:
            self.trouble = str(error)

    def _start(self, scores: NDArray[np.float64]) -> None:
        self._starting = scores
        self.session.shown.later[SCORE] = scores
        self._take(Order(np.argsort(-scores, kind="stable")))

    def _take(self, order: Order) -> None:
        self.now = order
        self.version += 1

    def learn(self, method: str) -> None:
        """Order the sources by what the ratings teach, see `radiossl.ratings.active_learning.learn`."""
        with self._lock:
            session, starting = self.session, self._known_scores()
            rated = rated_objects(session.table, session.ratings.last, starting)
            prediction = learn(self._space, rated, method=method, seed=session.files.seed)
            table = ranked_table(session.table, prediction, rated)
            self._prediction, self._table = prediction, table
            session.shown.later[EXPECTED] = prediction.rating
            self._take(Order(np.lexsort((-starting, -prediction.score)), len(rated), method))

    def proposal(self) -> NDArray[np.int64]:
        """Return the rows that would teach the most if rated next; see `radiossl.ratings.active_learning.choose`."""
        session = self.session
        rated = rated_objects(session.table, session.ratings.last, self._known_scores())
        seed = session.files.seed + len(rated)  # other random ones after every rating
        return choose(self._prediction, rated, PROPOSED, seed=seed).rows

    def table(self) -> pd.DataFrame:
        """Return the ranked list as `radiossl rate rank` writes it; by starting scores until something was learnt."""
        if self._table is not None:
            ratings = self._table["cutout_id"].map(self.session.ratings.last).astype("Int64")
            return self._table.assign(rating=ratings)
        scores = self._known_scores()
        frame = self.session.rows_frame(self.now.rows)
        names = [name for name in ("cutout_id", "ra_deg", "dec_deg") if name in frame.columns]
        ranked = frame[names].assign(score=scores[self.now.rows], rating=frame["rating"])
        ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
        return ranked

    @cached_property
    def _space(self) -> NDArray[np.float32]:
        return rating_space(self.session.table, learnt_columns(self.session.table, None))

    def why(self, row: int) -> str:
        """Return why a source is where it is in the list, in words."""
        if self._starting is None:
            return ""
        mark = str(self.marks[row])
        below = float((self._starting < self._starting[row]).mean())
        said = f"more unlike the others than {below:.0%} of all sources"
        if self._prediction is not None:
            rating, spread = self._prediction.rating[row], self._prediction.spread[row]
            said = f"expected rating {rating:.2f} ± {spread:.2f} from {counted(self.now.learnt_from, 'rating')}; {said}"
        return f"{said}\n{_MARKED[mark]}" if mark else said

    @cached_property
    def marks(self) -> NDArray[np.str_]:
        """Which sources are noise alone or at an edge; see `artefact_marks`."""
        return artefact_marks(FeatureTable(self.session.columns, np.empty((len(self.session), 0), np.float32)))

    def _known_scores(self) -> NDArray[np.float64]:
        if self._starting is None:
            raise RadiosslError(self.trouble or "the anomaly scores are still being made")
        return self._starting
