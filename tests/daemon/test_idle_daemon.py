"""A still scene before the whole daemon: what its subscribers see, and what it costs."""

import os
import signal
import time
from pathlib import Path

import pytest
from conftest import Figures
from PIL import Image
from support.brokers import Mosquitto, Subscriber, needs_mosquitto
from support.daemon import Daemon
from support.device import Site, assert_no_prediction_is_missed, continues, has_predictions, of
from support.scene import RATE_HZ, Scene

from edgeclassifier.compose.model import BUNDLED_MODEL

pytestmark = needs_mosquitto

PICTURES = 8
"""As many as the replay camera keeps in memory, so that none is decoded twice."""


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Site:
    site = Site(folder=tmp_path, port=broker.port)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, frame in enumerate(Scene().quiet(PICTURES)):
        Image.fromarray(frame).save(pictures / f"{number}.jpg", quality=75)
    site.settings["camera.replay"]["path"] = str(pictures)
    site.settings["idle"] = {"skip_unchanged": True}
    return site


def test_subscribers_are_told_how_old_an_answer_is(site: Site, watching: Subscriber) -> None:
    site.settings["idle"]["max_age_s"] = 1.0
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(100)), daemon.lines
        daemon.stop()
        assert daemon.wait() == 0
    predictions = assert_no_prediction_is_missed(watching.messages)
    for each in predictions:
        assert each["repeated"] is (each["answer_age_s"] > 0)
        assert each["answer_age_s"] <= 1.0
        if each["repeated"]:
            assert each["latency_ms"]["inference"] == 0
    repeated = [each["repeated"] for each in predictions]
    assert not repeated[0]
    assert 2 <= repeated.count(False) <= 20


def test_it_can_be_turned_on_and_off_while_it_runs(site: Site, watching: Subscriber) -> None:
    site.settings["idle"]["skip_unchanged"] = False
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(10))
        for on in (True, False):
            site.settings["idle"]["skip_unchanged"] = on
            site.write()
            before = len(of(watching.messages, "predictions"))
            daemon.stop(signal.SIGHUP)
            assert watching.wait_for(
                lambda got, on=on, before=before: any(  # type: ignore[misc] # no lambda may have it
                    each["repeated"] is on for each in of(got, "predictions")[before:]
                )
            ), daemon.lines
            assert continues(watching)
            assert of(watching.messages, "predictions")[-1]["repeated"] is on


def cpu_s(daemon: Daemon) -> float:
    """Return the CPU time of the process so far."""
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.timeout(600)
def test_the_whole_daemon_takes_a_fraction_of_the_cpu_time(
    site: Site, watching: Subscriber, figures: Figures, *, long: bool
) -> None:
    """The camera, the state and the messages cost the same as ever, and ten of them a second."""
    if not long:
        pytest.skip("takes a minute: --long")
    site.environment = {"EDGECLASSIFIER_LIVE": "1"}
    site.settings["model"] = {"name": BUNDLED_MODEL}
    site.settings["camera"]["deadline_s"] = 10.0
    site.settings["camera.replay"]["rate_hz"] = RATE_HZ
    used = {}
    for on in (False, True):
        site.settings["idle"]["skip_unchanged"] = on
        before = len(of(watching.messages, "predictions"))
        with site.daemon() as daemon:
            # Not what starting costs, nor the first pictures.
            assert watching.wait_for(has_predictions(before + 3 * RATE_HZ)), daemon.lines
            began_s, first = cpu_s(daemon), len(of(watching.messages, "predictions"))
            time.sleep(25)
            used_s, last = cpu_s(daemon) - began_s, len(of(watching.messages, "predictions"))
        used[on] = used_s / (last - first)
    figures(
        f"{used[False] * 1000:.1f} ms of CPU time a prediction, idle {used[True] * 1000:.2f} ms, "
        f"ratio {used[False] / used[True]:.1f}"
    )
    assert used[False] / used[True] >= 5
