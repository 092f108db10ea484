"""`radiossl rate`: a person's ratings, what they make of a list, and what to rate next."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radiossl.cli.pixels import Store, pixel_store

if TYPE_CHECKING:
    from radiossl.features.table import FeatureTable
    from radiossl.ratings.report import Pixels

app = typer.Typer(
    no_args_is_help=True, help="Ratings: rank a long list by a few of them, and propose what to rate next."
)

Features = Annotated[Path, typer.Argument(help="Feature table from radiossl embed.")]
Scores = Annotated[Path, typer.Option(help="CSV with cutout_id and score, such as anomalies.csv.")]
RatingFiles = Annotated[
    list[Path] | None,
    typer.Option(help="CSV with cutout_id and rating (1 dull to 5 remarkable); may be repeated, the last one counts."),
]
Method = Annotated[str, typer.Option(help="linear (Bayesian ridge), gp (Gaussian process) or blend (Astronomaly's).")]
Columns = Annotated[
    list[str] | None, typer.Option(help="Column to learn from besides the features, as size_pixels; may be repeated.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random.")]


@app.callback()
def _rate() -> None:
    """Ratings: rank a long list by a few of them, and propose what to rate next."""


@app.command()
def propose(
    features: Features,
    scores: Scores,
    out: Annotated[Path, typer.Option(help="Folder of the rounds; each call adds one.")],
    ratings: RatingFiles = None,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many to propose.")] = 25,
    method: Method = "linear",
    rule: Annotated[
        str, typer.Option(help="What to ask for: top (highest scores), ucb, ei, uncertain or random.")
    ] = "ucb",
    explore: Annotated[
        float, typer.Option(min=0, max=1, help="Share that is drawn at random whatever the rule.")
    ] = 0.5,
    columns: Columns = None,
    seed: Seed = 0,
    store: Store = None,
) -> None:
    """Propose objects to rate: a CSV to fill in, with a gallery and a report."""
    from radiossl.features.table import FeatureTable
    from radiossl.ratings.active_learning import learn, rated_rows, rating_space
    from radiossl.ratings.active_learning import propose as choose
    from radiossl.ratings.records import last_ratings, read_ratings, read_scores
    from radiossl.ratings.report import Settings, write_round

    table = FeatureTable.read(features)
    known = read_ratings(*(ratings or ()))
    rated, values = rated_rows(table, last_ratings(known))
    starting = read_scores(scores, table.column("cutout_id"))
    opinion = None
    if len(rated):
        opinion = learn(rating_space(table, columns or ()), rated, values, starting, method=method, seed=seed)
    proposal = choose(opinion, starting, rated, values, number, rule=rule, explore=explore, seed=seed)
    sha256 = table.metadata.get("weights_sha256", "")
    settings = Settings(str(features), str(scores), sha256, method, rule, explore, tuple(columns or ()), seed, number)
    file = write_round(out, table, opinion, starting, proposal, known, settings, _pixels(table, store))
    typer.echo(
        f"{file}: {len(proposal.rows)} objects to rate, learnt from {len(rated)} ratings; fill in its column rating"
    )


@app.command()
def rank(
    features: Features,
    scores: Scores,
    ratings: Annotated[list[Path], typer.Option(help="CSV with cutout_id and rating; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Result folder to write.")],
    method: Method = "linear",
    columns: Columns = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the rated objects that judge the method.")] = 5,
    seed: Seed = 0,
    store: Store = None,
) -> None:
    """Rank the list by the ratings: a table, galleries and a report."""
    from radiossl.features.table import FeatureTable
    from radiossl.ratings.active_learning import learn, rated_rows, rating_space
    from radiossl.ratings.quality import crossvalidated_quality
    from radiossl.ratings.records import last_ratings, read_ratings, read_scores
    from radiossl.ratings.report import ranked_table, write_ranking

    table = FeatureTable.read(features)
    rated, values = rated_rows(table, last_ratings(read_ratings(*ratings)))
    starting = read_scores(scores, table.column("cutout_id"))
    space = rating_space(table, columns or ())
    opinion = learn(space, rated, values, starting, method=method, seed=seed)
    quality = {}
    notes = [f"{len(table)} objects, {len(rated)} of them rated; method {method}, seed {seed}."]
    if len(rated) >= 2 * folds:
        quality = crossvalidated_quality(space, rated, values, starting, method=method, folds=folds, seed=seed)
        notes.append(
            f"In {folds} folds of the rated objects, the expected rating puts an object rated 4 or more above one rated"
            f" less with probability {quality['auc']:.2f}; the starting score does so with probability"
            f" {quality['starting_auc']:.2f}. Rated objects are no fair sample of the list unless drawn at random."
        )
    metrics = {
        "objects": len(table),
        "rated": len(rated),
        **{f"rated[{rating}]": int((values == rating).sum()) for rating in range(1, 6)},
        "method": method,
        "columns": list(columns or ()),
        "seed": seed,
        "folds": folds,
        **{f"crossvalidated_{name}": value for name, value in quality.items()},
    }
    ranked = ranked_table(table, opinion, starting, rated, values)
    report = write_ranking(out, ranked, metrics, notes, _pixels(table, store))
    first = ranked[ranked["rating"].isna()].head(1)
    best = f", first unrated {first.cutout_id.iloc[0]}" if len(first) else ""
    typer.echo(f"{report}: {len(table)} objects by {len(rated)} ratings{best}")


@app.command()
def add(
    ratings: Annotated[Path, typer.Argument(help="Ratings file to add to; made if there is none.")],
    filled: Annotated[list[Path], typer.Argument(help="Filled propose.csv, or other CSV with cutout_id and rating.")],
    who: Annotated[str, typer.Option(help="Whose ratings these are, where the file does not say.")] = "",
) -> None:
    """Add the ratings of filled proposals to a ratings file."""
    import pandas as pd

    from radiossl.ratings.records import read_ratings
    from radiossl.report.results import write_table

    new = read_ratings(*filled)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    new = new.assign(who=new["who"].replace("", who), when=new["when"].replace("", when))
    old = read_ratings(ratings) if ratings.exists() else new.head(0)
    # A file that is given twice must not overrule what was said in between.
    same = ["cutout_id", "rating", "who", "round"]
    new = new[~pd.MultiIndex.from_frame(new[same]).isin(pd.MultiIndex.from_frame(old[same]))]
    everything = pd.concat([old, new], ignore_index=True)
    write_table(everything, ratings)
    typer.echo(f"{ratings}: {len(new)} ratings added, {everything['cutout_id'].nunique()} objects rated")


@app.command("import-astronomaly")
def import_astronomaly(
    file: Annotated[Path, typer.Argument(help="Astronomaly's ml_scores.csv.")],
    out: Annotated[Path, typer.Option(help="Ratings file to write.")],
    scores: Annotated[Path | None, typer.Option(help="Starting scores to write too, as CSV.")] = None,
) -> None:
    """Take ratings, and if asked scores, over from Astronomaly."""
    from radiossl.ratings.records import read_astronomaly
    from radiossl.report.results import write_table

    table = read_astronomaly(file)
    write_table(table.ratings, out)
    if scores is not None:
        write_table(table.scores, scores)
    raised = f"; {table.raised} labels of 0 became 1, the lowest rating here" if table.raised else ""
    typer.echo(f"{out}: {len(table.ratings)} ratings of {len(table.scores)} objects{raised}")


@app.command("export-astronomaly")
def export_astronomaly(
    scores: Scores,
    out: Annotated[Path, typer.Option(help="ml_scores.csv to write.")],
    ratings: RatingFiles = None,
    ranked: Annotated[Path | None, typer.Option(help="ranked.csv of radiossl rate rank, for trained_score.")] = None,
) -> None:
    """Write scores and ratings as the ml_scores.csv of Astronomaly."""
    from radiossl.io.files import atomic_file
    from radiossl.ratings.records import astronomaly_table, last_ratings, read_all_scores, read_ratings, read_scores

    starting = read_all_scores(scores)
    ids = starting.index.to_numpy()
    trained = None if ranked is None else read_scores(ranked, ids)
    table = astronomaly_table(ids, starting.to_numpy(), last_ratings(read_ratings(*(ratings or ()))), trained)
    with atomic_file(out) as temporary:
        table.to_csv(temporary)
    labelled = int((table["human_label"] >= 0).sum())
    typer.echo(f"{out}: {len(table)} objects, {labelled} of them labelled")


def _pixels(table: FeatureTable, store: list[Path] | None) -> Pixels:
    from radiossl.ratings.report import Pixels

    field_px = table.metadata.get("preprocessing", {}).get("field_px")
    return Pixels(pixel_store(table.metadata, store), field_px)
