"""Finding the mosaics of a survey by the names of files: the science images without by-products, each named once."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from radiossl.io.errors import RadiosslError
from radiossl.io.files import files_among, path_list

_FITS_NAME = re.compile(r"\.(fits|fit|fts)(\.gz|\.fz)?$", re.IGNORECASE)
_log = logging.getLogger(__name__)


def find_mosaics(sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the FITS files among files, folders (all FITS in them, not deeper) and glob patterns, each once.

    What imaging programs write beside an image (WSClean's ``-dirty`` and ``-psf``, ``-rms``, ``-weight`` and the like)
    is left out where the image is there too, and so are other versions of it: Stokes Q, U and V, single channels,
    Taylor terms above 0, images before the correction for the primary beam. A warning says so. Hidden files, such as
    the ``._`` files of macOS, are left out. Raises `RadiosslError` if one of them does not exist or holds no FITS file.
    """
    found = [path for source in path_list(sources) for path in _expand(source)]
    if not found:
        raise RadiosslError("no mosaic was given")
    unique: dict[Path, Path] = {}
    for path in found:
        unique.setdefault(path.resolve(), path)
    paths = list(unique.values())
    beside = _beside_images(paths)
    if beside:
        names = ", ".join(sorted(path.name for path in beside)[:5]) + (", ..." if len(beside) > 5 else "")
        _log.warning("left out, since they are not science images: %s (give them alone to use them)", names)
    return [path for path in paths if path not in beside]


def _beside_images(paths: Sequence[Path]) -> set[Path]:
    """Return the files that, by name, were made beside a science image of the same folder or show less of it."""
    words = {path: name_words(mosaic_stem(path.name)) for path in paths}
    science: dict[Path, set[frozenset[str]]] = {}
    for path in paths:
        if not is_auxiliary(words[path]):
            science.setdefault(path.parent, set()).add(words[path])

    def left_out(path: Path) -> bool:
        images = science.get(path.parent, set())
        if not is_auxiliary(words[path]):
            return any(version in images for version in better_versions(words[path]))
        rest = words[path] - AUXILIARY - NEUTRAL - {"pb"}
        if "beam" in words[path]:  # WSClean numbers the parts of a beam
            rest = frozenset(word for word in rest if not re.fullmatch(r"\d{1,2}", word))
        return any(_covered(rest, image) or _covered(image - NEUTRAL, rest) for image in images)

    return {path for path in paths if left_out(path)}


def _covered(words: frozenset[str], others: frozenset[str]) -> bool:
    """Return whether each of some words begins one of the others, as P11 does P11Hetdex."""
    return all(any(other.startswith(word) for other in others) for word in words)


def _expand(source: str | os.PathLike[str]) -> list[Path]:
    path = Path(source)
    if path.is_file():
        return [path]
    candidates = path.iterdir() if path.is_dir() else map(Path, glob.glob(str(source), recursive=True))  # noqa: PTH207
    found = files_among(i for i in candidates if _FITS_NAME.search(i.name) and not i.name.startswith("."))
    if not found:
        several = path.is_dir() or glob.has_magic(str(source))
        what = "no FITS file there (.fits, .fits.gz, .fits.fz, .fit)" if several else "no such file or folder"
        raise RadiosslError(f"{source}: {what}")
    return found


def mosaic_labels(paths: Sequence[Path]) -> list[str]:
    """Return a name for every mosaic that no other has: its file name, with its folder where two share one.

    Raises `RadiosslError` if that does not make them unique, as with ``a.fits`` and ``a.fits.gz`` in one folder.
    """
    stems = [mosaic_stem(path.name) for path in paths]
    shared = {stem for stem, count in Counter(stems).items() if count > 1}
    labels: list[str] = []
    of: dict[str, Path] = {}
    for path, stem in zip(paths, stems, strict=True):
        labels.append(f"{path.resolve().parent.name}/{path.name}" if stem in shared else path.name)
        twin = of.setdefault(mosaic_stem(labels[-1]), path)
        if twin is not path:
            what = "their cutouts would have the same names; rename one or leave it out"
            raise RadiosslError(f"{twin} and {path}: {what}")
    return labels


def mosaic_stem(label: str) -> str:
    """Return a mosaic's label without its FITS suffixes, with which the ids of its cutouts begin."""
    return _FITS_NAME.sub("", label).replace("/", "_")


# Science images and by-products, files and HDUs -----------------------------------------------------------------------

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
