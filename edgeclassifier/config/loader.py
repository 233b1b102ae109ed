"""Read TOML files into the configuration, collecting every problem before giving up."""

import dataclasses
import difflib
import re
import tomllib
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from edgeclassifier.config.contradictions import contradictions
from edgeclassifier.config.options import ControlValue, finite, is_path, topic_id
from edgeclassifier.config.render import quoted, quoted_key
from edgeclassifier.config.schema import Config
from edgeclassifier.errors import ConfigError
from edgeclassifier.host.files import open_regular
from edgeclassifier.host.terminal import one_line

_DROP_INS = "conf.d"

_LARGEST_FILE_BYTES = 1 << 20
_LONGEST_SHOWN = 60
_INTEGERS = range(-(2**63), 2**63)
"""Those of TOML. Python would take any hexadecimal number, and may refuse to print it."""

T = TypeVar("T")


def load_config(path: Path | None, *, overrides: Sequence[str] = ()) -> Config:
    """Read `path`, then the drop-ins `conf.d/*.toml` beside it in sorted order, then `overrides`.

    Later ones win. An override is `table.key=value`, the value in TOML or, for a string, without
    its quotes. Without a path the defaults stand. Raises ConfigError with every problem of all.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    for file in config_files(path):
        try:
            table = tomllib.loads(_read_text(file))
        except _UnreadableError as error:
            problems.append(str(error))
        except ValueError as error:
            # Mostly TOMLDecodeError; a number of thousands of digits is a bare ValueError.
            problems.append(f"{file}: not valid TOML: {error}")
        except RecursionError:
            problems.append(f"{file}: not a configuration: tables or lists lie too deep in it")
        else:
            reader = _Table(Config, source=str(file), folder=file.parent, problems=problems)
            _merge(values, reader.read(table))
    reader = _Table(Config, source="--set", folder=Path(), problems=problems)
    for override in overrides:
        try:
            _merge(values, reader.read(_parse_override(override)))
        except _UnreadableError as error:
            problems.append(str(error))
        except RecursionError:
            problems.append(f"--set {_shortened(override)}: tables or lists lie too deep in it")
    config = _build(Config, values)
    if not problems:
        source = "the defaults" if path is None else path
        problems += [f"{source}: {problem}" for problem in contradictions(config)]
    if problems:
        raise ConfigError(problems)
    return config


def config_files(path: Path | None) -> list[Path]:
    """List the files that are read for `path`, later ones winning."""
    if path is None:
        return []
    # Hidden ones are what editors leave beside the file that they have open.
    drop_ins = (file for file in path.parent.glob(f"{_DROP_INS}/*.toml") if file.name[0] != ".")
    return [path, *sorted(drop_ins)]


def _parse_override(override: str) -> Mapping[str, Any]:
    key, separator, value = override.partition("=")
    key = key.strip()
    if not separator or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key, re.ASCII):
        raise _UnreadableError(f"--set {_shortened(override)}: expected TABLE.KEY=VALUE")
    try:
        return tomllib.loads(f"{key} = {value}")
    except ValueError:
        return tomllib.loads(f"{key} = {quoted(value)}")


class _UnreadableError(Exception):
    pass


def _read_text(file: Path) -> str:
    try:
        with open_regular(file) as opened:
            content = opened.read(_LARGEST_FILE_BYTES + 1)
        if len(content) > _LARGEST_FILE_BYTES:
            raise _UnreadableError(f"{file}: too large for a configuration: is it one?")
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise _UnreadableError(f"{file}: no such file") from None
    except PermissionError:
        raise _UnreadableError(
            f"{file}: cannot be read by this user: use sudo, or another file with --config"
        ) from None
    except OSError as error:
        raise _UnreadableError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise _UnreadableError(f"{file}: not UTF-8 text (byte {error.start})") from None


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, _Values) and isinstance(into.get(key), _Values):
            _merge(into[key], value)
        else:
            into[key] = value


class _Values(dict[str, Any]):
    """The keys that were given for one table, as opposed to a value that is a table."""


def _build(schema: type[T], values: Mapping[str, Any]) -> T:
    hints = typing.get_type_hints(schema)
    built = dict(values)
    for key, value in values.items():
        kind = hints[key]
        if isinstance(value, _Values) and dataclasses.is_dataclass(kind):
            built[key] = _build(typing.cast("type[Any]", kind), value)
        elif isinstance(value, _Values):
            _, kind = typing.get_args(kind)
            built[key] = {name: _build(kind, table) for name, table in value.items()}
    return schema(**built)


class _Table:
    """Checks the tables of one source against the dataclasses that describe them."""

    def __init__(
        self, schema: type[Any], *, source: str, folder: Path, problems: list[str]
    ) -> None:
        self._schema = schema
        self._source = source
        self._folder = folder
        self._problems = problems

    def read(self, table: Mapping[str, Any]) -> _Values:
        return self._read(self._schema, table, prefix="")

    def _read(self, schema: type[Any], table: Mapping[str, Any], *, prefix: str) -> _Values:
        hints = typing.get_type_hints(schema)
        fields = {field.name: field for field in dataclasses.fields(schema)}
        values = _Values()
        for key, value in table.items():
            name = prefix + _shortened(quoted_key(key))
            if key not in fields:
                self._unknown(name, key, list(fields))
            elif kind := fields[key].metadata.get("tables"):
                self._tables(kind, name, value, values.setdefault(key, _Values()))
            elif dataclasses.is_dataclass(hints[key]):
                if isinstance(value, dict):
                    kind = typing.cast("type[Any]", hints[key])
                    values[key] = self._read(kind, value, prefix=f"{name}.")
                else:
                    self._wrong(name, value, f"a table, [{name}]")
            else:
                self._option(fields[key], name, value, hints[key], values)
        return values

    def _tables(self, kind: type[Any], prefix: str, value: Any, values: _Values) -> None:
        if not isinstance(value, dict):
            self._wrong(prefix, value, f"tables, [{prefix}.NAME]")
            return
        for key, table in value.items():
            name = f"{prefix}.{_shortened(quoted_key(key))}"
            if expected := topic_id(key):
                self._problems.append(f"{self._source}: {name}: expected as its name {expected}")
            elif not isinstance(table, dict):
                self._wrong(name, table, f"a table, [{name}]")
            else:
                values[key] = self._read(kind, table, prefix=f"{name}.")

    def _option(
        self, field: dataclasses.Field[Any], name: str, value: Any, hint: Any, values: _Values
    ) -> None:
        converted, expected = _convert(value, hint)
        if expected is None:
            checks = field.metadata["checks"]
            expected = next((said for check in checks if (said := check(converted))), None)
        if expected is not None:
            self._wrong(name, value, expected)
            return
        if isinstance(converted, str) and is_path(field, converted):
            try:
                path = str(self._folder / Path(converted).expanduser())
                # Path drops "./", which tells a model's file from a name.
                converted = path if "/" in path or "/" not in converted else f"./{path}"
            except RuntimeError:
                self._wrong(name, value, "a file name: there is no such user's home")
                return
        values[field.name] = converted

    def _unknown(self, name: str, key: str, known: Sequence[str]) -> None:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
        self._problems.append(f"{self._source}: {name}: unknown key, {hint}")

    def _wrong(self, name: str, value: Any, expected: str) -> None:
        self._problems.append(f"{self._source}: {name} = {_as_toml(value)}: expected {expected}")


_WORDS: Mapping[type[Any], str] = {
    str: "a string in quotes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


def _convert(value: Any, hint: Any) -> tuple[Any, str | None]:
    """Return `value` as the type `hint`, or what would have been expected."""
    if type(None) in (kinds := typing.get_args(hint)):
        return _convert(value, next(kind for kind in kinds if kind is not type(None)))
    if hint in _COLLECTIONS:
        kind, convert, expected = _COLLECTIONS[hint]
        converted = convert(value) if isinstance(value, kind) else None
        return converted, expected if converted is None else None
    if hint == float | str:
        return _convert(value, str if isinstance(value, str) else float)
    if hint is float and _is_number(value):
        return float(value), None
    if type(value) is not hint or hint is float or (hint is int and value not in _INTEGERS):
        return None, _WORDS[hint]
    if hint is str and "\0" in value:
        return None, "a string without NUL"
    return value, None


def _numbers(values: list[Any]) -> tuple[float, ...] | None:
    return tuple(float(x) for x in values) if all(map(_is_number, values)) else None


def _strings(values: list[Any]) -> tuple[str, ...] | None:
    return tuple(values) if all(isinstance(x, str) for x in values) else None


def _number_table(table: dict[str, Any]) -> dict[str, float] | None:
    fits = all(map(_is_number, table.values()))
    return {key: float(x) for key, x in table.items()} if fits else None


def _string_table(table: dict[str, Any]) -> dict[str, str] | None:
    fits = all(isinstance(x, str) and "\0" not in key + x for key, x in table.items())
    return dict(table) if fits else None


def _control_table(table: dict[str, Any]) -> dict[str, ControlValue] | None:
    converted = {key: each for key, x in table.items() if (each := _control(x)) is not None}
    return converted if len(converted) == len(table) else None


def _control(value: Any) -> ControlValue | None:
    if isinstance(value, list):
        return tuple(value) if all(map(_is_number, value)) else None
    if isinstance(value, str):
        return None if "\0" in value else value
    # A whole number stays one: some controls take no other.
    return value if isinstance(value, bool) or _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and finite(value)


def _as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return _shortened(quoted(value) if isinstance(value, str) else str(value))
    except (ValueError, RecursionError):
        return "…"  # thousands of digits, or of tables within each other


def _shortened(text: str) -> str:
    text = one_line(text[: _LONGEST_SHOWN + 1])
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


_COLLECTIONS: Mapping[Any, tuple[type[Any], Callable[[Any], Any], str]] = {
    tuple[float, ...]: (list, _numbers, "a list of numbers"),
    tuple[str, ...]: (list, _strings, "a list of strings"),
    dict[str, float]: (dict, _number_table, "a table of numbers"),
    dict[str, str]: (dict, _string_table, "a table of strings"),
    dict[str, ControlValue]: (
        dict,
        _control_table,
        "a table of words, numbers, lists of numbers, true and false",
    ),
}
