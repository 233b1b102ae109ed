"""Real faults of real daemons, as a real Prometheus sees them: minutes, so pytest has to be asked.

    pytest tests/monitoring/real.py

Two daemons run: one is scraped, the other writes a file for a node exporter. The rules are those
that are deployed, with a second for each of their minutes. In the end the dashboard's queries are
asked about all that has happened.
"""

import signal
import time
from collections.abc import Iterator
from functools import partial

import pytest
from conftest import Figures
from support.brokers import Mosquitto, needs_mosquitto, wait_until
from support.delegate.build import needs_gcc

from monitoring.dashboard import alerts, concrete, queries
from monitoring.faults import FAULTS, Fault, World
from monitoring.prometheus import (
    finite,
    needs_node_exporter,
    needs_prometheus,
    node_exporter,
    prometheus,
)
from monitoring.unit import Unit

pytestmark = [
    needs_mosquitto,
    needs_gcc,
    needs_prometheus,
    needs_node_exporter,
    pytest.mark.timeout(300),
]
FIRES_S = 120.0
CLEARS_S = 180.0
"""Most rules look a minute back."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, files = tmp_path_factory.mktemp("world"), tmp_path_factory.mktemp("textfiles")
    with Mosquitto(folder) as broker, node_exporter(folder, textfiles=files) as node_port:
        porch, shed = (Unit(folder / name, name=name, broker=broker) for name in ("porch", "shed"))
        shed.site.settings["web"]["enabled"] = False
        textfile = str(files / "edgeclassifier.prom")
        shed.site.settings["metrics"] = {"textfile": textfile, "interval_s": 1.0}
        targets = {"edgeclassifier": porch.port, "node": node_port}
        with prometheus(folder, targets) as watching:
            porch.start()
            shed.start()
            try:
                world = World(
                    porch=porch,
                    shed=shed,
                    broker=broker,
                    prometheus=watching,
                    begin_s=time.time(),  # Prometheus dates by the wall clock
                )
                assert wait_until(world.is_well), (
                    porch.daemon and porch.daemon.lines,
                    shed.daemon and shed.daemon.lines,
                )
                yield world
            finally:
                porch.end(signal.SIGKILL)
                shed.end(signal.SIGKILL)


def test_every_alert_has_a_real_fault() -> None:
    assert {name for fault in FAULTS for name in fault.alerts} == set(alerts())


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_the_alerts_fire_and_clear(world: World, fault: Fault, figures: Figures) -> None:
    assert not any(world.shows(name, fault.state) for name in fault.alerts)
    began_s = time.monotonic()
    fault.begin(world)
    for name in fault.alerts:
        shown = wait_until(partial(world.shows, name, fault.state), timeout_s=FIRES_S)
        assert shown, (name, world.prometheus.alerts())
    fired_s = time.monotonic()
    fault.end(world)
    for name in fault.alerts:
        gone = wait_until(partial(world.lacks, name, fault.state), timeout_s=CLEARS_S)
        assert gone, (name, world.prometheus.alerts())
    cleared_s = time.monotonic()
    assert wait_until(world.is_well), world.prometheus.alerts()
    figures(
        f"{', '.join(fault.alerts)}: {fault.state} after {fired_s - began_s:.0f} s, "
        f"cleared after {cleared_s - fired_s:.0f} s"
    )


def test_every_query_of_the_dashboard_has_an_answer(world: World, figures: Figures) -> None:
    """Over all that has happened: some ask for what is only there during a fault."""
    now_s = time.time()
    count = 0
    for query in queries():
        expr = concrete(query.expr, rate_interval="5s")
        series = world.prometheus.history(expr, begin_s=world.begin_s, end_s=now_s)
        assert finite(series), (query.panel, expr)
        count += 1
    figures(f"{count} queries answered over {now_s - world.begin_s:.0f} s")


def test_no_alert_is_left(world: World) -> None:
    assert wait_until(lambda: not world.prometheus.alerts(), timeout_s=CLEARS_S), (
        world.prometheus.alerts()
    )
