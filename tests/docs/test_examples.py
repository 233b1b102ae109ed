"""The example in Python misses nothing, takes nothing twice, and tells late from new."""

import hashlib
import importlib.util
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from paho.mqtt.client import MQTTMessage
from support.brokers import (
    PATIENCE_S,
    Mosquitto,
    Subscriber,
    make_certificates,
    needs_mosquitto,
    needs_openssl,
    wait_until,
)
from support.device import has_predictions
from support.examples import EXAMPLES, event, unhurried

from edgeclassifier.contract.messages import timestamp

SCRIPT = EXAMPLES / "subscribe.py"
UNACKNOWLEDGED = 20
"""What mosquitto sends again to somebody who left without a word."""


@dataclass
class Followed:
    """What one run of the script has written."""

    process: subprocess.Popen[bytes]
    output: Path
    log: Path

    @property
    def rows(self) -> list[list[str]]:
        complete, _, _ = self.output.read_text().rpartition("\n")
        return [line.split("\t") for line in complete.splitlines()]

    @property
    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def numbers(self, device: str) -> list[int]:
        return [int(row[3]) for row in self.rows if row[1] == device]

    def says(self, text: str) -> bool:
        return wait_until(lambda: any(text in line for line in self.lines))

    def goes_on(self, more: int = 20) -> bool:
        before = len(self.rows)
        return wait_until(lambda: len(self.rows) >= before + more)


@dataclass
class Follower:
    """Somebody who runs the script again and again."""

    folder: Path
    options: tuple[object, ...]
    runs: list[Followed] = field(default_factory=list)

    @contextmanager
    def run(self) -> Iterator[Followed]:
        """Run it until Ctrl-C."""
        output, log = (self.folder / f"{len(self.runs)}.{kind}" for kind in ("out", "log"))
        with output.open("wb") as out, log.open("wb") as err:
            command = [sys.executable, str(SCRIPT), *map(str, self.options)]
            process = subprocess.Popen(command, stdout=out, stderr=err)
        self.runs.append(followed := Followed(process, output, log))
        try:
            yield followed
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 0, followed.lines
        finally:
            process.kill()
            process.wait()


def follower(folder: Path, port: int, *options: object, root: str = "edgeclassifier") -> Follower:
    name = folder.name
    always = ("--host", "127.0.0.1", "--port", port, "--root", root, "--client-id", name)
    return Follower(folder, (*always, *options))


# subscribe.py


@needs_mosquitto
def test_nothing_is_missed_and_nothing_is_taken_twice(tmp_path: Path) -> None:
    """Whoever restarts: the broker, the daemon, the script; and whatever the broker repeats."""
    kept = ("persistence true", f"persistence_location {tmp_path}/", "max_queued_messages 0")
    with (
        Mosquitto(tmp_path, lines=kept) as broker,
        Subscriber(broker.port) as watching,
        ExitStack() as running,
    ):
        site = unhurried(tmp_path, broker)
        script = follower(tmp_path, broker.port, root=tmp_path.name)
        broker.stop()
        with script.run() as first:
            assert first.says("does not answer")
            broker.start()
            assert first.says("Success")
            with site.daemon() as daemon:
                assert daemon.wait_for_line("connected"), daemon.lines
                assert first.goes_on(), (first.lines, daemon.lines)
                for each in [each for each in watching.messages if "/cam0/" in each.topic][:10]:
                    watching.publish(each.topic, each.payload)
                assert first.goes_on(), (first.lines, daemon.lines)
                broker.stop()
                broker.start()
                assert first.goes_on(), (first.lines, daemon.lines)
                daemon.stop()
                assert daemon.wait() == 0, daemon.lines
            assert first.says("porch: offline")
            # Another device: the same one would take its earlier name from the broker.
            shed = {"id": "shed", "state_directory": str(site.folder / "shed")}
            site.settings["device"] |= shed
            daemon = running.enter_context(site.daemon())
            assert daemon.wait_for_line("connected"), daemon.lines
            assert wait_until(lambda: len(first.numbers("shed")) > 20), daemon.lines
        # Nobody listens, and the broker keeps it.
        watching.clear()
        assert watching.wait_for(has_predictions(20)), daemon.lines
        with script.run() as second:
            assert second.says("porch: offline"), "what is retained is told again"
            assert second.says("shed: online")
            daemon.stop()
            assert daemon.wait() == 0, daemon.lines
            assert second.says("shed: offline")
    before, after = first.numbers("shed"), second.numbers("shed")
    assert sorted({*before, *after}) == list(range(max(after) + 1))
    for numbers in (first.numbers("porch"), before, after):
        assert len(numbers) == len(set(numbers))
    assert sorted(first.numbers("porch")) == list(range(len(first.numbers("porch"))))
    assert len({*before} & {*after}) <= UNACKNOWLEDGED


