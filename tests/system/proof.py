"""A first proof, without any deployment: the daemon by hand, on the machine's two cameras."""

import json
import time
from pathlib import Path
from typing import Any

from support.brokers import Mosquitto, Received, Subscriber

from system.image import Image, Say
from system.machine import HOST_ADDRESS, Machine
from system.wheels import build_wheelhouse

CATS = frozenset({"Egyptian cat", "tabby, tabby cat", "tiger cat"})
"""What the sample picture of a cat is taken for."""

_UNIT = "proof"
_COMMAND = "/opt/proof/bin/edgeclassifier"
_PREDICTIONS = 3
_PREDICTIONS_TIMEOUT_S = 300.0


class ProofError(Exception):
    """The daemon did not do what it should on this machine."""


def prove(image: Image, folder: Path, *, say: Say) -> None:
    """Boot, install the daemon by hand and see predictions of both cameras on this machine.

    Raises ProofError; MachineError.
    """
    with (
        Machine(image, folder, say=say) as machine,
        Mosquitto(folder) as broker,
        Subscriber(broker.port) as subscriber,
    ):
        started_s = time.monotonic()
        build_wheelhouse(folder / "wheelhouse", architecture=image.architecture)
        say(f"wheelhouse: {time.monotonic() - started_s:.0f} s")
        state = machine.start()
        if state != "running":
            raise ProofError(state)
        say(machine.shell.output("systemd-analyze --version | head -1; systemd-analyze; free -m"))
        _install(machine, folder / "wheelhouse", say)
        _run(machine, broker.port, 'source = "picamera2"')
        top = _top_labels(machine, subscriber, say)
        if not set(top) <= CATS:
            raise ProofError(f"the cat was taken for {top}")
        _run(machine, broker.port, 'source = "stream"\n[camera.stream]\nurl = "/dev/video0"')
        _top_labels(machine, subscriber, say)
        machine.stop()


def _install(machine: Machine, wheelhouse: Path, say: Say) -> None:
    started_s = time.monotonic()
    machine.shell.put(wheelhouse, "/root/wheelhouse")
    machine.run(
        "python3 -m venv --system-site-packages /opt/proof && "
        "/opt/proof/bin/pip install --quiet --no-index --no-deps /root/wheelhouse/*.whl",
        timeout_s=1800,
    )
    say(f"installed in the guest: {time.monotonic() - started_s:.0f} s")


def _run(machine: Machine, port: int, camera: str) -> None:
    machine.run(f"systemctl stop {_UNIT} 2>/dev/null; systemctl reset-failed {_UNIT}", check=False)
    machine.shell.write(
        "/root/proof.toml",
        f'[mqtt]\nhost = "{HOST_ADDRESS}"\nport = {port}\n[camera]\n{camera}\n',
    )
    machine.run(
        f"systemd-run --quiet --unit={_UNIT} --property=StateDirectory=proof "
        f"{_COMMAND} run --config /root/proof.toml"
    )


def _top_labels(machine: Machine, subscriber: Subscriber, say: Say) -> list[str]:
    started_s = time.monotonic()
    subscriber.clear()

    def predictions(messages: list[Received]) -> list[dict[str, Any]]:
        return [
            json.loads(message.payload)
            for message in messages
            if message.topic.endswith("/predictions")
        ]

    if not subscriber.wait_for(
        lambda messages: len(predictions(messages)) >= _PREDICTIONS, _PREDICTIONS_TIMEOUT_S
    ):
        raise ProofError(machine.shell.output(f"journalctl --no-pager -u {_UNIT} | tail -50"))
    seen = predictions(subscriber.messages)
    first = seen[0]
    say(
        f"{first['origin']}: {len(seen)} predictions within {time.monotonic() - started_s:.1f} s, "
        f"first {first['predictions']}, {first['latency_ms']}"
    )
    return [each["predictions"][0]["label"] for each in seen]
