"""The daemon as systemd, an administrator and a subscriber see it, through reloads and faults."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Figures
from support.brokers import Mosquitto, Subscriber, needs_mosquitto, wait_until
from support.daemon import SAMPLES, Daemon
from support.device import (
    RATE_HZ,
    Site,
    assert_no_prediction_is_missed,
    continues,
    has_predictions,
    longest_gap_ms,
    newest,
    of,
    reload_is,
)
from support.manager import Manager

from edgeclassifier.daemon.exit_record import ExitRecord

pytestmark = needs_mosquitto

STOP_S = 5.0


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Site:
    return Site(folder=tmp_path, port=broker.port)


# Reload


CHANGES: list[tuple[str, str, Any]] = [
    ("state", "threshold", 0.9),
    ("mqtt", "health_interval_s", 5.0),
    ("mqtt", "keepalive_s", 20),
    ("mqtt", "root", "{root}/elsewhere"),
    ("device", "id", "shed"),
    ("preprocess", "crop_fraction", 0.5),
    ("model", "top_k", 1),
    ("log", "level", "debug"),
]


@pytest.mark.parametrize(
    ("table", "key", "value"), CHANGES, ids=[f"{table}.{key}" for table, key, _ in CHANGES]
)
def test_a_change_applies_and_no_prediction_is_missed(
    site: Site, watching: Subscriber, table: str, key: str, value: object
) -> None:
    if isinstance(value, str):
        value = value.format(root=site.folder.name)
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(10)), daemon.lines
        site.settings.setdefault(table, {})[key] = value
        site.write()
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("applied")), daemon.lines
        assert continues(watching)
        daemon.stop()
        assert daemon.wait() == 0
        assert watching.wait_for(lambda got: got[-1].payload == b"offline")
    ours = watching.messages
    health = of(ours, "health")
    applied = next(each["reload"] for each in health if each["reload"])
    assert applied["changed"] == [f"{table}.{key}"]
    assert applied["problem"] is None
    info = newest(ours, "info")
    assert info["config"][table][key] == value
    assert_no_prediction_is_missed(ours)
    last = newest(ours, "predictions")
    assert len(last["predictions"]) == (1 if key == "top_k" else 3)
    assert ours[-1].topic == f"{site.topic}/availability"


def test_only_what_changed_is_touched(site: Site, watching: Subscriber) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        site.settings["state"]["threshold"] = 0.7
        site.write()
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("applied"))
        daemon.stop()
        assert daemon.wait() == 0
        assert sum("connected" in line for line in daemon.lines) == 1
        assert sum("model tiny" in line for line in daemon.lines) == 1


def test_a_drop_in_is_taken_and_nothing_new_is_nothing(site: Site, watching: Subscriber) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("unchanged"))
        (site.folder / "conf.d").mkdir()
        (site.folder / "conf.d" / "50-slow.toml").write_text("[state]\nhold_s = 9\n")
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("applied"))
        assert watching.wait_for(lambda got: newest(got, "info")["config"]["state"]["hold_s"] == 9)


def test_a_file_with_another_content_counts_as_a_change(site: Site, watching: Subscriber) -> None:
    """Where the model and its labels have new content under the old names."""
    labels = Path(site.settings["model"]["labels"])
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        labels.write_text(labels.read_text().replace("label", "bird"))
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("applied")), daemon.lines
        assert newest(watching.messages, "health")["reload"]["changed"] == ["model.labels"]
        assert continues(watching)
        best = newest(watching.messages, "predictions")["predictions"][0]["label"]
    assert best.startswith("bird ")


def test_the_camera_is_replaced(site: Site, watching: Subscriber) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        site.settings["camera.replay"]["path"] = str(SAMPLES / "coffee.png")
        site.write()
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("applied"))
        watching.clear()
        assert watching.wait_for(has_predictions(5))
        origins = {each["origin"] for each in of(watching.messages, "predictions")[2:]}
    assert origins == {"coffee.png"}


def test_a_camera_that_cannot_be_opened_is_not_taken(site: Site, watching: Subscriber) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        site.settings["camera.replay"]["path"] = str(site.folder / "nothing-*.png")
        site.write()
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("refused")), daemon.lines
        assert "nothing-" in newest(watching.messages, "health")["reload"]["problem"]
        assert continues(watching)
        kept = newest(watching.messages, "info")["config"]["camera"]["replay"]["path"]
    assert kept == str(SAMPLES / "*.*g")


BAD_FILES = {
    "unknown key": ("[state]\nthreshhold = 0.5\n", "did you mean threshold?"),
    "not TOML": ("[state\n", "not valid TOML"),
    "out of range": ("[state]\nthreshold = 2\n", "a number from 0 to 1"),
    "no such file": ('[mqtt]\nusername = "u"\npassword_file = "absent"\n', "absent"),
    "no such model": ('[model]\nname = "absent.tflite"\n', "absent.tflite"),
    "two at once": ("[state]\nthreshold = 2\nhold_s = -1\n", "hold_s"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_configuration_is_refused_with_the_reason(
    site: Site, watching: Subscriber, case: str
) -> None:
    content, words = BAD_FILES[case]
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        (site.folder / "conf.d").mkdir()
        (site.folder / "conf.d" / "bad.toml").write_text(content)
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("refused"))
        assert words in newest(watching.messages, "health")["reload"]["problem"]
        assert continues(watching)
        daemon.stop()
        assert daemon.wait() == 0
    assert any("kept as it was" in line and words in line for line in daemon.lines)
    assert not any("Traceback" in line for line in daemon.lines)
    assert_no_prediction_is_missed(watching.messages)


def test_what_only_a_start_reads_is_named(site: Site, watching: Subscriber) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        site.settings["buffer"] = {"max_mib": 1.0}
        site.write()
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("applied"))
        problem = newest(watching.messages, "health")["reload"]["problem"]
    assert problem == "buffer.max_mib: at the next start"


# Another model


def swap_model(site: Site, daemon: Daemon, name: str) -> None:
    site.use_model(name)
    site.write()
    daemon.stop(signal.SIGHUP)


def test_a_model_is_swapped_between_two_frames(
    site: Site, watching: Subscriber, figures: Figures
) -> None:
    site.add_model("other")
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(10))
        swap_model(site, daemon, "other")
        assert watching.wait_for(reload_is("applied")), daemon.lines
        assert continues(watching)
        daemon.stop()
        assert daemon.wait() == 0
    predictions = assert_no_prediction_is_missed(watching.messages)
    models = [each["model"]["name"] for each in predictions]
    first = models.index("other")
    assert models == ["tiny"] * first + ["other"] * (len(models) - first)
    figures(
        f"longest gap between predictions {longest_gap_ms(predictions):.0f} ms "
        f"at {RATE_HZ} frames a second ({1000 / RATE_HZ:.0f} ms)"
    )


def damaged(content: bytes) -> bytes:
    """Cut a model in half."""
    return content[: len(content) // 2]


BAD_MODELS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (damaged, "damaged"),
    "empty": (lambda _: b"", "empty"),
    "no model": (lambda _: b"\x89PNG\r\n" * 100, "TFL3"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_a_damaged_model_is_refused(site: Site, watching: Subscriber, case: str) -> None:
    damage, words = BAD_MODELS[case]
    site.add_model("bad", damage((site.folder / "tiny.tflite").read_bytes()))
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        swap_model(site, daemon, "bad")
        assert watching.wait_for(reload_is("refused")), daemon.lines
        assert words in newest(watching.messages, "health")["reload"]["problem"]
        assert continues(watching)
        daemon.stop()
        assert daemon.wait() == 0
    predictions = assert_no_prediction_is_missed(watching.messages)
    assert {each["model"]["name"] for each in predictions} == {"tiny"}


def test_a_model_that_crashes_the_runtime_crashes_nothing_else(
    site: Site, watching: Subscriber
) -> None:
    site.add_model("bad")
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        site.fault.write_text("loading crashes bad.tflite")
        swap_model(site, daemon, "bad")
        assert watching.wait_for(reload_is("refused")), daemon.lines
        assert "crashes" in newest(watching.messages, "health")["reload"]["problem"]
        assert continues(watching)
        daemon.stop()
        assert daemon.wait() == 0
    assert_no_prediction_is_missed(watching.messages)


def test_labels_that_do_not_fit_are_refused(site: Site, watching: Subscriber) -> None:
    site.add_model("other")
    (site.folder / "other.txt").write_text("only one\n")
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        swap_model(site, daemon, "other")
        assert watching.wait_for(reload_is("refused")), daemon.lines
        assert "other.txt" in newest(watching.messages, "health")["reload"]["problem"]
        assert continues(watching)


def test_a_model_that_fails_at_work_is_rolled_back(site: Site, watching: Subscriber) -> None:
    """What the trial does not find: here it passes, and the daemon's own first frame fails."""
    site.add_model("other")
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(10))
        swap_model(site, daemon, "other")
        # The trial runs in an environment without the fault: it is over once the model is named.
        assert daemon.wait_for_line("model other")
        site.fault.write_text("inference fails other.tflite")
        assert watching.wait_for(reload_is("refused")), daemon.lines
        assert "injected" in newest(watching.messages, "health")["reload"]["problem"]
        assert continues(watching)
        assert newest(watching.messages, "info")["config"]["model"]["name"].endswith("tiny.tflite")
        daemon.stop()
        assert daemon.wait() == 0
    assert_no_prediction_is_missed(watching.messages)


