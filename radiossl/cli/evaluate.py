"""`radiossl evaluate`: how good a backbone is on labelled cutouts, and on how few labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from radiossl.cli.adapt import Field, Tta, adapt
from radiossl.io.errors import RadiosslError
from radiossl.io.settings import key_values

if TYPE_CHECKING:
    from radiossl.evaluation.labels import Labels
    from radiossl.evaluation.protocols import Protocol, ProtocolSettings
    from radiossl.store.store import CutoutStore
    from radiossl.weights.backbone import Backbone

app = typer.Typer(no_args_is_help=True, help="Judge a backbone on labelled cutouts.")

Weights = Annotated[Path, typer.Argument(help="Backbone folder.")]
Train = Annotated[Path, typer.Option(help="Labelled cutout store.")]
Label = Annotated[str, typer.Option(help="Column of the labels.")]
Out = Annotated[Path, typer.Option(help="Result folder to write; what is in it of an interrupted run is used.")]
Test = Annotated[Path | None, typer.Option(help="Separate test store; without it, folds of --train.")]
Group = Annotated[list[str] | None, typer.Option(help="NAME=VALUE,VALUE...: values that make up a class.")]
GroupingName = Annotated[str | None, typer.Option(help="The same from a YAML file, or one of the package's.")]
Where = Annotated[str | None, typer.Option(help="Expression over the columns that labelled cutouts must satisfy.")]
Folds = Annotated[int, typer.Option(min=2, help="Stratified folds.")]
Seeds = Annotated[int, typer.Option(min=1, help="How often folds, label fractions and random weights are drawn.")]
Seed = Annotated[int, typer.Option(min=0, help="The first seed.")]
Fractions = Annotated[str, typer.Option(help="Label fractions to learn from, such as 1,0.3,0.1,0.03.")]
By = Annotated[list[str] | None, typer.Option(help="Column against which F1 is drawn; repeatable.")]
Baselines = Annotated[bool, typer.Option(help="Judge the baselines too.")]
Imagenet = Annotated[Path | None, typer.Option(help="torchvision weights of the same ResNet, judged beside it.")]
Shared = Annotated[bool, typer.Option(help="Keep tested sources that stand in the pretraining set too.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
GroupRadius = Annotated[float, typer.Option(min=0, help="Sources linked within this many arcsec share a fold.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Of the training, such as lr=0.0003; repeatable.")
]
Neighbours = Annotated[int, typer.Option("-k", "--k", min=0, help="Neighbours; 0 chooses them by inner folds.")]
Whiten = Annotated[
    int, typer.Option(min=0, help="Neighbours by so many whitened principal components; 0: by the features.")
]
Layer = Annotated[
    bool, typer.Option("--layer", help="A single layer trained with rotations and flips (Riggi et al. 2024).")
]
LayerEpochs = Annotated[int, typer.Option(min=1, help="Of --layer.")]
Strength = Annotated[
    float, typer.Option(min=0, help="Inverse regularisation of the regression; 0 chooses it by inner folds.")
]
Calibrate = Annotated[
    bool, typer.Option("--calibrate", help="Fit a temperature to the probabilities on a fifth of what is learnt from.")
]
SmallCnn = Annotated[bool, typer.Option("--small-cnn", help="Train the three convolutions of Negm 2021 too.")]


@app.command()
def knn(
    weights: Weights,
    train: Train,
    label: Label,
    out: Out,
    test: Test = None,
    group: Group = None,
    grouping: GroupingName = None,
    where: Where = None,
    k: Neighbours = 20,
    whiten: Whiten = 0,
    folds: Folds = 5,
    seeds: Seeds = 5,
    seed: Seed = 0,
    fractions: Fractions = "1",
    by: By = None,
    tta: Tta = None,
    field: Field = None,
    baselines: Baselines = True,
    imagenet: Imagenet = None,
    keep_shared: Shared = False,
    group_radius: GroupRadius = 60.0,
    device: Device = "cpu",
) -> None:
    """Nearest neighbours in feature space, beside majority, raw pixels and random weights."""
    _run(["knn"], locals(), {"k": k or None, "components": whiten or None})


@app.command()
def linear(
    weights: Weights,
    train: Train,
    label: Label,
    out: Out,
    test: Test = None,
    group: Group = None,
    grouping: GroupingName = None,
    where: Where = None,
    layer: Layer = False,
    epochs: LayerEpochs = 30,
    strength: Strength = 0.1,
    folds: Folds = 5,
    seeds: Seeds = 5,
    seed: Seed = 0,
    fractions: Fractions = "1",
    by: By = None,
    tta: Tta = None,
    field: Field = None,
    calibrate: Calibrate = False,
    baselines: Baselines = True,
    imagenet: Imagenet = None,
    keep_shared: Shared = False,
    group_radius: GroupRadius = 60.0,
    device: Device = "cpu",
) -> None:
    """Linear probe on frozen features: a logistic regression, or a single layer."""
    _run(
        ["layer" if layer else "linear"],
        locals(),
        {"strength": strength or None, "epochs": epochs, "calibrate": calibrate},
    )


@app.command()
def frozen(
    weights: Weights,
    train: Train,
    label: Label,
    out: Out,
    test: Test = None,
    group: Group = None,
    grouping: GroupingName = None,
    where: Where = None,
    k: Neighbours = 20,
    whiten: Whiten = 0,
    layer: Annotated[bool, typer.Option("--layer", help="And a single layer, as in linear --layer.")] = False,
    epochs: LayerEpochs = 30,
    strength: Strength = 0.1,
    folds: Folds = 5,
    seeds: Seeds = 5,
    seed: Seed = 0,
    fractions: Fractions = "1",
    by: By = None,
    tta: Tta = None,
    field: Field = None,
    calibrate: Calibrate = False,
    baselines: Baselines = True,
    imagenet: Imagenet = None,
    keep_shared: Shared = False,
    group_radius: GroupRadius = 60.0,
    device: Device = "cpu",
) -> None:
    """Nearest neighbours and linear probe on features made once, in a folder each."""
    # The layer needs the features of every view, of which the others take the average.
    protocols: list[Protocol] = ["layer", "knn", "linear"] if layer else ["knn", "linear"]
    _run(
        protocols,
        locals(),
        {
            "k": k or None,
            "components": whiten or None,
            "strength": strength or None,
            "epochs": epochs,
            "calibrate": calibrate,
        },
    )


@app.command()
def finetune(
    weights: Weights,
    train: Train,
    label: Label,
    out: Out,
    test: Test = None,
    group: Group = None,
    grouping: GroupingName = None,
    where: Where = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the labelled images.")] = 150,
    stages: Annotated[int | None, typer.Option(min=0, help="Train the last stages only; all without it.")] = None,
    settings: Settings = None,
    small_cnn: SmallCnn = False,
    folds: Folds = 5,
    seeds: Seeds = 1,
    seed: Seed = 0,
    fractions: Fractions = "1",
    by: By = None,
    tta: Tta = None,
    field: Field = None,
    calibrate: Calibrate = False,
    baselines: Baselines = True,
    imagenet: Imagenet = None,
    keep_shared: Shared = False,
    group_radius: GroupRadius = 60.0,
    device: Device = "cpu",
) -> None:
    """Train the whole network on the labels, from the backbone and, beside it, from scratch."""
    _run(
        ["finetune"],
        locals(),
        {"small_cnn": small_cnn, "calibrate": calibrate},
        {"epochs": epochs, "stages": stages},
        settings,
    )


@app.command()
def supervised(
    weights: Weights,
    train: Train,
    label: Label,
    out: Out,
    test: Test = None,
    group: Group = None,
    grouping: GroupingName = None,
    where: Where = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the labelled images.")] = 150,
    settings: Settings = None,
    small_cnn: SmallCnn = False,
    folds: Folds = 5,
    seeds: Seeds = 1,
    seed: Seed = 0,
    fractions: Fractions = "1",
    by: By = None,
    tta: Tta = None,
    field: Field = None,
    calibrate: Calibrate = False,
    baselines: Baselines = True,
    keep_shared: Shared = False,
    group_radius: GroupRadius = 60.0,
    device: Device = "cpu",
) -> None:
    """Train the backbone's architecture on the labels from scratch; of the backbone only its preprocessing is used."""
    _run(["supervised"], locals(), {"small_cnn": small_cnn, "calibrate": calibrate}, {"epochs": epochs}, settings)


