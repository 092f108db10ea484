"""`radiossl table`: a random forest on columns of a catalogue and on features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from radiossl.io.errors import RadiosslError

app = typer.Typer(no_args_is_help=True, help="Random forest on catalogue columns and/or features.")


@app.command()
def train(
    table: Annotated[Path, typer.Argument(help="Parquet, CSV or FITS table; or a feature table.")],
    label: Annotated[str, typer.Option(help="Column of the classes.")],
    out: Annotated[Path, typer.Option(help="Result folder to write.")],
    columns: Annotated[str, typer.Option(help="Columns to learn from, such as u,g,r,i,z.")] = "",
    colours: Annotated[str, typer.Option(help="Differences to learn from, such as u-g,g-r.")] = "",
    resolved: Annotated[str, typer.Option(help="PSF,MODEL magnitudes: their absolute difference is a column.")] = "",
    features: Annotated[bool, typer.Option("--features", help="Learn from the features too.")] = False,
    missing: Annotated[list[float] | None, typer.Option(help="Number that means not measured; repeatable.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="NAME=VALUE,VALUE...: values that make up a class.")] = None,
    grouping: Annotated[str | None, typer.Option(help="The same from a YAML file, or one of the package's.")] = None,
    against: Annotated[list[str] | None, typer.Option(help="Column to draw the scores against; repeatable.")] = None,
    train_fraction: Annotated[float, typer.Option(help="Part of the labelled rows to train on.")] = 0.5,
    group_radius: Annotated[float, typer.Option(min=0, help="Rows within this many arcsec are on one side.")] = 0.0,
    trees: Annotated[int, typer.Option(min=1, help="Number of trees.")] = 200,
    min_leaf: Annotated[int, typer.Option(min=1, help="Least rows in a leaf; more make a smaller forest.")] = 1,
    balanced: Annotated[bool, typer.Option(help="Classes count the same however many rows they have.")] = True,
    compare: Annotated[bool, typer.Option("--compare", help="Features, columns and both, by folds.")] = False,
    folds: Annotated[int, typer.Option(min=2, help="Of --compare.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="Of --compare.")] = 5,
    umap: Annotated[bool, typer.Option("--map", help="Map the tested rows by their columns (UMAP).")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of every random draw.")] = 0,
) -> None:
    """Train on half of the labelled rows, test on the other half, and say where the forest can be trusted."""
    import numpy as np

    from radiossl.datasets.grouping import read_grouping
    from radiossl.evaluation.labels import read_labels
    from radiossl.tables.columns import TableColumns, TableFile, parse_colours, split_names
    from radiossl.tables.prediction import KEPT
    from radiossl.tables.report import class_scores, write_column_map, write_table_result
    from radiossl.tables.training import compare_inputs, position_groups, train_and_test

    file = TableFile(table)
    pair = split_names(resolved)
    if resolved and len(pair) != 2:
        raise RadiosslError(f"--resolved {resolved}: expected two columns, such as psf_r,cmodel_r")
    inputs = TableColumns(
        split_names(columns),
        parse_colours(colours),
        (pair[0], pair[1]) if resolved else None,
        file.feature_dimension() if features else 0,
        tuple(missing or ()),
    )
    kept = [name for name in file.names if name.lower() in KEPT]
    wanted = list(dict.fromkeys([*inputs.needed, label, *(against or ()), *kept]))
    inputs.check(file.names, str(table))
    for name in wanted:
        if name not in file.names:
            raise RadiosslError(f"{table}: no column {name!r}; there are {', '.join(file.names[:40])}")
    whole = file.read(wanted)
    labels = read_labels(
        whole.column(label).to_pandas().to_numpy(), label, group or (), read_grouping(grouping) if grouping else None
    )
    values = inputs.matrix(whole)
    sides = position_groups(whole, group_radius)
    result = train_and_test(
        values,
        labels,
        inputs,
        train_fraction=train_fraction,
        groups=sides,
        trees=trees,
        min_leaf=min_leaf,
        balanced=balanced,
        seed=seed,
    )
    tested = result.predictions.ids
    drawn = {
        name: TableColumns((name,), missing=inputs.missing).matrix(whole)[tested, 0].astype(float)
        for name in against or ()
    }
    if inputs.resolved:
        place = inputs.names.index("|{}-{}|".format(*inputs.resolved))
        drawn[inputs.names[place]] = values[tested, place].astype(float)
    compared = (
        compare_inputs(values, labels, inputs, folds=folds, seeds=seeds, seed=seed, groups=sides) if compare else None
    )
    frame = whole.select(kept).to_pandas().iloc[np.asarray(tested)]
    report = write_table_result(result, out, drawn, frame, compared)
    if umap:
        write_column_map(result, values[tested], frame, out / "map", seed)
    for row in class_scores(result.predictions).itertuples():
        typer.echo(f"{row[1]:12s} F1 {row.f1:.3f} ({row.f1_low:.3f} to {row.f1_high:.3f}), {row.rows} rows")
    if compared is not None:
        means = compared.groupby(["inputs", "model"], sort=False)[["accuracy", "macro_roc_auc"]].agg(["mean", "std"])
        for (name, model), scores in means.iterrows():
            accuracy, area = scores["accuracy"], scores["macro_roc_auc"]
            typer.echo(
                f"{name:9s} {model:9s} accuracy {accuracy['mean']:.3f} ± {accuracy['std']:.3f},"
                f" ROC area {area['mean']:.3f} ± {area['std']:.3f}"
            )
    typer.echo(f"{report}: trained on {result.forest.about['training_rows']} rows, tested on {len(tested)}")


@app.command()
def predict(
    forest: Annotated[Path, typer.Argument(help="forest.safetensors from radiossl table train, or its folder.")],
    table: Annotated[Path, typer.Argument(help="Parquet, CSV or FITS table of any length.")],
    out: Annotated[Path, typer.Option(help="Parquet, CSV or FITS file to write; goes on where it was interrupted.")],
    keep: Annotated[str, typer.Option(help="Columns to copy; without any, ids and positions.")] = "",
) -> None:
    """Class probabilities of every row."""
    from radiossl.tables.columns import split_names
    from radiossl.tables.forest import Forest
    from radiossl.tables.prediction import predict_table
    from radiossl.tables.report import FOREST_FILE

    loaded = Forest.load(forest / FOREST_FILE if forest.is_dir() else forest)
    counts = predict_table(loaded, table, out, split_names(keep))
    shown = ", ".join(
        f"{number:,} {name or 'of no class, nothing measured'}" for name, number in counts.items() if name or number
    )
    typer.echo(f"{out}: {sum(counts.values()):,} rows: {shown}")
