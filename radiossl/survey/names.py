"""Names of files and HDUs: whether an image is the science image or a by-product."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Words in the names of images that are made beside a mosaic and do not show the sky as it is.
AUXILIARY = frozenset(
    re.findall(
        r"\w+",
        """
        alpha background beam bkg bool comp component components con context cov coverage ctx curvature
        curve dirty dq err error exp expmap exposure flag flags fluxpb gaus ivar mask mean meanmap model
        noise noisemap psf resid residual residuals rms sens sensitivity snr spindx std stdev sumwt uncert
        uncertainty var variance weight weights wgt wht wt
        """,
    )
)
#: Words in the names of images that do.
SCIENCE = frozenset({"data", "image", "img", "int", "restored", "sci", "science"})
#: Words that are neither.
NEUTRAL = SCIENCE | {"aegean", "bane", "combined", "i", "map", "maps", "mfs", "pybdsf", "pybdsm", "selavy"}
#: Words of images that were made of others: corrected for the primary beam, or cut where they are too noisy.
_FINISHED = ("pb", "pbcor", "blanked")


def is_auxiliary(words: frozenset[str]) -> bool:
    """Return whether these are the words of an image that does not show the sky; ``pb`` alone is a primary beam."""
    return bool(words & AUXILIARY) or ("pb" in words and not words & SCIENCE)


def better_versions(words: frozenset[str]) -> Iterator[frozenset[str]]:
    """Yield the words of images that show the same sky better: of Stokes I, all channels, corrected for the beam.

    Examples
    --------
    >>> [sorted(words) for words in better_versions(frozenset({"obs", "0003", "image"}))][0]
    ['image', 'mfs', 'obs']
    """
    for word in words:
        others = words - {word}
        if word in ("q", "u", "v"):
            yield from (others | {"i"}, others)
        elif re.fullmatch(r"tt[1-9]", word):
            yield others | {"tt0"}
        elif re.fullmatch(r"\d{4}", word):
            yield others | {"mfs"}
        elif "taylor" in words and re.fullmatch(r"[1-9]", word):
            yield others | {"0"}
    yield from (words | {word} for word in _FINISHED if word not in words and (word != "pb" or words & SCIENCE))


def name_words(name: str) -> frozenset[str]:
    """Return the words of a name, in lower case: ``obs-MFS-image.pb`` has obs, mfs, image and pb.

    Examples
    --------
    >>> sorted(name_words("SWF_4-weightMap.fits"))
    ['4', 'fits', 'map', 'swf', 'weight']
    """
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return frozenset(word.lower() for word in re.split(r"[^A-Za-z0-9]+", parts) if word)
