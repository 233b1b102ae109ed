"""Which arguments each command takes. `v1.schema.json` says the same formally."""

from collections.abc import Callable, Mapping
from typing import Any

from edgeclassifier.errors import RequestError

Check = Callable[[Any], str | None]
"""Returns what was expected where a value is not acceptable, else None."""

_LONGEST_NAME = 100


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _threshold(value: Any) -> str | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or (number and 0 <= value <= 1):
        return None
    return "a number from 0 to 1, or null for the configured one"


def _model(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME):
        return None
    return "the name of an installed model, or null for the configured one"


_ARGUMENTS: Mapping[str, Mapping[str, Check]] = {
    "classify": {},
    "snapshot": {},
    "pause": {"paused": _flag},
    "resume": {},
    "set_threshold": {"threshold": _threshold},
    "set_model": {"model": _model},
    "reload": {},
    "restart": {},
    "health": {},
}

_OPTIONAL = {"pause": ("paused",)}

COMMANDS = tuple(_ARGUMENTS)


def check_arguments(command: str, arguments: Mapping[str, Any]) -> None:
    """Raise RequestError unless `arguments` are all that the command needs, and no more."""
    if command not in _ARGUMENTS:
        raise RequestError(f"{command[:40]!r} is no command: there are {', '.join(COMMANDS)}")
    checks = _ARGUMENTS[command]
    if unknown := [name for name in arguments if name not in checks]:
        known = ", ".join(checks) or "none"
        raise RequestError(f"{command} takes no {unknown[0][:40]!r}: it takes {known}")
    for name, check in checks.items():
        if name not in arguments:
            if name in _OPTIONAL.get(command, ()):
                continue
            raise RequestError(f"{command} needs {name!r}")
        if (expected := check(arguments[name])) is not None:
            raise RequestError(f"{command}: {name}: expected {expected}")
