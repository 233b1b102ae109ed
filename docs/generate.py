"""The contract as tables for people: `python docs/generate.py README.md` puts them there."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA_FILE = Path(__file__).parents[1] / "edgeclassifier" / "contract" / "v1.schema.json"
BEGIN, END = "<!-- payload:begin -->", "<!-- payload:end -->"
OPEN = ("head", "found", "prediction", "state", "event")
_FOLDED = ("health", "info", "response", "classification", "snapshot")
_SUMMARY = "<summary>health, info, requests and responses</summary>"
_BLOCK = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One field, named by the path to it."""

    path: str
    kind: str
    meaning: str


def payload_tables(contract: Schema) -> str:
    """Render a table for each definition, as Markdown between the two markers."""
    shown = [_section(contract, name) for name in OPEN]
    others = [_section(contract, name) for name in folded(contract)]
    parts = [BEGIN, *shown, f"<details>\n{_SUMMARY}", *others, "</details>", END]
    return "\n\n".join(parts)


def tables_of(text: str) -> str:
    """Return what a document has between the markers, and the markers; "" where there are none."""
    found = _BLOCK.search(text)
    return found[0] if found else ""


def folded(contract: Schema) -> list[str]:
    """Name the definitions whose tables are shown only to those who ask for them."""
    return [*_FOLDED, *(name for name in contract["$defs"] if name.startswith("request"))]


def rows(contract: Schema, name: str) -> list[Row]:
    """List the fields of a definition, without those of the definitions that it builds on."""
    return list(_rows(contract, contract["$defs"][name], ""))


def _section(contract: Schema, name: str) -> str:
    definition = contract["$defs"][name]
    lead = f"**{name}**: {_prose(definition['description'])}"
    listed = rows(contract, name)
    if bases := [each["$ref"].rpartition("/")[2] for each in definition.get("allOf", ())]:
        lead += f" The fields of {' and '.join(bases)}{', and:' if listed else '.'}"
    if not listed:
        return lead
    lines = [f"| `{row.path}` | {row.kind} | {row.meaning} |" for row in listed]
    return "\n".join([lead, "", "| field | type | meaning |", "|---|---|---|", *lines])


def _rows(contract: Schema, schema: Schema, prefix: str) -> Iterator[Row]:
    for name, value in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        field = _resolved(contract, value)
        kind = _kind(contract, field)
        if name not in schema.get("required", ()):
            kind += ", optional"
        yield Row(path, kind, _prose(field.get("description", "")))
        yield from _rows(contract, field, f"{path}.")
        if "items" in field:
            yield from _rows(contract, _resolved(contract, field["items"]), f"{path}[].")


def _resolved(contract: Schema, schema: Schema) -> Schema:
    """Merge a schema with those that it refers to; its own words come first."""
    merged: Schema = {}
    for each in (*schema.get("allOf", ()), schema):
        if "$ref" in each:
            name = each["$ref"].rpartition("/")[2]
            merged = _merged(merged, _resolved(contract, contract["$defs"][name]))
    return _merged(merged, schema)


def _merged(base: Schema, own: Schema) -> Schema:
    merged = {**base, **own}
    for key, empty in (("properties", {}), ("required", [])):
        if key in base and key in own:
            merged[key] = base[key] | own[key] if empty == {} else base[key] + own[key]
    return merged


def _kind(contract: Schema, schema: Schema) -> str:
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return _either(each if each is None else f"`{each}`" for each in schema["enum"])
    if "anyOf" in schema:
        return _either(_type(each) for each in schema["anyOf"])
    kind = _type(schema)
    if "minimum" in schema and "maximum" in schema:
        kind += f", {schema['minimum']} to {schema['maximum']}"
    if "items" in schema:
        kind += f" of {_kind(contract, _resolved(contract, schema['items']))}"
    if isinstance(each := schema.get("additionalProperties"), dict):
        names = ", ".join(f"`{name}`" for name in schema.get("required", ())) or "each"
        kind += f"; {names}: {_kind(contract, _resolved(contract, each))}"
    return kind


def _type(schema: Schema) -> str:
    found = schema["type"]
    return found if isinstance(found, str) else _either(found)


def _either(words: Any) -> str:
    *others, last = ["null" if word in (None, "null") else str(word) for word in words]
    return f"{', '.join(others)} or {last}" if others else last


def _prose(text: str) -> str:
    """Keep Markdown from taking <camera> for a tag."""
    return re.sub(r"[\w/]*<\w+>[\w/]*", lambda found: f"`{found[0]}`", text)


if __name__ == "__main__":
    document = Path(sys.argv[1])
    tables = payload_tables(json.loads(SCHEMA_FILE.read_text()))
    document.write_text(_BLOCK.sub(lambda _: tables, document.read_text()))
