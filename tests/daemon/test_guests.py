"""Guests of the daemon: if they die, it continues, and they come back."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.brokers import (
    Mosquitto,
    Received,
    Subscriber,
    free_port,
    needs_mosquitto,
    wait_until,
)
from support.daemon import Daemon, isolated
from support.device import Site, continues, has_predictions, of
from support.web_client import ask_port

from edgeclassifier.contract.status import GuestStatus
from edgeclassifier.daemon.guests import Guest, Guests
from edgeclassifier.errors import ConfigError
from edgeclassifier.host import threads
from edgeclassifier.host.threads import OnDeath

FAULT = ZeroDivisionError("injected")
PROBLEM = "ZeroDivisionError: injected"


class Visitor:
    """Runs a thread until it is stopped, or told to die."""

    def __init__(self, on_death: OnDeath) -> None:
        self.on_death = on_death
        self.stops = 0
        self._told = threading.Event()
        self._dies = False
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        self.thread = threads.start(self._run, name="visitor", on_death=self.on_death)

    def stop(self) -> None:
        self.stops += 1
        self._told.set()
        if self.thread is not None:
            self.thread.join()

    def die(self) -> None:
        self._dies = True
        self._told.set()
        assert self.thread is not None
        self.thread.join()

    def _run(self) -> None:
        self._told.wait()
        if self._dies:
            raise FAULT


class House:
    """Makes visitors, and remembers them."""

    def __init__(self, *outcomes: Exception | None) -> None:
        """Take what making each of the first visitors raises."""
        self.visitors: list[Visitor] = []
        self._outcomes = list(outcomes)

    def make(self, on_death: OnDeath) -> Visitor:
        if self._outcomes and (error := self._outcomes.pop(0)) is not None:
            raise error
        self.visitors.append(Visitor(on_death))
        return self.visitors[-1]


@contextmanager
def kept(pause_max_s: float = 0.002, **makes: Callable[[OnDeath], Guest]) -> Iterator[Guests]:
    guests = Guests(makes, pause_min_s=0.001, pause_max_s=pause_max_s)
    guests.start()
    try:
        yield guests
    finally:
        guests.stop()


def after_looking(guests: Guests, holds: Callable[[], bool]) -> bool:
    def look() -> bool:
        guests.look_after()
        return holds()

    return wait_until(look)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "guests" in each.name]


def test_guests_run_until_they_are_stopped_the_last_one_first() -> None:
    order: list[str] = []

    class Noted(Visitor):
        def __init__(self, name: str, on_death: OnDeath) -> None:
            super().__init__(on_death)
            self.name = name

        def stop(self) -> None:
            order.append(self.name)
            super().stop()

    with kept(
        page=lambda on_death: Noted("page", on_death), file=lambda on_death: Noted("file", on_death)
    ) as guests:
        guests.look_after()
        assert guests.status == (
            GuestStatus(name="page", state="running"),
            GuestStatus(name="file", state="running"),
        )
    assert order == ["file", "page"]


def test_one_that_dies_is_stopped_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    house, other = House(), House()
    with kept(page=house.make, file=other.make) as guests:
        house.visitors[0].die()
        guests.look_after()
        assert house.visitors[0].stops == 1
        assert guests.status == (
            GuestStatus(name="page", state="waiting", problem=PROBLEM),
            GuestStatus(name="file", state="running"),
        )
        assert after_looking(guests, lambda: guests.status[0].state == "running")
        assert guests.status[0].restarts == 1
        assert after_looking(guests, lambda: guests.status[0].problem is None)
        assert len(house.visitors) == 2
        assert house.visitors[1].stops == 0
    assert [len(other.visitors), other.visitors[0].stops] == [1, 1]
    assert messages(caplog) == [
        f"page does not run: {PROBLEM}: trying again",
        "page runs again",
    ]
    threads.check()


def test_one_that_dies_at_every_start_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    with kept(pause_max_s=60, page=house.make) as guests:
        while guests.status[0].restarts < 3:
            if guests.status[0].state == "running":
                house.visitors[-1].die()
            guests.look_after()
        assert guests.status[0].problem == PROBLEM
    assert messages(caplog) == [f"page does not run: {PROBLEM}: trying again"]


def test_the_wait_for_the_next_start_does_not_block() -> None:
    house = House()
    guests = Guests({"page": house.make}, pause_min_s=3600, pause_max_s=3600)
    guests.start()
    house.visitors[0].die()
    started_s = time.monotonic()
    for _ in range(1000):
        guests.look_after()
    assert time.monotonic() - started_s < 5
    assert guests.status[0].state == "waiting"
    guests.stop()
    assert len(house.visitors) == 1


def test_a_late_death_of_the_one_before_is_not_that_of_the_next() -> None:
    house = House()
    with kept(page=house.make) as guests:
        house.visitors[0].die()
        assert after_looking(guests, lambda: len(house.visitors) == 2)
        house.visitors[0].on_death(FAULT)
        guests.look_after()
        assert guests.status[0].state == "running"


def test_a_wrong_configuration_is_raised_at_the_first_start_and_what_runs_is_stopped() -> None:
    house, wrong = House(), House(ConfigError(["web.host is empty"]))
    guests = Guests({"file": house.make, "page": wrong.make})
    with pytest.raises(ConfigError, match=r"web\.host is empty"):
        guests.start()
    assert house.visitors[0].stops == 1


@pytest.mark.parametrize(
    ("error", "problem"),
    [(ConfigError(["no such file"]), "no such file"), (FAULT, PROBLEM)],
)
def test_a_start_that_fails_later_is_tried_again(error: Exception, problem: str) -> None:
    house = House(None, error)
    with kept(page=house.make) as guests:
        house.visitors[0].die()
        assert after_looking(guests, lambda: guests.status[0].restarts == 1)
        assert (guests.status[0].state, guests.status[0].problem) == ("waiting", problem)
        assert after_looking(guests, lambda: guests.status[0].state == "running")
        assert guests.status[0].restarts == 2


def test_a_failure_to_stop_one_is_logged_and_the_next_is_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stubborn(Visitor):
        def stop(self) -> None:
            super().stop()
            raise FAULT

    house = House()
    with kept(file=house.make, page=Stubborn):
        pass
    assert house.visitors[0].stops == 1
    assert messages(caplog) == ["page could not be stopped"]


def test_nothing_is_started_again_after_stop() -> None:
    house = House()
    with kept(page=house.make) as guests:
        house.visitors[0].die()
        guests.look_after()
    time.sleep(0.01)
    guests.look_after()
    assert len(house.visitors) == 1


INJECTED = """
import os, pathlib
from edgeclassifier.compose import publisher as homeassistant
from edgeclassifier.web.connections import Server

