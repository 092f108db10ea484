"""`radiossl evaluate`: how good a backbone is on labelled cutouts; `radiossl benchmark`: is it worth having."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import Device, Field, Group, GroupingName, Readout, Seed, Tta, Whiten, adapt, set_option
from radiossl.cli.pretrain import BatchSize, Changes, Data, ImageSize, Passes, Recipe, changed_recipe
from radiossl.io.errors import RadiosslError, counted
from radiossl.io.settings import apply_settings, split_names

if TYPE_CHECKING:
    from radiossl.evaluation.protocols import Protocol
    from radiossl.evaluation.training import TrainingSettings

app = typer.Typer(no_args_is_help=True, help="Evaluate a backbone on labelled cutouts.")

Label = Annotated[str, Option(metavar="COLUMN", help="Column with the classes.")]
Where = Annotated[str | None, Option(help="Only labelled cutouts that meet this, such as 'las_arcsec > 20'.")]
Folds = Annotated[int, Option(min=2, help="Number of stratified folds.")]
Seeds = Annotated[int, Option(min=1, help="Number of draws of folds, label fractions and random weights.")]
Imagenet = Annotated[Path | None, Option(help="File of torchvision's weights of the same ResNet, to compare with.")]
Neighbours = Annotated[int, Option("--neighbours", "-k", min=0, help="Neighbours that vote (0: by inner folds).")]
Components = Annotated[int, Option(min=0, help="Run kNN on this many whitened principal components (0: raw features).")]
Layer = Annotated[bool, Option("--layer", help="Train a single layer with rotations and flips (Riggi et al. 2024).")]
LayerEpochs = Annotated[int, Option(min=1, help="Epochs of --layer.")]
Strength = Annotated[float, Option(min=0, help="Inverse regularisation of the regression (0: chosen by inner folds).")]


@dataclass(frozen=True)
class Common:
    """Options of every protocol."""

    weights: Annotated[Path, Argument(help="Backbone: folder or name.")]
    train: Annotated[Path, Option(help="Labelled cutout store.")]
    label: Label
    out: Annotated[Path, Option(help="Result folder to write; an interrupted evaluation goes on there.")]
    test: Annotated[Path | None, Option(help="Separate test store; without it, folds of --train.")] = None
    group: Group = None
    grouping: GroupingName = None
    where: Where = None
    folds: Folds = 5
    seeds: Seeds = 5
    seed: Seed = 0
    fractions: Annotated[str, Option(help="Fractions of the labels to learn from, such as 1,0.3,0.1.")] = "1"
    by: Annotated[list[str] | None, Option(help="Column to draw F1 against; repeatable.")] = None
    tta: Tta = None
    field: Field = None
    readout: Readout = None
    whiten: Whiten = None
    calibrate: Annotated[bool, Option("--calibrate", help="Calibrate the probabilities (temperature).")] = False
    baselines: Annotated[bool, Option(help="Evaluate the baselines, too.")] = True
    keep_shared: Annotated[bool, Option("--keep-shared", help="Also test on sources of the pretraining set.")] = False
    group_radius: Annotated[str, Option(help="Sources this close share a fold (0: no grouping).")] = "60arcsec"
    device: Device = "auto"


@dataclass(frozen=True)
class OnFeatures(Common):
    """Options of the protocols on features."""

    columns: Annotated[str, Option(help="Columns to learn from besides the features: las_arcsec,flux.")] = ""
    imagenet: Imagenet = None


@dataclass(frozen=True)
class OnImages(Common):
    """Options of the protocols that train the network, of which each takes long: one seed is the default."""

    seeds: Seeds = 1
    epochs: Annotated[int, Option(min=1, help="Passes over the labelled images.")] = 150
    changes: Annotated[list[str] | None, set_option("lr=0.0003")] = None
    small_cnn: Annotated[bool, Option("--small-cnn", help="Train the small network of Negm 2021, too.")] = False


def with_common(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Common`, or of the subclass that its first argument is, before its own."""
    given, *own = inspect.signature(command, eval_str=True).parameters.values()
    common = inspect.signature(given.annotation, eval_str=True).parameters
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*common.values(), *own)]

    def run(**options: Any) -> None:
        command(given.annotation(**{name: options.pop(name) for name in common}), **options)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


@app.command()
@with_common
def knn(given: OnFeatures, neighbours: Neighbours = 20, components: Components = 0) -> None:
    """Nearest neighbours in feature space, against the majority class, raw pixels and random weights."""
    _on_features(given, ["knn"], k=neighbours or None, components=components or None)


@app.command()
@with_common
def linear(given: OnFeatures, layer: Layer = False, epochs: LayerEpochs = 30, strength: Strength = 0.1) -> None:
    """Linear probe on frozen features: a logistic regression, or a single layer."""
    _on_features(given, ["layer" if layer else "linear"], strength=strength or None, epochs=epochs)