@app.command()
def sweep(
    recipe: Annotated[str, typer.Option(help="Name of a recipe of one stage, or a YAML file.")],
    data: Annotated[list[Path], typer.Option(help="Cutout store to train on; give it again to join several.")],
    train: Annotated[Path, typer.Option("--labelled", help="Labelled store to judge on.")],
    label: Label,
    out: Annotated[Path, typer.Option(help="Folder of runs and results; what is in it of an earlier call is used.")],
    cuts: Annotated[str, typer.Option(help="Smallest values of --column trained on, such as 0,10,20,30.")],
    column: Annotated[str, typer.Option(help="Column of the training stores that is cut.")] = "las_arcsec",
    group: Group = None,
    grouping: GroupingName = None,
    where: Where = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Neighbours.")] = 20,
    folds: Folds = 5,
    seeds: Seeds = 5,
    seed: Seed = 0,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per optimiser step.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels of what the backbone sees.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; repeatable.")
    ] = None,
    keep_shared: Annotated[bool, typer.Option(help="Train on the sources that are judged, too.")] = False,
    device: Device = "cpu",
) -> None:
    """Pretrain with several cuts and seeds and judge by kNN: figures 3 and 5 of Slijepcevic et al. 2022."""
    from radiossl.evaluation.report import write_sweep
    from radiossl.evaluation.sweep import sweep as run
    from radiossl.pretraining.recipe import read_recipe
    from radiossl.store.store import open_store

    shortcuts = {"schedule.epochs": epochs, "batch_size": batch_size, "preprocessing.size": image_size}
    changes = [*(f"{key}={value}" for key, value in shortcuts.items() if value is not None), *(settings or [])]
    stages = read_recipe(recipe, changes)
    if len(stages) != 1:
        raise RadiosslError(f"--recipe {recipe}: has {len(stages)} stages, a sweep needs one of a single stage")
    store = open_store(train)
    result = run(
        stages[0],
        data,
        (store, _labels(store, {"label": label, "group": group, "grouping": grouping, "where": where})),
        out,
        column=column,
        cuts=_numbers("--cuts", cuts),
        seeds=seeds,
        seed=seed,
        k=k,
        folds=folds,
        device=device,
        exclude=[] if keep_shared else [train],
    )
    report = write_sweep(result, out, column)
    for cut, rows in result.scores.groupby("cut"):
        typer.echo(
            f"{column} >= {cut:g}: {rows['accuracy'].mean():.3f} ({len(rows)} seeds, {rows['cutouts'].iloc[0]} cutouts)"
        )
    typer.echo(f"{report}")


