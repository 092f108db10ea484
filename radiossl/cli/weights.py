"""`radiossl weights`: what is known of a backbone, and backbones from and for other codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import Device, Seed, set_option
from radiossl.io.errors import counted
from radiossl.io.settings import key_values, parse_yaml

app = typer.Typer(no_args_is_help=True, help="Inspect, fetch, convert and release backbones.")


@app.command()
def info(
    path: Annotated[Path, Argument(help="Backbone: folder or name.")],
    as_json: Annotated[bool, Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Print a backbone's architecture, preprocessing, training data and scores."""
    from radiossl.weights.card import card_sections

    backbone = radiossl.load_backbone(path)
    config = backbone.config
    facts = {
        "path": str(path),
        "sha256": backbone.sha256,
        "architecture": config.architecture.model_dump(),
        "parameters": sum(p.numel() for p in backbone.network.parameters()),
        "feature_dim": backbone.feature_dim,
        "preprocessing": config.preprocessing.model_dump(),
        "embedding": config.embedding.settings,
        "whitening": None if config.whitening is None else list(config.whitening.components.shape),
        "recipe": config.recipe.get("name"),
        "method": config.recipe.get("method"),
        "epochs": config.recipe.get("schedule", {}).get("epochs"),
        "imported": config.imported,
    }
    if as_json:
        facts |= {"data": list(config.data), "scores": config.scores, "about": config.about}
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        typer.echo(f"{name:14s} {_plain(value)}")
    typer.echo(f"\n{card_sections(config)}", nl=False)


@app.command("list")
def list_() -> None:
    """List the released backbones: those in the package, in the cache, and those that can be fetched."""
    from radiossl.weights.released import bundled_backbones, cached_folder, read_registry

    registry, bundled = read_registry(), bundled_backbones()
    for name in sorted({*registry, *bundled}):
        release = registry.get(name)
        if name in bundled:
            where = "in the package"
        else:
            where = "in the cache" if release and cached_folder(name, release).is_dir() else "to fetch"
        about = f"{release.version:8s} {release.megabytes:5.0f} MB  {release.about}" if release else ""
        typer.echo(f"{name:24s} {where:15s} {about}".rstrip())


@app.command()
def fetch(
    name: Annotated[str, Argument(help="Name of a released backbone.")],
    mirror: Annotated[str | None, Option(help="Address of a folder with its files, tried first.")] = None,
) -> None:
    """Fetch a released backbone into the cache, check it, and print its folder."""
    from radiossl.weights.released import fetch_backbone

    typer.echo(fetch_backbone(name, mirror=mirror))


