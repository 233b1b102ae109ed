#!/usr/bin/env python3
"""Follow edgeclassifier devices without missing a message or taking one twice.

Needs paho-mqtt 2 and a broker that speaks MQTT 5. Copy it, and put your own work into `handle`.
"""

import argparse
import contextlib
import hashlib
import json
import logging
import socket
from collections import OrderedDict, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

KINDS = ("predictions", "state", "event")
KEPT_BY_BROKER_S = 24 * 3600  # while this program is not there
LATE_S = 10.0  # what is older has waited, on the device or at the broker
REMEMBERED = 10_000  # newest messages of each topic, by which a repeat is known

log = logging.getLogger("subscribe")


def handle(
    device: str, kind: str, payload: dict[str, Any], age_s: float | None, picture: Path | None
) -> None:
    """Do something with a new message; `age_s` is None if the device's clock is not set.

    `picture` is the file with the picture of an event, if it has one and --pictures is given.
    """
    found = next(iter(payload["predictions"]), {}) if kind == "predictions" else payload
    age = "clock not set" if age_s is None else f"{age_s:.1f} s late" if age_s > LATE_S else "new"
    # A device with version 0.1.0 sends no name.
    name = found.get("name") or found.get("label")
    seen = f"{name} {found['score']:.0%}" if found else "unknown"
    columns = [payload["timestamp"], device, kind, payload["seq"], age, seen]
    if "picture" in payload:
        columns.append(picture or payload.get("picture_missing") or "not saved")
    print(*columns, sep="\t", flush=True)  # noqa: T201 - its output


class Follower:
    """Tells new messages from repeats, and devices that are there from those that are not."""

    def __init__(self, root: str, pictures: Path | None = None) -> None:
        """Save pictures in a folder, if one is given."""
        self.root = root
        self.pictures = pictures
        self.online: dict[str, bool] = {}
        self.seen: defaultdict[str, OrderedDict[object, None]] = defaultdict(OrderedDict)

    def on_connect(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, *_: object
    ) -> None:
        """Subscribe on every connection: the broker may have forgotten."""
        log.info("broker: %s", reason)
        kinds = ["availability", *(f"+/{kind}" for kind in KINDS)]
        kinds += ["+/image"] if self.pictures else []
        client.subscribe([(f"{self.root}/+/{kind}", 1) for kind in kinds])

    def on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        """Take a message, which is acknowledged when this returns."""
        device, *_, kind = message.topic.removeprefix(f"{self.root}/").split("/")
        if kind == "availability":
            online = message.payload == b"online"
            if self.online.get(device) is not online:
                log.info("%s: %s", device, "online" if online else "offline")
            self.online[device] = online
            return
        if kind == "image":
            self.save(message.payload)
            return
        seen = self.seen[message.topic]
        try:
            payload = json.loads(message.payload)
            number = str(payload["boot_id"]), int(payload["seq"])
            if number not in seen:
                handle(device, kind, payload, age(payload), self.saved(payload))
                seen[number] = None
        except (ValueError, LookupError, TypeError):
            log.exception("%s: passed over", message.topic)  # else it would come again for ever
        if len(seen) > REMEMBERED:
            seen.popitem(last=False)

    def save(self, jpeg: bytes) -> None:
        """Save a picture, which comes before its event, under the name that the event will know."""
        if self.pictures:
            name = hashlib.sha256(jpeg).hexdigest()
            unfinished = self.pictures / f"{name}.part"
            unfinished.write_bytes(jpeg)
            unfinished.replace(self.pictures / f"{name}.jpg")

    def saved(self, payload: dict[str, Any]) -> Path | None:
        """Return the file with the picture of this very message, None if it has none."""
        if not self.pictures or not payload.get("picture"):
            return None
        file = self.pictures / f"{int(payload['picture']['sha256'], 16):064x}.jpg"
        return file if file.exists() else None


def age(payload: dict[str, Any]) -> float | None:
    """Return how many seconds ago the picture was taken, None if that cannot be known."""
    then = datetime.fromisoformat(payload["timestamp"])
    return (datetime.now(UTC) - then).total_seconds() if payload["clock_synchronized"] else None


def main() -> None:
    """Follow all devices below a root until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, help="default: 1883, or 8883 with TLS")
    parser.add_argument("--root", default="edgeclassifier", help="what all topics begin with")
    parser.add_argument("--username")
    parser.add_argument("--password-file", type=Path)
    parser.add_argument("--tls", action="store_true", help="with the system's authorities, or")
    parser.add_argument("--ca-file", help="with this one")
    parser.add_argument(
        "--client-id",
        default=f"edgeclassifier-subscriber-{socket.gethostname()}",
        help="the broker keeps messages under this name: no other program may have it",
    )
    parser.add_argument("--pictures", type=Path, help="folder to save the pictures of events in")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    client = Client(CallbackAPIVersion.VERSION2, client_id=args.client_id, protocol=MQTTv5)
    if args.username:
        password = args.password_file.read_text().strip() if args.password_file else None
        client.username_pw_set(args.username, password)
    if args.tls or args.ca_file:
        client.tls_set(args.ca_file)
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
    follower = Follower(args.root, args.pictures)
    client.on_connect = follower.on_connect
    client.on_message = follower.on_message
    client.on_connect_fail = lambda *_: log.info("broker: it does not answer, trying again")
    client.on_disconnect = lambda _client, _data, _flags, reason, _: log.info("broker: %s", reason)
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = KEPT_BY_BROKER_S
    port = args.port or (8883 if args.tls or args.ca_file else 1883)
    client.reconnect_delay_set(min_delay=1, max_delay=30)
    client.connect_async(args.host, port, 30, clean_start=False, properties=session)
    with contextlib.suppress(KeyboardInterrupt):
        client.loop_forever(retry_first_connection=True)
    client.disconnect()


if __name__ == "__main__":
    main()
