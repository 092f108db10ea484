"""`--set KEY=VALUE`, as several commands take it."""

from __future__ import annotations

from collections.abc import Sequence

from radiossl.errors import RadiosslError


def key_values(texts: Sequence[str] | None) -> dict[str, str]:
    """Split the values of `--set` at their first equals sign; raise `RadiosslError` if one has no key or none."""
    settings = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise RadiosslError(f"--set {text}: expected KEY=VALUE")
        settings[key] = value
    return settings
