"""Settings: YAML that is safe to read, and `--set KEY=VALUE` for any pydantic schema, with errors that name the key."""

from __future__ import annotations

import difflib
import os
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from radiossl.io.errors import RadiosslError, reason_of
from radiossl.io.files import existing_file, one_or_more

if TYPE_CHECKING:  # imported where they are needed: every command line reads this file
    import yaml
    from pydantic import BaseModel, ValidationError

Schema = TypeVar("Schema", bound="BaseModel")

#: What a settings file may hold, references counted each time that they are followed.
_MOST_CHARACTERS, _MOST_NODES, _DEEPEST = 2**20, 20_000, 32


def apply_settings(
    schema: type[Schema],
    base: Schema | Mapping[str, Any] | None = None,
    changes: Sequence[str] | None = None,
    option: str = "--set",
    source: str = "",
) -> Schema:
    """Return `base` with changes such as ``optimizer.lr=0.1``, checked against a schema.

    The schema must forbid extra keys. `base` may be a nested dictionary that is not complete; without it the defaults
    are changed. Keys of inner sections are joined by dots, values are YAML (text where the schema wants text). Raises
    `RadiosslError` if a key is unknown (the message says what was probably meant) or a value is not what the schema
    expects; the message names the `option` that the changes come from, and the file that is the `source` of `base`.

    Examples
    --------
    >>> from pydantic import ConfigDict, create_model
    >>> strict = ConfigDict(extra="forbid")
    >>> Optimizer = create_model("Optimizer", __config__=strict, lr=(float, 0.1))
    >>> Training = create_model("Training", __config__=strict, optimizer=(Optimizer, Optimizer()))
    >>> apply_settings(Training, changes=["optimizer.lr=1e-3"]).optimizer.lr
    0.001
    >>> apply_settings(Training, changes=["lr=1e-3"])
    Traceback (most recent call last):
        ...
    radiossl.io.errors.RadiosslError: --set lr=1e-3: unknown key 'lr'; did you mean 'optimizer.lr'?
    """
    from pydantic import BaseModel, ValidationError

    settings: dict[str, Any] = base.model_dump() if isinstance(base, BaseModel) else dict(base or {})
    texts = key_values(changes, option)
    for key, text in texts.items():
        settings = _changed(settings, key, _value(text), option)
    try:
        try:
            return schema.model_validate(settings)
        except ValidationError as error:  # `name=1` and `where="FRI" == label` are text where text is wanted
            wanted = {_joined(one["loc"]) for one in error.errors() if one["type"] == "string_type"} & texts.keys()
            for key in wanted:
                settings = _changed(settings, key, texts[key], option)
            return schema.model_validate(settings)
    except (ValidationError, RecursionError) as error:
        raise RadiosslError(_first_problem(schema, error, texts, option, source)) from None


def key_values(texts: Sequence[str] | None, option: str = "--set", form: str = "KEY=VALUE") -> dict[str, str]:
    """Split the values of an option at their first equals sign; raise `RadiosslError` if one has no key or no sign."""
    found = {}
    for text in one_or_more(texts or ()):
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise RadiosslError(f"{option} {_clipped(text)}: expected {form}")
        found[key.strip()] = value
    return found


def validated(schema: type[Schema], content: Any, source: str) -> Schema:
    """Return what a file holds as its schema has it; raise `RadiosslError` with the first problem after `source`."""
    from pydantic import ValidationError

    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise RadiosslError(f"{source}: {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """Return the first problem that a schema reports: the key, and what is wrong with it."""
    first = error.errors()[0]
    return f"{_joined(first['loc'])}: {first['msg']}"


def split_names(text: str) -> tuple[str, ...]:
    """Split names at commas, without the space around them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """Read a YAML file of settings; raise `RadiosslError` if it is missing, damaged or far too large."""
    with existing_file(path).open(encoding="utf-8", errors="replace") as file:
        return parse_yaml(file.read(_MOST_CHARACTERS + 1), str(path))


def parse_yaml(text: str, source: str) -> Any:
    """Return what YAML says: plain values only, no key twice, no self-reference, no more than a person would write.

    Raises `RadiosslError` if it cannot be read; the message begins with `source`.
    """
    import yaml

    if len(text) > _MOST_CHARACTERS:
        raise RadiosslError(f"{source}: more than {_MOST_CHARACTERS:,} characters; a file of settings was expected")
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            _check_size(node, 0, [0])
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError) as error:
        # Besides YAML's own: dates that do not exist, numbers of thousands of digits, depth, sections as keys.
        reason = "too deeply nested" if isinstance(error, RecursionError) else reason_of(error)
        raise RadiosslError(f"{source}: not valid YAML ({_clipped(reason, 200)})") from None


