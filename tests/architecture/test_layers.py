"""Imports run one way: each room of the package may know those below it, and no other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon import REPOSITORY

PACKAGE = REPOSITORY / "edgeclassifier"
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"__init__", "errors", "contract"}),
    frozenset({"host"}),
    frozenset({"engine"}),
    frozenset({"cameras", "models", "accelerator", "buffer", "keep", "config"}),
    frozenset({"mqtt", "pipeline"}),
    frozenset({"homeassistant", "metrics", "web"}),
    frozenset({"daemon"}),
    frozenset({"compose"}),
    frozenset({"bench", "doctor", "service", "teach"}),
    frozenset({"commands"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
"""From the bottom to the top; rooms of one layer do not know each other."""
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """Name the room that a file is in: a folder of the package, or a module directly in it."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from edgeclassifier import x` may name a room, or something in __init__.
            names = [f"{node.module}.{each.name}" for each in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "edgeclassifier":
                room = rest.partition(".")[0]
                yield room if room in LEVEL else "__init__"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_knows_only_rooms_below_its_own(path: Path) -> None:
    own = room_of(path)
    above = {room for room in imported_rooms(path) if room != own and LEVEL[room] >= LEVEL[own]}
    assert not above, f"{own} is in layer {LEVEL[own]}"


def test_every_room_has_a_layer() -> None:
    assert {room_of(path) for path in FILES} == set(LEVEL)


def test_a_tie_is_noticed(tmp_path: Path) -> None:
    tie = tmp_path / "tie.py"
    tie.write_text(
        "import edgeclassifier.web.server\n"
        "if TYPE_CHECKING:\n"
        "    from edgeclassifier.mqtt import session\n"
        "def late():\n"
        "    from edgeclassifier import compose, __version__\n"
    )
    assert set(imported_rooms(tie)) == {"web", "mqtt", "compose", "__init__"}


def test_no_file_is_longer_than_one_can_hold_in_mind() -> None:
    long = {str(path): n for path in FILES if (n := len(path.read_text().splitlines())) > 300}
    assert not long


def test_no_test_module_imports_another() -> None:
    tests = REPOSITORY / "tests"
    ties = [
        f"{path.relative_to(tests)}: {node.module}"
        for path in sorted(tests.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("test_")
    ]
    assert not ties
