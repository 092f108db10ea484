"""The one exception that means: the input is wrong, and here is what to do about it."""

from __future__ import annotations


class RadiosslError(ValueError):
    """A problem that the user can mend.

    The message is one line that names the file or key, what was expected and what to do. The command line
    prints it without a traceback and exits with status 1.
    """
