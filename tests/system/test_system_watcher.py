"""The subscriber that watches a virtual device, with a broker that goes away."""

import json
from pathlib import Path

from paho.mqtt import publish
from support.brokers import Mosquitto, needs_mosquitto

from system.watcher import BROKER, Seen, Watcher, numbers_of_the_run

TOPIC = "edgeclassifier/porch/state"


@needs_mosquitto
def test_what_is_retained_is_not_seen_again_after_the_broker_was_away(tmp_path: Path) -> None:
    lines = (*BROKER, f"persistence_location {tmp_path}/")
    with Mosquitto(tmp_path, lines=lines) as broker, Watcher(broker.port) as watcher:

        def see(payload: bytes) -> None:
            publish.single(TOPIC, payload, qos=1, retain=True, port=broker.port)
            watcher.wait_for(
                payload.decode(), lambda each: each.payload == payload, mark=0, timeout_s=20
            )

        see(b"before")
        broker.stop()
        broker.start()
        see(b"after")
        see(b"last")

        seen = [each.payload for each in watcher.since(0)]
        assert seen == [b"before", b"after", b"last"]


def message(kind: str, run: str, number: int) -> Seen:
    payload = {"boot_id": run, "seq": number}
    return Seen(0.0, f"edgeclassifier/porch/cam0/{kind}", json.dumps(payload).encode())


def test_what_is_sent_again_is_no_gap_and_another_run_is_not_counted() -> None:
    kinds = ["predictions", "state", "predictions", "predictions", "state", "predictions"]
    runs = ["a", "b", "b", "b", "b", "b"]
    seen = [message(*each) for each in zip(kinds, runs, [9, 0, 1, 2, 0, 4], strict=True)]
    health = Seen(0.0, "edgeclassifier/porch/health", b"{}")
    assert numbers_of_the_run([*seen, health]) == {0, 1, 2, 4}