fchmod, discovery, on_tick = os.fchmod, homeassistant.discovery, Server.on_tick

def check():
    if pathlib.Path({fault!r}).exists():
        raise ZeroDivisionError("injected")

def faulty_fchmod(*arguments):
    check()
    fchmod(*arguments)

def faulty_discovery(*arguments):
    check()
    return discovery(*arguments)

async def faulty_on_tick(self, counter):
    check()
    return await on_tick(self, counter)

os.fchmod, homeassistant.discovery, Server.on_tick = faulty_fchmod, faulty_discovery, faulty_on_tick
"""
"""Lets every guest of the daemon die while a file exists."""


@needs_mosquitto
def test_the_daemon_works_while_its_guests_die_and_they_come_back(
    tmp_path: Path, broker: Mosquitto
) -> None:
    site = Site(folder=tmp_path, port=broker.port)
    fault, textfile, port = tmp_path / "guests die", tmp_path / "e.prom", free_port()
    (tmp_path / "sitecustomize.py").write_text(INJECTED.format(fault=str(fault)))
    site.settings["web"] = {"enabled": True, "port": port}
    site.settings["metrics"] = {"textfile": str(textfile), "interval_s": 1.0}
    site.settings["homeassistant"] = {"enabled": True, "prefix": f"{tmp_path.name}/ha"}
    site.write()

    def answers() -> bool:
        try:
            return ask_port(port, "GET", "/healthz", Host="localhost").status == 200
        except OSError:
            return False

    def announced(more_than: int) -> Callable[[list[Received]], bool]:
        return lambda got: len(of(got, "config")) > more_than

    env = isolated(tmp_path, PYTHONPATH=str(tmp_path))
    with (
        Subscriber(broker.port, f"{tmp_path.name}/#") as watching,
        Daemon(env=env, config=site.config) as daemon,
    ):
        assert watching.wait_for(has_predictions(3)), daemon.lines
        assert watching.wait_for(announced(0))
        assert wait_until(lambda: textfile.exists() and answers())
        fault.touch()
        watching.publish(f"{tmp_path.name}/ha/status", "online")
        for name in ("homeassistant", "textfile", "page"):
            assert daemon.wait_for_line(f"{name} does not run: {PROBLEM}: trying again"), name
        assert continues(watching)
        before = len(of(watching.messages, "config"))
        textfile.unlink()
        fault.unlink()
        assert wait_until(lambda: textfile.exists() and answers()), daemon.lines
        assert watching.wait_for(announced(before)), daemon.lines
        assert continues(watching)
        daemon.stop()
        assert daemon.wait() == 0, daemon.lines
