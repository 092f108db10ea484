"""Single files that a command writes: it may replace what it wrote before, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, check_writable

#: Of the beginning, where CSV, FITS and PNG say what they are, and of the end, where Parquet, ONNX and zip files do.
_START_BYTES, _END_BYTES = 2**18, 2**22
#: Of a page or a picture that says what made it.
OURS = "radiossl"


def check_replaceable(out: PathLike, sign: str, what: str, option: str = "--out") -> None:
    """Raise `RadiosslError` where a folder is, or a file without the `sign` of an earlier result, such as an image.

    Or where nothing can be written. The sign is a regular expression for ASCII text near the beginning or the end of a
    file.
    """
    out = Path(out)
    if out.is_dir():
        raise RadiosslError(f"{out}: is a folder, a file was to be written; choose another {option}")
    check_writable(out)
    if not out.exists():
        return
    with out.open("rb") as stream:
        known = stream.read(_START_BYTES)
        stream.seek(max(len(known), out.stat().st_size - _END_BYTES))
        known += stream.read()
    if not re.search(sign.encode(), known, re.IGNORECASE | re.DOTALL):
        raise RadiosslError(f"{out}: exists already and is no {what}; choose another {option}")


def csv_sign(columns: Sequence[str]) -> str:
    """Return the sign of a CSV file that begins with these columns.

    >>> import re
    >>> bool(re.search(csv_sign(["id", "ra_deg"]), '"id","ra_deg","flux"'))
    True
    """
    return r"\A" + ",".join(f'"?{re.escape(column)}"?' for column in columns) + r"[,\r\n]"
