"""Jinja templates of the entities, rendered by Home Assistant."""

from collections.abc import Sequence


def fields(*names: str, optional: Sequence[str] = ()) -> str:
    """Render an object with some fields of the payload; those that are `optional` may be null."""
    fields = [f"'{name}': value_json.{name}" for name in names]
    fields += [f"'{name}': value_json.{name} | default(none)" for name in optional]
    return f"{{{{ {{{', '.join(fields)}}} | to_json }}}}"


def seen(name: str) -> str:
    """Render a field of what was seen before; None is an unknown state."""
    return f"{{{{ (value_json.seen or {{}}).get('{name}') }}}}"


def is_seen(name: str) -> str:
    """Render such a field as a binary sensor wants it."""
    return f"{{{{ {{True: 'ON', False: 'OFF'}}.get((value_json.seen or {{}}).get('{name}')) }}}}"


def part(part: str, *names: str) -> str:
    """Render an object with some fields of a part of the payload, an empty one if it is null.

    Its field "state" is renamed to condition, because no attribute may be called "state".
    """
    fields = ", ".join(f"'{name}': part.{name}" for name in names)
    return (
        f"{{% set part = value_json.{part} %}}"
        f"{{{{ ({{'condition': part.state, {fields}}} if part else {{}}) | to_json }}}}"
    )
