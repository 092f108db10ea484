"""The command line: one Typer app, every command a few lines over the package."""
