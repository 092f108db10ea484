"""The option by which features are averaged over orientations, or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from radiossl.errors import RadiosslError

if TYPE_CHECKING:
    from radiossl.weights.released import Backbone

Tta = Annotated[
    str | None,
    typer.Option(help="d4: average over 8 rotations and mirror images; none: do not; else as the backbone says."),
]


def with_tta(backbone: Backbone, tta: str | None) -> Backbone:
    """Return the backbone as `--tta` wants it."""
    if tta is None:
        return backbone
    if tta not in ("d4", "none"):
        raise RadiosslError(f"--tta {tta}: expected d4 or none")
    return backbone.with_views(8 if tta == "d4" else 1)