@app.command()
@with_common
def frozen(
    given: OnFeatures,
    neighbours: Neighbours = 20,
    components: Components = 0,
    layer: Layer = False,
    epochs: LayerEpochs = 30,
    strength: Strength = 0.1,
) -> None:
    """Nearest neighbours and linear probe on the same features, each in its own folder."""
    # The layer needs the features of every view; the others take their average.
    protocols: list[Protocol] = ["layer", "knn", "linear"] if layer else ["knn", "linear"]
    settings = {"k": neighbours or None, "components": components or None, "strength": strength or None}
    _on_features(given, protocols, **settings, epochs=epochs)


def _on_features(given: OnFeatures, protocols: Sequence[Protocol], **changed: Any) -> None:
    columns = split_names(given.columns)
    if given.label in columns:
        raise RadiosslError(f"--columns {given.label}: is the label that is to be predicted; leave it out")
    _run(given, protocols, given.imagenet, columns=columns, **changed)


@app.command()
@with_common
def finetune(
    given: OnImages,
    stages: Annotated[int | None, Option(min=0, help="Train only this many of the last stages (default: all).")] = None,
    imagenet: Imagenet = None,
) -> None:
    """Train the whole network on the labels, from the backbone and, for comparison, from scratch."""
    from radiossl.evaluation.training import FINE_TUNING

    _on_images(given, "finetune", FINE_TUNING.model_copy(update={"stages": stages}), imagenet)


@app.command()
@with_common
def supervised(given: OnImages) -> None:
    """Train the backbone's architecture on the labels from scratch; only its preprocessing is used."""
    from radiossl.evaluation.training import FROM_SCRATCH

    _on_images(given, "supervised", FROM_SCRATCH)


def _on_images(given: OnImages, protocol: Protocol, base: TrainingSettings, imagenet: Path | None = None) -> None:
    settings = apply_settings(type(base), base.model_copy(update={"epochs": given.epochs}), given.changes)
    _run(given, [protocol], imagenet, training=settings, small_cnn=given.small_cnn)


@app.command()
def sweep(
    recipe: Recipe,
    data: Data,
    train: Annotated[Path, Option(help="Labelled store to evaluate on.")],
    label: Label,
    out: Annotated[Path, Option(help="Folder of runs and results; earlier ones are reused.")],
    cuts: Annotated[str, Option(help="Minimum values of --column to train on, such as 0,10,20,30.")],
    column: Annotated[str, Option(help="Column of the training stores to cut on.")] = "las_arcsec",
    group: Group = None,
    grouping: GroupingName = None,
    where: Where = None,
    neighbours: Annotated[int, Option("--neighbours", "-k", min=1, help="Number of neighbours that vote.")] = 20,
    folds: Folds = 5,
    seeds: Seeds = 5,
    seed: Seed = 0,
    epochs: Passes = None,
    batch_size: BatchSize = None,
    image_size: ImageSize = None,
    changes: Changes = None,
    keep_shared: Annotated[bool, Option("--keep-shared", help="Train on the sources that are evaluated, too.")] = False,
    device: Device = "auto",
) -> None:
    """Pretrain with several cuts and seeds and evaluate by kNN: figures 3 and 5 of Slijepcevic et al. 2022."""
    from radiossl.evaluation.labels import store_labels
    from radiossl.evaluation.sweep import run_sweep, write_sweep

    stages = changed_recipe(recipe, changes, epochs=epochs, batch_size=batch_size, image_size=image_size)
    if len(stages) != 1:
        raise RadiosslError(f"--recipe {recipe}: has {len(stages)} stages, a sweep needs one of a single stage")
    store = radiossl.open_store(train)
    result = run_sweep(
        stages[0],
        data,
        (store, store_labels(store, label, group or (), grouping, where)),
        out,
        column=column,
        cuts=_numbers("--cuts", cuts),
        seeds=seeds,
        seed=seed,
        k=neighbours,
        folds=folds,
        device=device,
        exclude=[] if keep_shared else [train],
    )
    report = write_sweep(result, out, column)
    for cut, rows in result.scores.groupby("cut"):
        about = f"{counted(len(rows), 'seed')}, {counted(rows['cutouts'].iloc[0], 'cutout')}"
        typer.echo(f"{column} >= {cut:g}: {rows['accuracy'].mean():.3f} ({about})")
    typer.echo(report)


@app.command()
def compare(
    folders: Annotated[list[str], Argument(help="Result folders, or NAME=FOLDER; the first is the reference.")],
    out: Annotated[Path, Option(help="Folder to write.")],
) -> None:
    """Put evaluations side by side, with the probability that each is better than the first."""
    from radiossl.evaluation.comparison import compare_evaluations

    named = [text.partition("=")[::2] if "=" in text else (Path(text).name, text) for text in folders]
    typer.echo(compare_evaluations(named, out))


