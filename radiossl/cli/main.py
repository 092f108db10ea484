"""The `radiossl` command: one app, one way to fail."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import radiossl
from radiossl.cli import cutouts, datasets, detect, evaluate, rate, store, table, weights
from radiossl.cli.anomalies import anomalies
from radiossl.cli.benchmark import benchmark
from radiossl.cli.duplicates import duplicates
from radiossl.cli.embed import embed
from radiossl.cli.explore import explore
from radiossl.cli.export import export
from radiossl.cli.index import index
from radiossl.cli.map import feature_map
from radiossl.cli.pretrain import pretrain, views
from radiossl.cli.report import report
from radiossl.cli.search import search
from radiossl.cli.simulate import simulate
from radiossl.cli.verify import verify
from radiossl.io.errors import RadiosslError

app = typer.Typer(
    name="radiossl",
    help="Self-supervised learning for radio images: survey mosaics -> cutouts -> backbone -> features -> discoveries.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(simulate)
app.add_typer(cutouts.app, name="cutouts")
app.add_typer(datasets.app, name="datasets")
app.add_typer(store.app, name="store")
app.command()(views)
app.command()(pretrain)
app.command()(embed)
app.command()(export)
app.add_typer(evaluate.app, name="evaluate")
app.command()(index)
app.command()(search)
app.command()(duplicates)
app.add_typer(rate.app, name="rate")
app.command("map")(feature_map)
app.command()(anomalies)
app.add_typer(detect.app, name="detect")
app.command()(explore)
app.add_typer(table.app, name="table")
app.command()(benchmark)
app.command()(report)
app.add_typer(weights.app, name="weights")
app.command()(verify)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"radiossl {radiossl.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a mistake of the user's ends in one line on standard error and exit status 1.

    So does a refusal of the system's, such as that of a file which may not be read. Ctrl-C ends with status 130 (Typer
    sees to it).
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        app(arguments)
    except (RadiosslError, OSError) as error:
        if "--debug" in arguments:
            raise
        text = str(error)
        if isinstance(error, OSError) and error.filename is not None and error.strerror:
            text = f"{error.filename}: {error.strerror}"
        typer.echo(f"radiossl: error: {' '.join(text.split())}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
