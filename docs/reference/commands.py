"""A mkdocs hook: the reference of commands and of Python names, made from the package when the site is built.

`python docs/reference/commands.py` prints the reference of commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import typer

#: What stands in the pages where the generated text goes.
COMMANDS, NAMES = "<!-- every command -->", "<!-- every other public name -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the places of the generated text; mkdocs calls this for every page."""
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, command_reference())
    if NAMES in markdown:
        markdown = markdown.replace(NAMES, name_reference(markdown))
    return markdown


def command_reference() -> str:
    """Every command with its help, arguments and options, as Markdown."""
    from radiossl.cli.main import app

    root = typer.main.get_command(app)
    return "\n\n".join(_section(f"radiossl {' '.join(path)}".strip(), command) for path, command in _commands(root))


def name_reference(markdown: str = "") -> str:
    """All public names that a page does not have yet, for mkdocstrings."""
    import radiossl

    homes = []
    for name in radiossl.__all__:
        value = getattr(radiossl, name)
        if hasattr(value, "__qualname__"):
            home = f"{value.__module__}.{value.__qualname__}"
            if getattr(import_module(value.__module__), name, None) is value:
                homes.append(home)
    shown = set(re.findall(r"^::: (\S+)$", markdown, re.MULTILINE))
    return "\n\n".join(f"::: {home}" for home in sorted(set(homes) - shown))


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The command with all commands below it, in the order of `--help`."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


def _section(title: str, command: Any) -> str:
    level = "##" if title.count(" ") < 2 else "###"
    parts = [f"{level} `{title}`", _plain(command.help or "")]
    rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        parts.append("| | | default |\n|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts)


def _row(parameter: Any) -> str:
    names = [*parameter.opts, *parameter.secondary_opts]
    if parameter.param_type_name == "argument":
        names = [parameter.metavar or parameter.name.upper()]
    meaning = _plain(getattr(parameter, "help", None) or "").replace("\n", " ").replace("|", "\\|")
    return f"| `{'`, `'.join(names)}` | {meaning} | {_default(parameter)} |"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    shown = getattr(parameter, "show_default", True)
    if isinstance(shown, str):
        return shown
    value = parameter.default
    plain = isinstance(value, (bool, int, float, str)) and value is not False and value != ""
    return f"`{'yes' if value is True else value}`" if plain else ""


def _plain(text: str) -> str:
    """Help text without the marks of the terminal; angle brackets would be taken for HTML."""
    return text.replace("\b", "").replace("<", "&lt;").strip()


if __name__ == "__main__":
    print(command_reference())