def _check_size(node: yaml.Node | None, depth: int, seen: list[int]) -> None:
    """Count nodes, with references as often as they are followed; what refers to itself is infinitely deep.

    Of a key that occurs twice YAML's reader would take the last value without a word.
    """
    from yaml import CollectionNode, MappingNode, ScalarNode

    seen[0] += 1
    if depth > _DEEPEST or seen[0] > _MOST_NODES:
        raise ValueError("it refers to itself, or is larger or deeper than settings are")
    if isinstance(node, ScalarNode) and node.tag.endswith((":int", ":float")) and len(node.value) > 100:
        raise ValueError("a number of more than 100 digits")
    if isinstance(node, MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, ScalarNode) and not key.tag.endswith(":merge")]
        if twice := next((key for number, key in enumerate(keys) if key in keys[:number]), None):
            raise ValueError(f"the key {twice!r} occurs twice in one section")
    for inner in node.value if isinstance(node, CollectionNode) else ():
        for one in inner if isinstance(inner, tuple) else (inner,):
            _check_size(one, depth + 1, seen)


def _value(text: str) -> Any:
    """Return a value of the command line; text that is no YAML stays text, which the schema accepts or refuses."""
    try:
        return parse_yaml(text, "value")
    except RadiosslError:
        return text


def _changed(settings: Mapping[str, Any], key: str, value: Any, option: str) -> dict[str, Any]:
    """Return a copy of nested mappings with the value of ``a.b`` changed."""
    head, dot, rest = key.partition(".")
    if not dot:
        return {**settings, head: value}
    inner = settings.get(head, {})
    inner = inner.model_dump() if hasattr(inner, "model_dump") else inner
    if not isinstance(inner, Mapping):
        raise RadiosslError(f"{option} {_clipped(f'{key}={value}')}: {_clipped(head)} is not a section")
    return {**settings, head: _changed(inner, rest, value, option)}


def _first_problem(
    schema: type[BaseModel], error: ValidationError | RecursionError, texts: Mapping[str, str], option: str, source: str
) -> str:
    """Describe the first problem in one line: where it comes from, the key, and what was probably meant."""
    if isinstance(error, RecursionError):
        return f"{source or option}: too deeply nested"
    first = error.errors(include_url=False)[0]
    key = _joined(first["loc"])
    asked = next((text for text in texts if f"{key}.".startswith(f"{text}.") or f"{text}.".startswith(f"{key}.")), None)
    if asked is not None and key:
        begin = f"{option} {_clipped(f'{asked}={texts[asked]}')}: "
    else:
        begin = f"{source}: " if source else f"{option}: " if texts else ""
    if first["type"] == "extra_forbidden":
        return f"{begin}unknown key {_clipped(key)!r}; {_meant(schema, key)}"
    if asked is not None and asked.startswith(f"{key}.") and first["type"] != "value_error":
        return f"{begin}{_clipped(key)} is not a section"
    if first["type"] == "missing":
        return f"{begin}key {key!r} is missing"
    message = str(first["msg"]).removeprefix("Value error, ").replace("Input should be", "should be", 1)
    if not key or (isinstance(first["input"], (Mapping, list)) and first["type"] == "value_error"):
        return begin + message
    try:
        got = reprlib.repr(first["input"])
    except ValueError:  # a whole number of more digits than Python prints
        got = "a number of thousands of digits"
    return f"{begin}{key}: {message} (got {_clipped(got)})"


def _meant(schema: type[BaseModel], key: str) -> str:
    known = list(_keys(schema))
    section, _, name = key.rpartition(".")
    beside = [other for other in known if other.rpartition(".")[0] == section]
    elsewhere = [other for other in known if other.rpartition(".")[2] == name]
    close = difflib.get_close_matches(key, beside, n=1) or elsewhere or difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"keys are {', '.join(beside or known)}"


def _keys(schema: type[BaseModel], before: str = "") -> Iterator[str]:
    """Yield all keys of a schema and of its sections, joined by dots."""
    from pydantic import BaseModel

    for name, field in schema.model_fields.items():
        yield before + name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _keys(kind, f"{before}{name}.")


def _joined(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))


def _clipped(text: str, length: int = 80) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"
