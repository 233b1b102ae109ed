"""The schema as tools take it: json2ts, quicktype, datamodel-codegen."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.contract import SCHEMA

from edgeclassifier.contract.commands import COMMANDS
from edgeclassifier.contract.messages import Topics

DEFINITIONS: dict[str, Any] = SCHEMA["$defs"]


def schemas(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """List a schema and all in it that describe a value, each with the path to it."""
    yield path, schema
    for key in ("properties", "$defs"):
        for name, each in schema.get(key, {}).items():
            yield from schemas(each, f"{path}/{key}/{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from schemas(schema[key], f"{path}/{key}")


def test_it_is_a_schema_and_has_a_name_that_no_tool_tries_to_fetch() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == "urn:edgeclassifier:mqtt:v1"


def test_its_root_says_which_topic_has_which_definition() -> None:
    topics = Topics(root="r", device="d", camera="cam0", view="<view>")
    names = [name for name, each in vars(Topics).items() if isinstance(each, property)]
    below = {getattr(topics, name).removeprefix("r/d/") for name in names if name != "base"}
    requests = {f"request/{each.name}": each.schema for each in COMMANDS.values()}
    expected = {*below - {topics.requests.removeprefix("r/d/")}, *requests, "response/<command>"}
    assert SCHEMA["properties"].keys() == expected
    assert dataclasses.fields(Topics)[2].name == "camera"
    for topic, each in SCHEMA["properties"].items():
        if topic == "<view>/image":
            assert each["contentMediaType"] == "image/jpeg"
            continue
        definition = each["$ref"].removeprefix("#/$defs/")
        assert definition == requests.get(topic, definition)
        said = DEFINITIONS[definition]["description"]
        assert topic.rpartition("/")[2] in said


def test_a_payload_is_not_taken_for_the_root() -> None:
    """Whoever validates against the root hears of it, instead of that all is well."""
    assert not Draft202012Validator(SCHEMA).is_valid({"label": "cat"})


def test_whatever_becomes_a_type_has_a_title_of_its_own() -> None:
    titles: Counter[str] = Counter()
    for path, each in schemas(SCHEMA):
        is_definition = path.startswith("/$defs/") and path.count("/") == 2
        described = {"properties", "enum", "required"} & each.keys() or (
            isinstance(each.get("additionalProperties"), dict)
        )
        if is_definition or described:
            assert each.get("title", "").isidentifier(), path
            titles[each["title"]] += 1
    assert [title for title, count in titles.items() if count > 1] == []
    assert {"Prediction", "State", "Event", "Health", "Info", "RankedClass"} <= titles.keys()


@pytest.mark.parametrize("definition", [*DEFINITIONS])
def test_nothing_stands_beside_a_reference(definition: str) -> None:
    """Some tools make another type of it, some take no notice."""
    for path, each in schemas(DEFINITIONS[definition], definition):
        assert "$ref" not in each or len(each) == 1, path


def test_it_says_what_is_of_the_window_and_what_of_the_newest_frame() -> None:
    state = DEFINITIONS["state"]["properties"]
    assert "Of the newest frame alone" in state["predictions"]["description"]
    assert "over state.window_s" in state["score"]["description"]
    assert "If no class holds" in state["score"]["description"]


def test_names_are_what_a_device_of_0_1_0_may_leave_out() -> None:
    for definition in ("ranked", "state", "event"):
        new = {"name", "previous_name"} & DEFINITIONS[definition]["properties"].keys()
        assert new
        assert not new & {*DEFINITIONS[definition]["required"]}
