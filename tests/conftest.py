"""What all tests share: the long forms of the fault tests, and the figures that tests print."""

from collections.abc import Callable

import pytest

Figures = Callable[[str], None]

_FIGURES = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long forms of tests/faults")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """Whether this run is one of `make faults`: more rounds of the same test."""
    return bool(request.config.getoption("--long"))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Say what was measured: one line, shown at the end of the run."""
    lines = request.config.stash[_FIGURES]
    name = request.node.name

    def say(text: str) -> None:
        lines.append(f"{name}: {text}")

    return say


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if lines := config.stash[_FIGURES]:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(line)
