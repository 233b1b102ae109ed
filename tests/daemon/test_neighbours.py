"""What other programs on the same device do to the daemon, by accident."""

import os
import signal
from pathlib import Path

import pytest
from support.brokers import Mosquitto, Subscriber, needs_mosquitto
from support.device import Site, continues, has_predictions

from edgeclassifier.errors import EXIT_CONFIG
from edgeclassifier.host.lock import HeldError, locked

pytestmark = needs_mosquitto


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Site:
    return Site(folder=tmp_path, port=broker.port)


def test_a_second_daemon_with_the_same_state_directory_says_so_and_ends(
    site: Site, watching: Subscriber
) -> None:
    with site.daemon() as first:
        assert watching.wait_for(has_predictions(1)), first.lines
        with site.daemon() as second:
            assert second.wait() == EXIT_CONFIG
        assert any(
            f"another daemon (process {first.pid}) keeps its state there" in line
            and "device.state_directory" in line
            for line in second.lines
        ), second.lines
        assert continues(watching), first.lines


def test_the_next_daemon_waits_for_one_that_is_about_to_end(
    site: Site, watching: Subscriber
) -> None:
    with site.daemon() as first:
        assert watching.wait_for(has_predictions(1)), first.lines
        first.stop(signal.SIGSTOP)
        with site.daemon() as second:
            os.kill(first.pid, signal.SIGTERM)
            os.kill(first.pid, signal.SIGCONT)
            assert first.wait() == 0
            assert continues(watching), second.lines


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_that_means_nothing_here_is_harmless(
    site: Site, watching: Subscriber, number: signal.Signals
) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(1)), daemon.lines
        daemon.stop(number)
        assert continues(watching), daemon.lines


def test_a_folder_that_cannot_be_locked_is_used_all_the_same(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with locked(in_the_way / "state", patience_s=0.0):
        pass


def test_a_lock_names_its_holder_and_goes_with_it(tmp_path: Path) -> None:
    with (
        locked(tmp_path, patience_s=0.0),
        pytest.raises(HeldError, match=f"process {os.getpid()}"),
        locked(tmp_path, patience_s=0.0),
    ):
        pytest.fail("two holders")
    with locked(tmp_path, patience_s=0.0):
        pass
