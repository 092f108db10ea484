"""`radiossl weights`: what is known of a backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Backbone folders.")


@app.callback()
def _weights() -> None:
    """Backbone folders."""


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="Backbone folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Print what a backbone is, sees, was trained on and scores."""
    from radiossl.weights.released import load_backbone

    backbone = load_backbone(path)
    config = backbone.config
    facts = {
        "path": str(path),
        "sha256": backbone.sha256,
        "architecture": config.architecture.model_dump(),
        "parameters": sum(p.numel() for p in backbone.network.parameters()),
        "feature_dim": backbone.feature_dim,
        "preprocessing": config.preprocessing.model_dump(),
        "recipe": config.recipe.get("name"),
        "method": config.recipe.get("method"),
        "epochs": config.recipe.get("schedule", {}).get("epochs"),
        "data": list(config.data),
        "scores": config.scores,
    }
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        typer.echo(f"{name:14s} {_plain(value)}")


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items()) or "-"
    if isinstance(value, list):
        return "; ".join(_plain(item) for item in value) or "-"
    return "-" if value is None else str(value)
