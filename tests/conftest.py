"""What all tests share: the long forms of the fault tests, figures, a broker and who watches."""

import signal
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from support.brokers import Mosquitto, Subscriber
    from support.device import Site

Figures = Callable[[str], None]

# A busy machine is no reason for a property not to hold.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

_FIGURE = "figure"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long forms of tests/faults")


def pytest_configure() -> None:
    # A shell ignores SIGINT for what it starts in the background, and so would our child processes.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_thread_dies() -> Iterator[None]:
    """A thread that dies of a fault fails the test, unless the test itself has taken note."""
    yield
    if (threads := sys.modules.get("edgeclassifier.host.threads")) is not None:
        assert not threads.take_deaths()


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """Whether this run is one of `make faults`: more rounds of the same test."""
    return bool(request.config.getoption("--long"))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Say what was measured: one line, shown at the end of the run."""
    node = request.node

    def say(text: str) -> None:
        node.user_properties.append((_FIGURE, f"{node.name}: {text}"))

    return say


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Mosquitto]":
    # Here, because the environment of the older runtime has no MQTT.
    from support.brokers import Mosquitto

    with Mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def watching(site: "Site") -> "Iterator[Subscriber]":
    from support.brokers import Subscriber

    with Subscriber(site.port, f"{site.folder.name}/#") as subscriber:
        yield subscriber


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # A test's properties come with the report of its end, from whichever process it ran in.
    lines = [
        text
        for report in chain.from_iterable(terminalreporter.stats.values())
        if getattr(report, "when", None) == "teardown"
        for name, text in report.user_properties
        if name == _FIGURE
    ]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(line)