@app.command()
def push(
    path: Annotated[Path, Argument(help="Backbone: folder or name.")],
    repo: Annotated[str, Option(metavar="OWNER/NAME", help="Repository on the Hugging Face hub.")],
    licence: Annotated[str, Option(help="The hub's name of a licence, such as cc-by-4.0.")] = "other",
    private: Annotated[bool, Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Upload a backbone to the Hugging Face hub; log in first (hf auth login)."""
    from radiossl.weights.release import push_backbone

    typer.echo(push_backbone(path, repo, licence=licence, private=private))


@app.command()
def release(
    path: Annotated[Path, Argument(help="Backbone folder, such as that of a run.")],
    out: Annotated[Path, Option(help="Backbone folder to write.")],
    half: Annotated[bool, Option("--half", help="Store the weights in float16.")] = False,
    evaluation: Annotated[
        list[str] | None, Option(metavar="TITLE=FOLDER", help="Results for its card; repeatable.")
    ] = None,
    limits: Annotated[Path | None, Option(help="Markdown file with the known limits.")] = None,
    terms: Annotated[str, Option(help="Terms of use.")] = "",
    citation: Annotated[str, Option(help="How to cite it.")] = "",
) -> None:
    """Prepare a backbone for release: put its scores, limits, compute and terms on its card."""
    from radiossl.io.files import existing_file
    from radiossl.weights.release import release as write
    from radiossl.weights.release import run_compute

    written = write(
        path,
        out,
        half=half,
        evaluations=key_values(evaluation, "--evaluation", "TITLE=FOLDER"),
        compute=run_compute(path),
        limits="" if limits is None else existing_file(limits).read_text(encoding="utf-8"),
        terms=terms,
        citation=citation,
    )
    typer.echo(f"{out}: {written.feature_dim} features, {counted(len(written.config.scores), 'score')} on its card")


@app.command()
def whiten(
    path: Annotated[Path, Argument(metavar="WEIGHTS", help="Backbone: folder or name.")],
    stores: Annotated[list[Path], Argument(metavar="STORE...", help="Stores of the training images.")],
    out: Annotated[Path, Option(help="Backbone folder to write; may be WEIGHTS.")],
    readout: Annotated[str, Option(help="last: the network's own pooled output; wide: all stages.")] = "wide",
    components: Annotated[int, Option(min=1, help="How many components to store.")] = 256,
    views: Annotated[int, Option(min=2, help="Random views of each image.")] = 4,
    default: Annotated[
        int | None, Option(metavar="N", min=0, help="Make N components the default (0: not whitened).")
    ] = None,
    joined: Annotated[bool, Option("--joined", help="With the last stage beside them.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Learn a whitening of the features from random views of unlabelled images and store it with the weights."""
    from radiossl.pretraining.whitening import store_whitening

    stored = store_whitening(path, stores, out, readout, components, views, default, joined, seed, device)
    kept, dimension = stored.components.shape
    typer.echo(f"{out}: {kept} components of {dimension} numbers; radiossl embed --readout {readout} --whiten N")


@app.command("import")
def import_(
    file: Annotated[Path, Argument(help="Checkpoint of another code, or a folder of timm's.")],
    out: Annotated[Path, Option(help="Backbone folder to write.")],
    format: Annotated[
        str, Option(help="torchvision, timm, lightly, solo-learn, byol-rgz, sclassifier, torch-hub or auto.")
    ] = "auto",
    preprocessing: Annotated[
        str | None,
        Option(help="imagenet, imagenet-grey, riggi2024, solo-learn or slijepcevic2024 (default: the format's)."),
    ] = None,
    settings: Annotated[list[str] | None, set_option("size=128")] = None,
    entry: Annotated[str | None, Option(help="Key of the weights in a file that holds several.")] = None,
    ignore: Annotated[list[str] | None, Option(help="Prefix of tensors to leave out; repeatable.")] = None,
    architecture: Annotated[str | None, Option(help="timm's name of the network, if several would fit.")] = None,
) -> None:
    """Turn weights that another code trained into a backbone; nothing in the file is run."""
    from radiossl.weights.backbone import save_backbone
    from radiossl.weights.importing import import_backbone

    values = {key: parse_yaml(value, f"--set {key}={value[:80]}") for key, value in key_values(settings).items()}
    how: dict[str, Any] = {"entry": entry, "ignore": ignore or [], "architecture": architecture}
    imported = import_backbone(file, format, preprocessing, values, **how)
    config = imported.backbone.config
    save_backbone(out, imported.backbone.network, config)
    lines = [("format", imported.format), ("architecture", config.architecture.model_dump())]
    lines += [("taken for", imported.guess)] * bool(imported.guess)
    lines += [("preprocessing", config.preprocessing.model_dump()), ("used", f"{imported.used} tensors")]
    lines += [("left out", f"{name}: {what}") for name, what in imported.left_out.items()]
    for name, value in lines:
        typer.echo(f"{name:14s} {_plain(value)}")
    typer.echo(f"{out}: {imported.backbone.feature_dim} features")


@app.command()
def export(
    path: Annotated[Path, Argument(help="Backbone: folder or name.")],
    format: Annotated[str, Option(help="torchscript, export (torch.export, .pt2) or onnx.")],
    out: Annotated[Path, Option(help="File to write.")],
    with_preprocessing: Annotated[
        bool,
        Option("--with-preprocessing", help="Include the preprocessing: the file takes raw pixels (onnx, export)."),
    ] = False,
) -> None:
    """Write a backbone for use without radiossl: images to features. timm reads the folder itself."""
    backbone = radiossl.load_backbone(path)
    radiossl.export_backbone(backbone, format, out, with_preprocessing=with_preprocessing)
    seen = backbone.config.preprocessing
    if with_preprocessing:
        typer.echo(f"{out}: raw pixels (height, width) to (1, {backbone.feature_dim})")
    else:
        typer.echo(f"{out}: (n, {seen.channels}, {seen.size}, {seen.size}) to (n, {backbone.feature_dim})")


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items()) or "-"
    return "-" if value is None else str(value)
