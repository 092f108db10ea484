"""What the names of files and of their parts say about an image: science, or made beside it."""

from __future__ import annotations

import re

#: Words in the names of images that are made beside a mosaic and do not show the sky as it is.
AUXILIARY = frozenset(
    re.findall(
        r"\w+",
        """alpha background bkg bool con context cov coverage ctx dirty dq err error exp expmap exposure flag flags
        fluxpb ivar mask meanmap model noise noisemap psf residual residuals rms sens sensitivity spindx std stdev
        uncert uncertainty var variance weight weights wgt wht""",
    )
)
#: Words in the names of images that do.
SCIENCE = frozenset({"data", "image", "img", "int", "restored", "sci", "science"})
#: Words that are neither.
NEUTRAL = SCIENCE | {"combined", "i", "map", "maps", "mfs"}


def name_words(name: str) -> frozenset[str]:
    """Return the words of a name, in lower case: ``obs-MFS-image.pb`` has obs, mfs, image and pb.

    Examples
    --------
    >>> sorted(name_words("SWF_4-weightMap.fits"))
    ['4', 'fits', 'map', 'swf', 'weight']
    """
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return frozenset(word.lower() for word in re.split(r"[^A-Za-z0-9]+", parts) if word)
