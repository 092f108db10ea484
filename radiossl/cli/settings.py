"""Options of the form KEY=VALUE, such as `--set`, as several commands take them."""

from __future__ import annotations

from collections.abc import Sequence

from radiossl.io.errors import RadiosslError


def key_values(texts: Sequence[str] | None, option: str = "--set", form: str = "KEY=VALUE") -> dict[str, str]:
    """Split the values of an option at their first equals sign; raise `RadiosslError` if one has no key or none."""
    settings = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise RadiosslError(f"{option} {text}: expected {form}")
        settings[key] = value
    return settings
