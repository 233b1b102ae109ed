"""Show the effective configuration as TOML, without its secrets."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from edgeclassifier.config.schema import Config
from edgeclassifier.host.redaction import redact
from edgeclassifier.host.terminal import one_line

MASK = "***"


def masked(config: Config) -> dict[str, Any]:
    """Return the configuration as plain nested data, with what may be secret replaced.

    Passwords live in files and are never here; FFmpeg's options may hold headers and tokens,
    and a stream's URL often does.
    """
    data = dataclasses.asdict(config)
    stream = data["camera"]["stream"]
    stream["options"] = dict.fromkeys(stream["options"], MASK)
    stream["url"] = redact(stream["url"])
    data["views"] = {name: _own(view) for name, view in data["views"].items()}
    return data


def _own(view: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a view says of its own."""
    own = {key: each for key, each in view.items() if each is not None}
    for name in ("state", "idle"):
        own[name] = {key: each for key, each in view[name].items() if each is not None}
        if not own[name]:
            del own[name]
    return own


def to_toml(data: Mapping[str, Any], comments: Mapping[str, str] | None = None) -> str:
    """Render nested tables of plain values as TOML, with comments beside some of the keys."""
    return "\n".join(_lines(data, comments or {}, prefix="")).strip() + "\n"


def quoted(text: str) -> str:
    """Render a TOML basic string: one line, whatever is in it."""
    # TOML has the escapes of JSON, and takes no DEL without one.
    return one_line(json.dumps(text, ensure_ascii=False))


def quoted_key(key: str) -> str:
    """Render a TOML key, in quotes if it needs them."""
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else quoted(key)


def _lines(table: Mapping[str, Any], comments: Mapping[str, str], *, prefix: str) -> Iterator[str]:
    for key, value in table.items():
        if not isinstance(value, Mapping):
            said = comments.get(f"{prefix}{key}")
            comment = f"  # {one_line(said)}" if said else ""
            yield f"{quoted_key(key)} = {_value(value)}{comment}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield ""
            yield f"[{prefix}{key}]"
            yield from _lines(value, comments, prefix=f"{prefix}{key}.")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return repr(value)
