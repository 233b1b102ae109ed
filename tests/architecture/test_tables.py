"""What has to agree, agrees: commands with actions and schema, keys with the place they act."""

import dataclasses

import pytest
from support.contract import SCHEMA

from edgeclassifier.config.changes import PLACES, at_next_start, changed_keys, declared
from edgeclassifier.config.schema import Config
from edgeclassifier.contract.commands import COMMANDS
from edgeclassifier.daemon.actions import Actions


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_its_action(name: str) -> None:
    assert callable(getattr(Actions, name, None))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_takes_what_its_schema_says(name: str) -> None:
    command, definition = COMMANDS[name], SCHEMA["$defs"][COMMANDS[name].schema]
    assert {each.name for each in command.arguments} == set(definition["properties"]) - {
        "transaction"
    }
    required = {each.name for each in command.arguments if not each.optional}
    assert required == set(definition.get("required", ()))


def test_the_schema_has_no_request_without_a_command() -> None:
    requests = {name for name in SCHEMA["$defs"] if name.startswith("request")}
    assert requests == {"request"} | {each.schema for each in COMMANDS.values()}


def test_a_key_that_does_not_say_where_it_acts_fails_at_import() -> None:
    @dataclasses.dataclass(frozen=True)
    class Table:
        port: int = 0

    with pytest.raises(TypeError, match=r"web\.port"):
        list(declared(Table, "web."))


def test_every_key_acts_somewhere() -> None:
    assert all(PLACES.values())
    assert {"mqtt.host", "camera.stream.url", "mqtt.tls.ca_file"} <= set(PLACES)


def test_only_keys_with_other_values_have_changed() -> None:
    old, new = Config(), Config()
    assert changed_keys(old, new) == frozenset()
    new = dataclasses.replace(
        new, web=dataclasses.replace(new.web, port=1), log=type(new.log)(level="debug")
    )
    assert changed_keys(old, new) == {"web.port", "log.level"}
    assert at_next_start(changed_keys(old, new)) == {"web.port"}
