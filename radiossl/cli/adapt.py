"""Options that change how a backbone sees images and what is read out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from radiossl.io.errors import RadiosslError

if TYPE_CHECKING:
    from radiossl.weights.backbone import Backbone

Tta = Annotated[
    str | None,
    Option(help="d4: average over 8 rotations and mirror images; none: do not (default: as the weights say)."),
]
Field = Annotated[int | None, Option(min=8, help="Use only the central N x N pixels (default: as the weights say).")]


Readout = Annotated[
    str | None,
    Option(
        help="last: the network's own pooled output; wide: mean, deviation and maximum of all stages (default: as the"
        " weights say)."
    ),
]
Whiten = Annotated[
    int | None,
    Option(min=0, help="Keep this many components of the weights' whitening; 0: none (default: as they say)."),
]


def adapt(
    backbone: Backbone, tta: str | None, field: int | None, readout: str | None = None, whiten: int | None = None
) -> Backbone:
    """Return the backbone as `--tta`, `--field`, `--readout` and `--whiten` want it."""
    changes: dict[str, Any] = {}
    if tta is not None:
        if tta not in ("d4", "none"):
            raise RadiosslError(f"--tta {tta}: expected d4 or none")
        changes["views"] = 8 if tta == "d4" else 1
    if field is not None:
        changes["field_px"] = field
    backbone = backbone.adapted(**changes) if changes else backbone
    return backbone if readout is None and whiten is None else backbone.with_readout(readout, whiten)