@needs_mosquitto
def test_late_is_told_from_new_where_anybody_can_know(tmp_path: Path, broker: Mosquitto) -> None:
    old = timestamp(datetime.now(UTC) - timedelta(seconds=90))
    topic = f"{tmp_path.name}/porch/cam0/event"
    garbage = [b"", b"no json", b"[]", b'{"boot_id": 1}', b'{"boot_id": "a", "seq": []}']
    garbage.append(json.dumps({**event(4), "label": None, "score": "high"}).encode())
    with (
        Subscriber(broker.port) as sender,
        follower(tmp_path, broker.port, root=tmp_path.name).run() as followed,
    ):
        assert followed.says("Success")
        for state in ("online", "online", "offline", "online"):
            sender.publish(f"{tmp_path.name}/porch/availability", state)
        of_0_1_0 = event(1, timestamp=old)
        del of_0_1_0["name"], of_0_1_0["previous_name"]
        for number, payload in enumerate(
            (event(0), of_0_1_0, event(2, timestamp=old, clock_synchronized=False))
        ):
            sender.publish(topic, garbage[number])
            sender.publish(topic, json.dumps(payload))
        for each in garbage[3:]:
            sender.publish(topic, each)
        sender.publish(topic, json.dumps(event(3)))
        assert wait_until(lambda: len(followed.rows) == 4), followed.lines
    ages = [row[4] for row in followed.rows]
    assert (ages[0], ages[2], ages[3]) == ("new", "clock not set", "new")
    assert re.fullmatch(r"9\d\.\d s late", ages[1])
    assert [row[5] for row in followed.rows[:2]] == ["junco 75%", "junco, snowbird 75%"]
    told = [line for line in followed.lines if line.startswith("porch")]
    assert told == ["porch: online", "porch: offline", "porch: online"]
    assert sum("passed over" in line for line in followed.lines) == len(garbage)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("subscribe", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    taken: list[int] = []
    monkeypatch.setattr(module, "REMEMBERED", 3)
    monkeypatch.setattr(module, "handle", lambda *given: taken.append(given[2]["seq"]))
    subject = module.Follower("edgeclassifier")
    for seq in (0, 1, 0, 1, 2, 3, 4, 2, 3, 4, 0):
        message = MQTTMessage(topic=b"edgeclassifier/porch/cam0/event")
        message.payload = json.dumps(event(seq)).encode()
        subject.on_message(None, None, message)
    assert taken == [0, 1, 2, 3, 4, 0]
    assert [len(each) for each in subject.seen.values()] == [3]


@needs_mosquitto
def test_an_event_comes_with_its_own_picture(tmp_path: Path, broker: Mosquitto) -> None:
    site = unhurried(tmp_path, broker)
    site.settings["image"] = {"enabled": True, "on": "event"}
    site.settings["state"] = {"threshold": 0.0, "window_s": 0.0, "hold_s": 0.0}
    folder = tmp_path / "pictures"
    script = follower(tmp_path, broker.port, "--pictures", folder, root=tmp_path.name)
    with Subscriber(broker.port, f"{tmp_path.name}/#") as watching, script.run() as followed:
        assert followed.says("Success")
        with site.daemon() as daemon:
            shown = wait_until(lambda: sum(row[2] == "event" for row in followed.rows) > 5)
            assert shown, (followed.lines, daemon.lines)
        missing = event(10**6, picture=None, picture_missing="buffer")
        watching.publish(f"{tmp_path.name}/porch/cam0/event", json.dumps(missing))
        assert wait_until(lambda: followed.rows[-1][3] == "1000000"), followed.lines
    events = {
        payload["seq"]: payload["picture"]
        for each in watching.messages
        if each.topic.endswith("/event") and (payload := json.loads(each.payload))
    }
    for row in [row for row in followed.rows if row[2] == "event"][:-1]:
        saved = Path(row[6])
        assert saved.parent == folder
        digest = hashlib.sha256(saved.read_bytes()).hexdigest()
        assert events[int(row[3])]["sha256"] == digest
    assert followed.rows[-1][6] == "buffer"
    assert not any(len(row) > 6 for row in followed.rows if row[2] != "event")


@needs_mosquitto
@needs_openssl
def test_it_logs_in_over_tls(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    tls = (made.server_cert, made.server_key)
    password = tmp_path / "password"
    with Mosquitto(tmp_path, passwords={"table": "right"}, tls=tls) as broker:
        secret = ("--username", "table", "--password-file", password)
        script = follower(tmp_path, broker.port, *secret, "--ca-file", made.ca)
        for content, said in (("wrong\n", "Not authorized"), ("right\n", "Success")):
            password.write_text(content)
            with script.run() as followed:
                assert followed.says(said), (followed.lines, broker.log)
