"""`radiossl rate`: a person's ratings, what they teach about a list, and what to rate next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import Seed, Store
from radiossl.io.errors import counted
from radiossl.io.settings import split_names

app = typer.Typer(no_args_is_help=True, help="Rank a long list by a few ratings, and propose what to rate next.")

Features = Annotated[Path, Argument(help="Feature table from radiossl embed.")]
Scores = Annotated[Path, Option(help="CSV with cutout_id and score, such as anomalies.csv.")]
RatingFiles = Annotated[list[Path] | None, Option(help="CSV with cutout_id and rating (1 to 5); repeatable.")]
Method = Annotated[str, Option(help="linear (Bayesian ridge), gp (Gaussian process) or blend (Astronomaly's).")]
Columns = Annotated[str | None, Option(metavar="A,B", help="Columns to learn from, or none (default: the size).")]


@app.command()
def propose(
    features: Features,
    scores: Scores,
    out: Annotated[Path, Option(help="Folder of the rounds; each call adds one.")],
    ratings: RatingFiles = None,
    number: Annotated[int, Option("-n", "--number", min=1, help="How many to propose.")] = 25,
    method: Method = "linear",
    rule: Annotated[
        str, Option(help="Propose: top (highest scores), ucb (upper bounds), ei (expected gain), uncertain or random.")
    ] = "ucb",
    explore: Annotated[float, Option(min=0, max=1, help="Fraction drawn at random, with any rule.")] = 0.5,
    columns: Columns = None,
    seed: Seed = 0,
    store: Store = None,
) -> None:
    """Propose objects to rate: a CSV to fill in, with a gallery and a report."""
    from radiossl.ratings import rounds

    made = rounds.propose(
        features,
        scores,
        out,
        ratings=ratings or (),
        number=number,
        method=method,
        rule=rule,
        explore=explore,
        columns=_columns(columns),
        seed=seed,
        store=store,
    )
    _say_columns(columns, made.columns)
    done = "fill in its column rating" if made.new else "proposed already; fill in its column rating"
    typer.echo(
        f"{made.path}: {counted(made.proposed, 'object')} to rate, learnt from {counted(made.rated, 'rating')}; {done}"
    )


@app.command()
def rank(
    features: Features,
    scores: Scores,
    ratings: Annotated[list[Path], Option(help="CSV with cutout_id and rating; repeatable.")],
    out: Annotated[Path, Option(help="Result folder to write.")],
    method: Method = "linear",
    columns: Columns = None,
    folds: Annotated[int, Option(min=2, help="Folds of the rated objects for testing the method.")] = 5,
    seed: Seed = 0,
    store: Store = None,
) -> None:
    """Rank the list by the ratings: a table, galleries and a report."""
    from radiossl.ratings import ranking

    made = ranking.rank(
        features, scores, ratings, out, method=method, columns=_columns(columns), folds=folds, seed=seed, store=store
    )
    _say_columns(columns, made.columns)
    unrated = made.table.loc[made.table["rating"].isna(), "cutout_id"]
    best = f", first unrated {unrated.iloc[0]}" if len(unrated) else ""
    typer.echo(f"{made.report}: {counted(len(made.table), 'object')} by {counted(made.rated, 'rating')}{best}")


@app.command()
def add(
    ratings: Annotated[Path, Argument(help="Ratings file to add to; created if there is none.")],
    filled: Annotated[list[Path], Argument(help="Filled-in propose.csv, or other CSV with cutout_id and rating.")],
    who: Annotated[str, Option(help="Who rated, where the file does not say.")] = "",
) -> None:
    """Add the ratings of filled-in proposals to a ratings file."""
    from radiossl.ratings.records import read_ratings

    added = radiossl.add_ratings(ratings, *filled, who=who)
    rated = read_ratings(ratings)["cutout_id"].nunique()
    typer.echo(f"{ratings}: {counted(added, 'rating')} added, {counted(rated, 'object')} rated")


@app.command("import-astronomaly")
def import_astronomaly(
    file: Annotated[Path, Argument(help="Astronomaly's ml_scores.csv.")],
    out: Annotated[Path, Option(help="Ratings file to add to.")],
    scores: Annotated[Path | None, Option(help="CSV to write the starting scores to.")] = None,
) -> None:
    """Add the ratings, and write the scores, of an Astronomaly file."""
    from radiossl.io.csv_cells import write_table
    from radiossl.io.replacing import check_replaceable, csv_sign
    from radiossl.ratings.journal import add_table
    from radiossl.ratings.records import read_astronomaly

    table = read_astronomaly(file)
    if scores is not None:
        check_replaceable(scores, csv_sign(["cutout_id", "score"]), "table of scores", "--scores")
    add_table(out, table.ratings)
    if scores is not None:
        write_table(table.scores, scores)
    raised = f"; {counted(table.raised, 'label')} of 0 became 1, the lowest rating here" if table.raised else ""
    typer.echo(f"{out}: {counted(len(table.ratings), 'rating')} of {counted(len(table.scores), 'object')}{raised}")


@app.command("export-astronomaly")
def export_astronomaly(
    scores: Scores,
    out: Annotated[Path, Option(help="ml_scores.csv to write.")],
    ratings: RatingFiles = None,
    ranked: Annotated[Path | None, Option(help="ranked.csv of radiossl rate rank, for trained_score.")] = None,
) -> None:
    """Write scores and ratings as the ml_scores.csv of Astronomaly."""
    from radiossl.ratings.records import write_astronomaly

    table = write_astronomaly(out, scores, ratings or (), ranked)
    labelled = int((table["human_label"] >= 0).sum())
    typer.echo(f"{out}: {counted(len(table), 'object')}, {labelled} of them labelled")


def _columns(text: str | None) -> list[str] | None:
    return None if text is None else [] if text == "none" else list(split_names(text))


def _say_columns(given: str | None, columns: tuple[str, ...]) -> None:
    if given is None and columns:
        typer.echo(f"learning from {columns[0]} too, the size of the objects (--columns none leaves it out)")