def _run(common: Common, protocols: Sequence[Protocol], imagenet: Path | None, **changed: Any) -> None:
    """Evaluate and write, into a folder for each protocol where there are several."""
    from radiossl.evaluation.protocols import ProtocolSettings, without_pretraining
    from radiossl.evaluation.report import binned_values, summary_lines, write_evaluation
    from radiossl.evaluation.shared_features import SharedFeatures
    from radiossl.io.cache import cache_folder
    from radiossl.io.results import check_result_folder
    from radiossl.pretraining.distributed import ProcessGroup
    from radiossl.sky.angles import parse_arcsec
    from radiossl.weights.folder import backbone_name
    from radiossl.weights.importing import load_torchvision
    from radiossl.weights.released import find_backbone

    outs = {name: common.out if len(protocols) == 1 else common.out / name for name in protocols}
    for out in outs.values():
        check_result_folder(out, "radiossl.evaluation")
    radius = parse_arcsec(common.group_radius, "--group-radius")
    loaded = radiossl.load_backbone(common.weights, ProcessGroup().device(common.device))
    backbone = adapt(loaded, common.tta, common.field, common.readout, common.whiten)
    labelled = radiossl.labelled_set(
        common.train,
        common.label,
        test=common.test,
        group=common.group or (),
        grouping=common.grouping,
        where=common.where,
        folds=common.folds,
        seeds=common.seeds,
        seed=common.seed,
        fractions=_numbers("--fractions", common.fractions),
        group_radius_arcsec=radius or None,
        keep_shared=common.keep_shared,
    )
    labelled = without_pretraining(labelled, backbone, common.keep_shared)
    for column in common.by or ():
        binned_values(labelled, column)  # known to be there before hours of training
    others = {}
    if imagenet is not None:
        others["ImageNet weights"] = load_torchvision(imagenet, backbone.config).to(backbone.device)
    settings = ProtocolSettings(**changed, calibrate=common.calibrate, baselines=common.baselines, others=others)
    notes = list(labelled.notes)
    if backbone.config.embedding.whiten is not None and common.baselines:
        notes.append("random weights are read out like the backbone but not whitened; radiossl benchmark whitens both")
    for note in notes:
        typer.echo(f"note: {note}")
    features = SharedFeatures(cache_folder("features"))
    about = {"weights": str(find_backbone(common.weights)), "weights_sha256": backbone.sha256}
    for protocol, out in outs.items():
        kept, keep = out / "trials", common.keep_shared
        result = radiossl.evaluate(backbone, labelled, protocol, settings, kept, features, keep_shared=keep)
        report = write_evaluation(result, out, f"{protocol}: {backbone_name(about['weights'])}", common.by or (), about)
        for line in summary_lines(result):
            typer.echo(line)
        typer.echo(f"{report}: {counted(len(labelled.tested), 'object')}")


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part[:-1]) / 100 if part.endswith("%") else float(part) for part in split_names(text)]
    except ValueError:
        raise RadiosslError(f"{option} {text}: expected numbers such as 1,0.3,0.1") from None


def benchmark(
    weights: Annotated[list[Path], Argument(metavar="WEIGHTS...", help="Backbones: folders or names.")],
    tasks: Annotated[Path, Option(help="YAML file of tasks, beside the cutout stores that it names.")],
    out: Annotated[Path, Option(help="Result folder to write; results of an earlier run are reused.")],
    cache: Annotated[Path | None, Option(help="Keeps features and scores.", show_default="OUT/cache")] = None,
    quick: Annotated[bool, Option("--quick", help="Half of the sources, folds drawn once, no baselines.")] = False,
    seeds: Annotated[int, Option(min=1, help="Number of draws of the folds.")] = 3,
    initialisations: Annotated[int, Option(min=1, help="Number of random weights to average over.")] = 5,
    readout: Readout = None,
    whiten: Whiten = None,
    unlabelled: Annotated[
        list[Path] | None, Option(metavar="STORE", help="Store of training images, to whiten the baselines too.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Measure backbones on hard tasks, against random weights, pixels, moments, an ImageNet network and wavelets.

    Features and scores are kept: an interrupted run resumes, and one more backbone costs only its own time.
    """
    from radiossl.benchmark.report import markdown_table, write_benchmark
    from radiossl.io.results import check_result_folder

    check_result_folder(out, "radiossl.benchmark")

    result = radiossl.run_benchmark(
        weights,
        tasks,
        out / "cache" if cache is None else cache,
        quick=quick,
        seeds=seeds,
        initialisations=initialisations,
        seed=seed,
        readout=readout,
        whiten=whiten,
        unlabelled=unlabelled or [],
        device=device,
    )
    report = write_benchmark(result, out)
    for task, store in result.missing.items():
        typer.echo(f"note: {task} is left out, {store} is not there", err=True)
    typer.echo(markdown_table(result))
    typer.echo(f"{report}: {counted(len(result.scores), 'score')}")