# systemd


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.close()


class Told:
    """Everything the service manager was told so far."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self.messages: list[str] = []

    def so_far(self) -> list[str]:
        self.messages += self._manager.take()
        return self.messages

    def wait_for(self, text: str) -> bool:
        return wait_until(lambda: any(each.startswith(text) for each in self.so_far()))


def test_systemd_is_told_everything(site: Site, manager: Manager, watching: Subscriber) -> None:
    site.environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "2000000"}
    told = Told(manager)
    with site.daemon() as daemon:
        assert told.wait_for("READY=1")
        assert of(watching.messages, "predictions") or continues(watching)
        assert told.wait_for("STATUS=cpu, ")
        assert told.wait_for("WATCHDOG=1")
        told.messages.clear()
        daemon.stop(signal.SIGHUP)
        assert told.wait_for("RELOADING=1\nMONOTONIC_USEC=")
        assert told.wait_for("READY=1")
        daemon.stop()
        assert told.wait_for("STOPPING=1")
        assert daemon.wait() == 0


def test_an_interpreter_that_hangs_stops_the_pings(site: Site, manager: Manager) -> None:
    site.environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    told = Told(manager)
    with site.daemon():
        assert told.wait_for("WATCHDOG=1")
        site.fault.write_text("inference hangs")
        time.sleep(0.5)
        told.so_far()
        told.messages.clear()
        time.sleep(1.0)
        assert "WATCHDOG=1" not in told.so_far()
        site.fault.unlink()
        assert told.wait_for("WATCHDOG=1")


def test_a_camera_that_is_recovered_keeps_the_watchdog_quiet(
    site: Site, manager: Manager, watching: Subscriber
) -> None:
    site.environment = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "2000000",
        "EDGECLASSIFIER_LIVE": "1",
    }
    told = Told(manager)
    with site.daemon():
        assert watching.wait_for(has_predictions(5))
        site.fault.write_text("camera is gone")
        assert told.wait_for("STATUS=no frames: the camera is gone")
        told.messages.clear()
        assert told.wait_for("WATCHDOG=1")
        assert watching.wait_for(
            lambda got: newest(got, "health").get("camera", {}).get("state") == "recovering"
        )
        site.fault.unlink()
        assert continues(watching)
        assert watching.wait_for(lambda got: newest(got, "health")["camera"]["state"] == "ok")
        assert newest(watching.messages, "health")["camera"]["recoveries"] >= 1


# Ends


def test_a_camera_that_stays_away_ends_the_daemon_and_the_reason_is_published_next_time(
    site: Site, watching: Subscriber
) -> None:
    site.environment = {"EDGECLASSIFIER_LIVE": "1"}
    site.settings["camera"]["max_recoveries"] = 1
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        site.fault.write_text("camera is silent")
        assert daemon.wait() == 1
        assert watching.wait_for(lambda got: got[-1].payload == b"offline")
    watching.clear()
    with site.daemon():
        assert watching.wait_for(lambda got: newest(got, "health"))
        crash = newest(watching.messages, "health")["last_crash"]
    assert "no frame for" in crash["reason"]
    assert crash["exit_code"] == 1


def test_a_kill_is_published_next_time_and_an_end_in_order_is_not(
    site: Site, watching: Subscriber
) -> None:
    def crash_of_the_run_before() -> Any:
        watching.clear()
        with site.daemon() as daemon:
            assert watching.wait_for(lambda got: newest(got, "health") and has_predictions(3)(got))
            crash = newest(watching.messages, "health")["last_crash"]
            daemon.stop(ending)
            daemon.wait()
        return crash

    ending = signal.SIGKILL
    assert crash_of_the_run_before() is None
    ending = signal.SIGTERM
    assert "killed" in crash_of_the_run_before()["reason"]
    assert crash_of_the_run_before() is None


TRIED = "the model is tried in another process first"


def kill(site: Site, watching: Subscriber) -> None:
    """Have a run end without a word."""
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(3)), daemon.lines
        daemon.stop(signal.SIGKILL)
        daemon.wait()
    watching.clear()


def test_a_trial_that_is_killed_does_not_keep_the_daemon_from_starting(
    site: Site, watching: Subscriber
) -> None:
    """What killed the run before, such as a lack of memory, may kill the trial as well."""
    kill(site, watching)
    site.fault.write_text("trial is killed")
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(3)), daemon.lines
        daemon.stop()
        assert daemon.wait() == 0
    assert any(TRIED in line for line in daemon.lines)
    assert any("could not be tried: its process was killed" in line for line in daemon.lines)


def test_a_crash_in_the_trial_ends_the_daemon_for_good(site: Site, watching: Subscriber) -> None:
    kill(site, watching)
    site.fault.write_text("loading crashes tiny.tflite")
    with site.daemon() as daemon:
        assert daemon.wait() == 78
    assert "tiny: crashes the TFLite runtime" in daemon.lines[-1]


def test_a_model_that_has_not_run_here_is_tried_first(site: Site, watching: Subscriber) -> None:
    site.fault.write_text("loading crashes tiny.tflite")
    with site.daemon() as daemon:
        assert daemon.wait() == 78
    assert "tiny: crashes the TFLite runtime" in daemon.lines[-1]
    site.fault.write_text("")
    for tried in (True, False):
        with site.daemon() as daemon:
            assert watching.wait_for(has_predictions(3)), daemon.lines
        watching.clear()
        assert any("has not run here before" in line for line in daemon.lines) == tried


def test_sigterm_during_the_trial_is_an_end_in_order(site: Site, watching: Subscriber) -> None:
    kill(site, watching)
    site.fault.write_text("trial hangs")
    with site.daemon() as daemon:
        assert daemon.wait_for_line(TRIED)
        daemon.stop()
        assert daemon.wait() == 0
    assert not any("could not be tried" in line for line in daemon.lines)
    assert ExitRecord(site.state).previous() is None


def test_a_new_model_whose_trial_is_killed_is_refused_with_the_reason(
    site: Site, watching: Subscriber
) -> None:
    site.add_model("other")
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        site.fault.write_text("trial is killed")
        swap_model(site, daemon, "other")
        assert watching.wait_for(reload_is("refused")), daemon.lines
        problem = newest(watching.messages, "health")["reload"]["problem"]
        assert problem.startswith("other: could not be tried: its process was killed")
        assert continues(watching)


def test_an_interpreter_that_hangs_for_good_ends_the_daemon(
    site: Site, watching: Subscriber
) -> None:
    site.settings["model"]["deadline_s"] = 0.5
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        site.fault.write_text("inference hangs")
        assert daemon.wait() == 1
    assert any("model.deadline_s" in line for line in daemon.lines)


STUCK = ("inference hangs", "camera hangs", "camera does not close", "")


@pytest.mark.parametrize("fault", STUCK)
def test_sigterm_ends_within_five_seconds_whatever_hangs(
    site: Site, watching: Subscriber, fault: str, figures: Figures
) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        site.fault.write_text(fault)
        if fault.endswith("hangs"):
            time.sleep(0.3)
        began_s = time.monotonic()
        daemon.stop()
        code = daemon.wait(STOP_S)
        took_s = time.monotonic() - began_s
        assert watching.wait_for(lambda got: got[-1].payload == b"offline")
    assert code == 0
    figures(f"{took_s:.1f} s")


def test_sigterm_ends_within_five_seconds_with_a_broker_that_hangs_as_well(
    tmp_path: Path, figures: Figures
) -> None:
    with Mosquitto(tmp_path) as broker:
        site = Site(folder=tmp_path, port=broker.port)
        with Subscriber(broker.port, "#") as watching, site.daemon() as daemon:
            assert watching.wait_for(has_predictions(5))
            site.fault.write_text("inference hangs")
            broker.pause()
            try:
                began_s = time.monotonic()
                daemon.stop()
                code = daemon.wait(STOP_S)
                took_s = time.monotonic() - began_s
            finally:
                broker.resume()
    assert code in {0, 1}
    figures(f"{took_s:.1f} s, exit code {code}")