@app.command()
def compare(
    folders: Annotated[list[str], typer.Argument(help="Result folders, or NAME=FOLDER; the first is the reference.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
) -> None:
    """Put evaluations side by side, with the probability that each is better than the first."""
    from radiossl.evaluation.report import compare_evaluations

    named = [text.partition("=")[::2] if "=" in text else (Path(text).name, text) for text in folders]
    typer.echo(f"{compare_evaluations(named, out)}")


def _run(
    protocols: Sequence[Protocol],
    given: dict[str, Any],
    choices: dict[str, Any],
    training: dict[str, Any] | None = None,
    settings: list[str] | None = None,
) -> None:
    """Judge and write, into a folder for each protocol where there are several.

    `given` are the options that all commands share, `choices` become `ProtocolSettings`.
    """
    from radiossl.evaluation.judging import labelled_set
    from radiossl.evaluation.protocols import ProtocolSettings, evaluate
    from radiossl.evaluation.report import binned_values, summary_lines, write_evaluation
    from radiossl.evaluation.shared_features import SharedFeatures
    from radiossl.store.store import open_store
    from radiossl.weights.backbone import load_backbone

    backbone = load_backbone(given["weights"], given["device"])
    backbone = adapt(backbone, given["tta"], given["field"])
    notes: list[str] = []
    store = open_store(given["train"])
    held_out = None
    if given["test"] is None:
        store = _without_shared(store, backbone, given["keep_shared"], notes)
    labels = _labels(store, given)
    if given["test"] is not None:
        test_store = _without_shared(open_store(given["test"]), backbone, given["keep_shared"], notes)
        held_out = (test_store, _labels(test_store, given))
        if not given["keep_shared"]:
            labels = _without_tested(store, labels, held_out, notes)
    labelled = labelled_set(
        store,
        labels,
        test=held_out,
        folds=given["folds"],
        seeds=given["seeds"],
        seed=given["seed"],
        fractions=_numbers("--fractions", given["fractions"]),
        group_radius_arcsec=given["group_radius"] or None,
    )
    columns = given["by"] or []
    for column in columns:
        binned_values(labelled, column)  # known to be there before hours of training
    others = _imagenet(given.get("imagenet"), backbone)
    if training is not None:
        choices |= {"training": _training(protocols[0], training, settings or [])}
    chosen: ProtocolSettings = ProtocolSettings(**choices, baselines=given["baselines"], others=others)
    for note in notes:
        typer.echo(f"note: {note}")
    features = SharedFeatures(labelled.store)
    for protocol in protocols:
        out = given["out"] if len(protocols) == 1 else given["out"] / protocol
        result = evaluate(backbone, labelled, protocol, chosen, out / "trials", features)
        report = write_evaluation(result, out, f"{protocol}: {given['weights']}", columns, notes)
        for line in summary_lines(result):
            typer.echo(line)
        typer.echo(f"{report}: {len(labelled.tested)} objects")


def _labels(store: CutoutStore, given: dict[str, Any]) -> Labels:
    from radiossl.datasets.grouping import read_grouping
    from radiossl.evaluation.labels import Labels, read_labels

    column = given["label"]
    grouping = None if given["grouping"] is None else read_grouping(given["grouping"])
    labels = read_labels(store.column(column), column, given["group"] or [], grouping)
    if given["where"] is None:
        return labels
    keep = store.holds(given["where"])[labels.rows]
    left = Labels(labels.rows[keep], labels.names[keep])
    if len(left.classes) < 2:
        raise RadiosslError(f"--where {given['where']!r}: leaves {len(left.classes)} class, at least two are needed")
    return left


def _without_shared(store: CutoutStore, backbone: Backbone, keep: bool, notes: list[str]) -> CutoutStore:
    """Leave out the cutouts that show a source of the pretraining set, unless told otherwise."""
    from radiossl.evaluation.leakage import shared_with_pretraining

    shared = shared_with_pretraining(backbone, store)
    if shared is None:
        notes.append("the backbone does not say where its training images were: leaks cannot be found")
        return store
    count = int(shared.sum())
    if count and not keep:
        if count == len(store):
            raise RadiosslError(
                "every tested source stands in the pretraining set; give --keep-shared to test on them all the same"
            )
        notes.append(f"{count} of {len(store)} sources stand in the pretraining set and are left out (--keep-shared)")
        return store.select(~shared)
    if count:
        notes.append(f"{count} of {len(store)} tested sources stand in the pretraining set, without their labels")
    return store


def _without_tested(
    store: CutoutStore, labels: Labels, held_out: tuple[CutoutStore, Labels], notes: list[str]
) -> Labels:
    """Leave out the labels of sources that are tested."""
    import numpy as np

    from radiossl.evaluation.labels import Labels
    from radiossl.sky.positions import RADIUS_ARCSEC, match_sky

    sky = [
        (part.column("ra_deg")[rows].astype(float), part.column("dec_deg")[rows].astype(float))
        for part, rows in ((store, labels.rows), (held_out[0], held_out[1].rows))
    ]
    tested = np.unique(match_sky(*sky[0], *sky[1], RADIUS_ARCSEC).a)
    if len(tested) == 0:
        return labels
    notes.append(f"{len(tested)} of {len(labels.rows)} sources to learn from are tested ones and are left out")
    left = Labels(np.delete(labels.rows, tested), np.delete(labels.names, tested))
    if len(left.classes) < 2:
        raise RadiosslError("--test: nearly all sources to learn from are among the tested ones (see --keep-shared)")
    return left


def _numbers(option: str, text: str) -> list[float]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return [float(part[:-1]) / 100 if part.endswith("%") else float(part) for part in parts]
    except ValueError:
        raise RadiosslError(f"{option} {text}: expected numbers such as 1,0.3,0.1") from None


def _imagenet(file: Path | None, backbone: Backbone) -> dict[str, Backbone]:
    if file is None:
        return {}
    from radiossl.weights.formats.torchvision import load_torchvision

    return {"ImageNet weights": load_torchvision(file, backbone.config).to(backbone.device)}


def _training(protocol: Protocol, given: dict[str, Any], settings: list[str]) -> Any:
    from pydantic import ValidationError

    from radiossl.evaluation.training import FINE_TUNING, FROM_SCRATCH, TrainingSettings

    base = FINE_TUNING if protocol == "finetune" else FROM_SCRATCH
    changed: dict[str, Any] = {}
    for key, value in key_values(settings).items():
        section, dot, inner = key.partition(".")
        if section == "augmentation" and dot:
            changed.setdefault("augmentation", base.augmentation.model_dump())[inner] = _value(value)
        else:
            changed[key] = _value(value)
    try:
        return TrainingSettings.model_validate({**base.model_dump(), **given, **changed})
    except ValidationError as error:
        first = error.errors()[0]
        known = ", ".join(TrainingSettings.model_fields)
        raise RadiosslError(f"--set {'.'.join(map(str, first['loc']))}: {first['msg']}; keys are {known}") from None


def _value(text: str) -> Any:
    import yaml

    return yaml.safe_load(text)
