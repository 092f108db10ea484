"""Options by which a backbone sees images otherwise than it was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from radiossl.io.errors import RadiosslError

if TYPE_CHECKING:
    from radiossl.weights.backbone import Backbone

Tta = Annotated[
    str | None,
    typer.Option(help="d4: average over 8 rotations and mirror images; none: do not; else as the backbone says."),
]
Field = Annotated[
    int | None, typer.Option(min=8, help="See the central pixels of this side only; else as the backbone says.")
]


def adapt(backbone: Backbone, tta: str | None, field: int | None) -> Backbone:
    """Return the backbone as `--tta` and `--field` want it."""
    changes: dict[str, Any] = {}
    if tta is not None:
        if tta not in ("d4", "none"):
            raise RadiosslError(f"--tta {tta}: expected d4 or none")
        changes["views"] = 8 if tta == "d4" else 1
    if field is not None:
        changes["field_px"] = field
    return backbone.adapted(**changes) if changes else backbone
