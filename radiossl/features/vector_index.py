"""Nearest neighbours by cosine similarity: exact for thousands of vectors, close to exact for tens of millions.

This is the only place that builds a faiss index of features. `radiossl.features.stored_index` keeps one on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from radiossl.features.neighbours import unit
from radiossl.io.progress import track

#: Float32 or float16 vectors compared one by one; or sorted into clusters, as they are or in 8 bits per dimension.
Kind = Literal["flat", "flat-fp16", "ivf-flat", "ivf-sq8"]

#: An exact search takes some 50 ms for this many vectors of 512 dimensions; beyond it vectors are sorted into clusters.
FLAT_UP_TO = 200_000
#: Clusters that a search looks into, of the 4,096 for a million vectors: see benchmarks/similarity.py.
PROBES = 16
#: A search of a filtered index goes on until it may have seen this many allowed vectors for each that is wanted.
_SEEN_PER_WANTED = 20
#: More clusters would take hours to sort tens of millions of vectors into.
MOST_CLUSTERS = 8192
_POINTS_PER_CLUSTER = 40
_ITERATIONS = 6
_ADDED_AT_ONCE = 4096


class VectorIndex:
    """Unit vectors, searched by cosine similarity.

    ``flat`` compares a query with every vector, exactly; ``flat-fp16`` does so with float16 vectors, which rounds
    similarities to about 0.0001. The other kinds (inverted files) sort the vectors into clusters and look only into the
    clusters nearest to the query: ``ivf-flat`` keeps the vectors as they are, ``ivf-sq8`` each as its difference from
    the centre of its cluster in 8 bits per dimension. They measure squared distances, which between unit vectors are
    2 - 2 cos, because rounding disturbs near neighbours several times less in a distance than in a product.

    Parameters
    ----------
    blocks
        faiss indexes with their rows numbered from 0.
    kind
        Of all of them.
    trained
        For blocks without their own: the index with the centres of the clusters.
    """

    def __init__(self, blocks: Sequence[Any], kind: Kind, trained: Any = None) -> None:
        self.kind = kind
        self._trained = trained  # the blocks only point to its centres
        for block in blocks if trained is not None else ():
            block.own_fields, block.quantizer = False, trained.quantizer
        self.dimension: int = blocks[0].d
        self._blocks = list(blocks)
        self._starts = np.cumsum([0, *(block.ntotal for block in blocks)])
        self._mapped: set[int] = set()

    @classmethod
    def from_features(cls, features: NDArray[np.floating], exact_up_to: int = FLAT_UP_TO, seed: int = 0) -> VectorIndex:
        """Index features in memory, shape (n, feature_dim): ``flat`` up to `exact_up_to` rows, above ``ivf-flat``.

        >>> import numpy as np
        >>> index = VectorIndex.from_features(np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
        >>> index.search(np.array([[3.0, 0.1]]), k=2)[1].tolist()
        [[0, 2]]
        """
        total, dimension = features.shape
        exact = total <= exact_up_to
        if exact:
            index = empty_index("flat", dimension)
        else:
            rows = np.random.default_rng(seed).choice(total, min(total, sample_size(total)), replace=False)
            index = train_clusters(unit(features[np.sort(rows)]), total, seed, "ivf-flat")
        for start in range(0, total, _ADDED_AT_ONCE):
            index.add(unit(features[start : start + _ADDED_AT_ONCE]))
        return cls([index], "flat" if exact else "ivf-flat")

    @classmethod
    def from_batches(
        cls,
        batches: Iterable[NDArray[np.floating]],
        dimension: int,
        kind: Literal["flat", "flat-fp16"],
        added: Callable[[int], None] = lambda _: None,
    ) -> VectorIndex:
        """Index features that come batch by batch, each of shape (rows, dimension); `added` gets the count so far."""
        index = empty_index(kind, dimension)
        for batch in batches:
            index.add(unit(batch))
            added(index.ntotal)
        return cls([index], kind)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def _clustered(self) -> bool:
        return self.kind.startswith("ivf")

    def search(
        self, vectors: NDArray[np.floating], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the nearest vectors of many queries.

        Parameters
        ----------
        vectors
            Shape (m, feature_dim), of any length other than zero.
        k
            Number of neighbours.
        allowed
            Which rows may be found, shape (n,); all by default.

        Returns
        -------
        similarities, rows
            Shapes (m, k), best first; row -1 and similarity -inf where there are fewer.
        """
        queries = unit(vectors)
        parts = []
        for number, block in enumerate(self._blocks):
            start, stop = self._starts[number : number + 2]
            selected = None if allowed is None else allowed[start:stop]
            if selected is not None and not selected.any():
                continue
            # faiss keeps no reference to the bits and the selector: they must live until the search is over.
            bits = None if selected is None else np.packbits(selected, bitorder="little")
            parameters, _selector = self._parameters(block, k, bits, None if selected is None else int(selected.sum()))
            scores, rows = block.search(queries, min(k, block.ntotal), params=parameters)
            found = rows >= 0
            similarities = 1.0 - 0.5 * scores if self._clustered else scores
            parts.append((np.where(found, similarities, -np.inf), np.where(found, rows + start, -1)))
        similarities = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        if parts:
            every, numbers = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
            best = np.argsort(-every, axis=1, kind="stable")[:, :k]
            similarities[:, : best.shape[1]] = np.take_along_axis(every, best, axis=1)
            rows[:, : best.shape[1]] = np.take_along_axis(numbers, best, axis=1)
        return similarities, rows

    def _parameters(self, block: Any, k: int, bits: NDArray[np.uint8] | None, selected: int | None) -> tuple[Any, Any]:
        import faiss

        untyped: Any = faiss  # its stubs know neither of these signatures
        selector = None if bits is None else untyped.IDSelectorBitmap(bits)
        if not self._clustered:
            return untyped.SearchParameters(sel=selector), selector
        # As many allowed vectors are seen as in a search without a filter, and many times more than are wanted.
        seen = max(PROBES * block.ntotal / block.nlist, _SEEN_PER_WANTED * k)
        among = block.ntotal if selected is None else selected
        probes = min(block.nlist, math.ceil(block.nlist * seen / among))
        return untyped.SearchParametersIVF(sel=selector, nprobe=probes), selector

    def vectors(self, rows: NDArray[np.integer] | Sequence[int]) -> NDArray[np.float32]:
        """Return the unit vectors of rows, shape (m, feature_dim), as the index keeps them: rounded unless flat."""
        rows = np.asarray(rows, dtype=np.int64)
        found = np.empty((len(rows), self.dimension), np.float32)
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(numbers):
            block = self._blocks[number]
            if self._clustered and number not in self._mapped:
                block.make_direct_map()  # where each row is; made only for blocks that are asked for one
                self._mapped.add(int(number))
            chosen = numbers == number
            found[chosen] = block.reconstruct_batch(rows[chosen] - self._starts[number])
        return found

    @property
    def array(self) -> NDArray[np.floating]:
        """The vectors of a ``flat`` or ``flat-fp16`` index in memory, shape (n, feature_dim): a view, not a copy."""
        import faiss

        (block,) = self._blocks
        shape = (block.ntotal, block.d)
        if self.kind == "flat":
            return faiss.rev_swig_ptr(block.get_xb(), shape[0] * shape[1]).reshape(shape)
        return faiss.rev_swig_ptr(block.codes.data(), block.codes.size()).view(np.float16).reshape(shape)


def empty_index(kind: Literal["flat", "flat-fp16"], dimension: int) -> Any:
    """Return an exact faiss index without vectors."""
    import faiss

    untyped: Any = faiss
    if kind == "flat":
        return untyped.IndexFlatIP(dimension)
    return untyped.IndexScalarQuantizer(dimension, untyped.ScalarQuantizer.QT_fp16, untyped.METRIC_INNER_PRODUCT)


def clusters(count: int) -> int:
    """Return how many clusters to sort vectors into: four times the root of their number, with enough points for each.

    The factor is where a query spends about as long on choosing clusters as on what is in them.
    """
    return max(1, min(MOST_CLUSTERS, 2 ** round(np.log2(4 * count**0.5)), count // _POINTS_PER_CLUSTER))


def sample_size(count: int) -> int:
    """Return how many vectors to learn the clusters from."""
    return clusters(count) * _POINTS_PER_CLUSTER


def train_clusters(
    sample: NDArray[np.float32], count: int, seed: int = 0, kind: Literal["ivf-flat", "ivf-sq8"] = "ivf-sq8"
) -> Any:
    """Learn clusters, and the ranges of the quantiser, from a sample of unit vectors; return the index without vectors.

    The index is for `count` vectors; k-means starts from vectors drawn by `seed`.
    """
    import faiss

    number, dimension = clusters(count), sample.shape[1]
    form = f"IVF{number},{'SQ8' if kind == 'ivf-sq8' else 'Flat'}"
    index: Any = faiss.index_factory(dimension, form, faiss.METRIC_L2)
    centres: Any = sample[np.random.default_rng(seed).choice(len(sample), number, replace=False)]
    for _ in track(range(_ITERATIONS), "learning clusters"):
        step = faiss.Kmeans(dimension, number, niter=1, seed=seed, max_points_per_centroid=len(sample))
        step.train(sample, init_centroids=centres)
        centres = step.centroids
    index.quantizer.add(centres)
    index.train(sample)
    return index
