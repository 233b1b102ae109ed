"""Says whether the daemon does its work, as a subscriber would see it: exit code 0 if it does.

The unit has to be active, `availability` online, a prediction captured after the start of this
program has to arrive, and after a while it all has to hold still, without a restart in between.
Instead of the prediction, `health` may say that the daemon was paused on request. If systemd has
given up, or has started the daemon again several times, it is not waited for.
Runs with the Python of a release, as root, on the device.
"""

import argparse
import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

UNIT = "edgeclassifier.service"
CONFIG = Path("/etc/edgeclassifier/config.toml")
_STEP_S = 0.5
_STARTING_S = 5.0
_HEALTH_LATE_S = 15.0
_MOST_RESTARTS = 3
"""An old process that still holds the camera costs one; a daemon that ends each time, all."""


class Broker:
    """What a subscriber to this device's topics has seen."""

    def __init__(self, access: Any, topics: Any, *, health_interval_s: float) -> None:
        """Prepare to subscribe, as the daemon's own user but with a client id of its own."""
        from paho.mqtt.client import Client, MQTTv5, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        self._access = access
        self._topics = [topics.availability, topics.health, topics.predictions]
        self._connecting = False
        self.problem = "not connected yet"
        self.availability = "unknown"
        self.captured = datetime.min.replace(tzinfo=UTC)
        self.label = ""
        self.paused = False
        self.reported = self.captured
        self.report_lasts_s = health_interval_s + _HEALTH_LATE_S
        who = "a client without user name" if access.username is None else access.username
        self._may_not = f"the broker does not let {who} read {topics.base}/#, which it has to"
        self.silence = f"nothing arrives: the daemon has not reached the broker, or {self._may_not}"
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{access.client_id}-gate",
            protocol=MQTTv5 if access.protocol == "5" else MQTTv311,
        )
        if access.username is not None:
            self._client.username_pw_set(access.username, access.password)
        if access.tls is not None:
            self._client.tls_set_context(access.tls)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def step(self) -> None:
        """Connect if there is no connection, and take what has arrived."""
        if not self._client.is_connected() and not self._connecting:
            try:
                self._client.connect(self._access.host, self._access.port)
                self._connecting = True
            except OSError as error:
                self.problem = f"{self._access}: {error}"
                time.sleep(_STEP_S)
                return
        if self._client.loop(_STEP_S) != 0:
            self._connecting = False
            time.sleep(_STEP_S)

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        self.problem = f"{self._access}: {reason}" if reason.is_failure else ""
        if not reason.is_failure:
            client.subscribe([(topic, 1) for topic in self._topics])

    def _on_subscribe(self, _client: Any, _data: Any, _id: int, reasons: Any, _more: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self.problem = f"{self._may_not} ({refused[0]})"

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        availability, health, _ = self._topics
        if not message.payload:
            return  # cleared by a device that has left this name
        if message.topic == availability:
            self.availability = message.payload.decode(errors="replace")
            return
        if message.topic == health:
            report = json.loads(message.payload)
            self.paused = report.get("paused", False)
            self.reported = datetime.fromisoformat(report["timestamp"])
            return
        prediction = json.loads(message.payload)
        self.captured = max(self.captured, datetime.fromisoformat(prediction["timestamp"]))
        best = prediction["predictions"][:1]
        # A release to go back to may send no name.
        name = (best[0].get("name") or best[0]["label"]) if best else ""
        self.label = f"{name} {best[0]['score']:.2f}" if best else "nothing"


def unit_state() -> dict[str, str]:
    """Ask systemd about the unit."""
    keys = "ActiveState,SubState,InvocationID,NRestarts,ExecMainStatus,Result"
    keys += ",ExecMainStartTimestampMonotonic"
    shown = subprocess.run(  # noqa: S603 - fixed arguments
        ["/usr/bin/systemctl", "show", UNIT, "--property", keys],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def missing(unit: dict[str, str], broker: Broker, *, since: datetime) -> str:
    """Say what is not as it has to be; nothing if all is well."""
    if unit["ActiveState"] != "active":
        return (
            f"the unit is {unit['ActiveState']} ({unit['SubState']}, result {unit['Result']}, "
            f"exit code {unit['ExecMainStatus']}, {unit['NRestarts']} restarts)"
        )
    if broker.problem:
        return broker.problem
    if broker.availability == "unknown":
        return broker.silence
    if broker.availability != "online":
        return f"availability is {broker.availability}"
    if broker.captured < since and not is_paused(unit, broker):
        return "no prediction of a new frame has arrived"
    return ""


def is_paused(unit: dict[str, str], broker: Broker) -> bool:
    """Tell whether this very process was paused on request, as its newest health says.

    A restart ends a pause, but the broker keeps what the process before it has said.
    """
    if not broker.paused:
        return False
    runs_for_s = time.monotonic() - int(unit["ExecMainStartTimestampMonotonic"]) / 1e6
    age_s = (datetime.now(UTC) - broker.reported).total_seconds()
    return age_s <= min(runs_for_s, broker.report_lasts_s)


def watch(broker: Broker, *, deadline_s: float, settle_s: float) -> str:
    """Return nothing once all has held for `settle_s`, or what was missing at the deadline."""
    began_s = time.monotonic()
    since, invocation, fewest = datetime.now(UTC), "", sys.maxsize
    ended = ""
    while True:
        broker.step()
        unit, after_s = unit_state(), time.monotonic() - began_s
        # systemd counts from zero once it has taken up the start that brought us here.
        fewest = min(fewest, int(unit["NRestarts"]))
        if invocation and unit["InvocationID"] != invocation:
            say(f"started again after {after_s:.1f} s")
            since, invocation = datetime.now(UTC), ""
        problem = missing(unit, broker, since=since)
        if unit["SubState"] == "auto-restart":
            ended = problem
        if not problem:
            say(f"active, online, {broker.label or 'paused'} after {after_s:.1f} s")
            if invocation:
                return ""
            invocation = unit["InvocationID"]
            since = datetime.now(UTC) + timedelta(seconds=settle_s)
        elif unit["ActiveState"] == "failed" and after_s >= _STARTING_S:
            return f"{problem}; systemd will not start it again"
        elif int(unit["NRestarts"]) - fewest >= _MOST_RESTARTS:
            return f"{ended or problem}; it ends each time"
        elif after_s >= deadline_s:
            return f"{problem}, {after_s:.0f} s after the start"


def say(text: str) -> None:
    """Tell the user who deploys."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Watch with the configuration of the device."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deadline-s", type=float, default=180.0)
    parser.add_argument("--settle-s", type=float, default=10.0)
    args = parser.parse_args()
    from edgeclassifier.compose.broker import broker_access
    from edgeclassifier.compose.publisher import publisher_settings
    from edgeclassifier.config import load_config
    from edgeclassifier.errors import EdgeclassifierError

    try:
        config = load_config(CONFIG)
        topics = publisher_settings(config).topics
        broker = Broker(
            broker_access(config.mqtt, device=topics.device),
            topics,
            health_interval_s=config.mqtt.health_interval_s,
        )
    except EdgeclassifierError as error:
        say(f"not healthy: {error}")
        return error.exit_code
    problem = watch(broker, deadline_s=args.deadline_s, settle_s=args.settle_s)
    say(f"not healthy: {problem}" if problem else "healthy")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
