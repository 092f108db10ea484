"""`radiossl table`: a random forest on columns of a catalogue and on features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import Group, GroupingName, Seed
from radiossl.io.errors import RadiosslError, counted
from radiossl.io.settings import split_names

app = typer.Typer(no_args_is_help=True, help="Random forest on catalogue columns and/or features.")


@app.command()
def train(
    table: Annotated[Path, Argument(help="Parquet, CSV or FITS table; or a feature table.")],
    label: Annotated[str, Option(metavar="COLUMN", help="Column with the classes.")],
    out: Annotated[Path, Option(help="Result folder to write.")],
    columns: Annotated[str, Option(help="Columns to learn from, such as u,g,r,i,z.")] = "",
    colours: Annotated[str, Option(help="Differences of columns to learn from, such as u-g,g-r.")] = "",
    resolved: Annotated[str, Option(help="Two columns PSF,MODEL: learn from the size of their difference.")] = "",
    features: Annotated[bool, Option("--features", help="Learn from the features, too.")] = False,
    missing: Annotated[list[float] | None, Option(help='Number for "not measured", e.g. -9999; repeatable.')] = None,
    group: Group = None,
    grouping: GroupingName = None,
    by: Annotated[list[str] | None, Option(help="Column to draw the scores against; repeatable.")] = None,
    folds: Annotated[int, Option(min=2, help="Number of stratified folds for testing.")] = 5,
    group_radius: Annotated[str, Option(help="Rows this close on the sky share a fold (0: no grouping).")] = "0arcsec",
    trees: Annotated[int, Option(min=1, help="Number of trees.")] = 200,
    min_leaf: Annotated[int, Option(min=1, help="Fewest rows in a leaf of a tree; more make a smaller forest.")] = 1,
    balanced: Annotated[bool, Option(help="Give all classes the same total weight.")] = True,
    coverage: Annotated[float, Option(help="Prediction sets are right for this fraction of each class.")] = 0.9,
    compare: Annotated[bool, Option("--compare", help="Compare features, columns and both by folds.")] = False,
    seeds: Annotated[int, Option(min=1, help="How many times --compare draws the folds.")] = 5,
    umap: Annotated[bool, Option("--map", help="Map the labelled rows by their columns (UMAP).")] = False,
    seed: Seed = 0,
) -> None:
    """Test a forest with folds, show where it can be trusted, and train it on all labelled rows."""
    from radiossl.sky.angles import parse_arcsec
    from radiossl.tables.columns import parse_colours
    from radiossl.tables.report import class_scores, column_table

    pair = split_names(resolved)
    if resolved and len(pair) != 2:
        raise RadiosslError(f"--resolved {resolved}: expected two columns, such as psf_r,cmodel_r")
    trained = radiossl.train_forest(
        table,
        label,
        out,
        columns=split_names(columns),
        colours=parse_colours(colours),
        resolved=(pair[0], pair[1]) if resolved else None,
        features=features,
        missing=missing or (),
        group=group or (),
        grouping=grouping,
        by=by or (),
        folds=folds,
        group_radius_arcsec=parse_arcsec(group_radius, "--group-radius"),
        trees=trees,
        min_leaf=min_leaf,
        balanced=balanced,
        coverage=coverage,
        compare=compare,
        seeds=seeds,
        seed=seed,
    )
    if umap:
        from radiossl.maps.report import write_map

        rows = column_table(trained.result, trained.values, trained.kept)
        write_map(radiossl.make_map(rows, seed=seed), rows, out / "map", ["label", "predicted", "probability"])
    for row in class_scores(trained.result.predictions).itertuples():
        typer.echo(f"{row[1]:12s} F1 {row.f1:.3f} ({row.f1_low:.3f} to {row.f1_high:.3f}), {counted(row.rows, 'row')}")
    if trained.comparison is not None:
        scores_of = trained.comparison.groupby(["inputs", "model"], sort=False)[["accuracy", "macro_roc_auc"]]
        for (name, model), scores in scores_of.agg(["mean", "std"]).iterrows():
            accuracy, area = (
                f"{scores[one]['mean']:.3f} ± {scores[one]['std']:.3f}" for one in ("accuracy", "macro_roc_auc")
            )
            typer.echo(f"{name:9s} {model:9s} accuracy {accuracy}, ROC area {area}")
    number = len(trained.result.predictions)
    typer.echo(
        f"{trained.report}: tested on {counted(number, 'row')} by {counted(folds, 'fold')}, then trained on all of them"
    )


@app.command()
def predict(
    forest: Annotated[Path, Argument(help="forest.safetensors from radiossl table train, or its folder.")],
    table: Annotated[Path, Argument(help="Parquet, CSV or FITS table of any length.")],
    out: Annotated[Path, Option(help="Parquet, CSV or FITS file to write; goes on where it was interrupted.")],
    keep: Annotated[str, Option(help="Columns to copy; without any, ids and positions.")] = "",
) -> None:
    """Class probabilities, prediction sets and an out-of-distribution score of every row."""
    from radiossl.tables.forest import Forest
    from radiossl.tables.report import FOREST_FILE

    loaded = Forest.load(forest / FOREST_FILE if forest.is_dir() else forest)
    counts = radiossl.predict_table(loaded, table, out, split_names(keep))
    shown = [
        f"{number:,} {name or 'of no class, nothing measured'}" for name, number in counts.items() if name or number
    ]
    typer.echo(f"{out}: {counted(sum(counts.values()), 'row')}: {', '.join(shown)}")
