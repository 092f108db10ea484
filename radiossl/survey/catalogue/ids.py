"""Names of sources: as the catalogue has them, made of positions, and each one once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DAY, _HOUR, _MINUTE = 8_640_000, 360_000, 6_000  # in hundredths of a second


def position_ids(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> list[str]:
    """Return names of the IAU kind, truncated and not rounded as the IAU wants it.

    Examples
    --------
    >>> import numpy as np
    >>> position_ids(np.array([188.7354167]), np.array([-1.5]))
    ['J123456.50-013000.0']
    """
    names = []
    for ra, dec in zip(ra_deg, dec_deg, strict=True):
        if not (np.isfinite(ra) and np.isfinite(dec)):
            names.append("J-unknown")
            continue
        # A thousandth of the last digit, so that 12.34 that is stored as 12.33999... stays 12.34.
        time, arcsec = int(ra % 360 * 24000 + 1e-3) % _DAY, int(abs(dec) * 36000 + 1e-3)
        names.append(
            f"J{time // _HOUR:02d}{time // _MINUTE % 60:02d}{time % _MINUTE / 100:05.2f}"
            f"{'-' if dec < 0 else '+'}{arcsec // 36000:02d}{arcsec // 600 % 60:02d}{arcsec % 600 / 10:04.1f}"
        )
    return names


def unique_ids(ids: Iterable[str]) -> tuple[NDArray[Any], int]:
    """Number the repetitions among `ids`; return them with how many had to be changed.

    Examples
    --------
    >>> unique_ids(["a", "b", "a"])
    (array(['a', 'b', 'a_2'], dtype=object), 1)
    """
    given = list(ids)
    taken = set(given)
    seen: dict[str, int] = {}
    result = []
    for name in given:
        seen[name] = count = seen.get(name, 0) + 1
        new = name
        while count > 1 and new in taken:
            new, count = f"{name}_{count}", count + 1
        taken.add(new)
        result.append(new)
    return np.array(result, dtype=object), sum(a != b for a, b in zip(given, result, strict=True))
