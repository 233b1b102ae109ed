"""`edgeclassifier demo`: the daemon on sample pictures, seen from a subscriber."""

import argparse
import json
import logging
import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgeclassifier.commands.common import Subparsers
from edgeclassifier.errors import BrokerError, DownloadError, ModelError
from edgeclassifier.host import children
from edgeclassifier.host.signals import StopSignal
from edgeclassifier.host.terminal import lines

log = logging.getLogger(__name__)

_DEVICE = "demo"
_DOWNLOAD_S = 60.0
_SILENCE_S = 5.0
_STOP_TIMEOUT_S = 10.0
_FIRST_PREDICTION_S = 60.0
_POLL_S = 0.2
_COLUMN = 24


def add_parser(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "demo",
        help="try it: sample pictures, its own MQTT broker, live predictions",
        description="Run the daemon on the sample pictures with an embedded MQTT broker, and show "
        "each prediction as a subscriber gets it. Ctrl-C stops it.",
    )
    parser.add_argument("--count", type=int, metavar="N", help="stop after N predictions")
    parser.add_argument(
        "--rate", type=float, default=1.0, metavar="HZ", help="pictures each second"
    )
    parser.add_argument(
        "--pictures", metavar="PATH", help="a picture, a folder or a glob instead of the samples"
    )
    parser.add_argument(
        "--no-download", action="store_true", help="do not try to download Inception v3"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show predictions until Ctrl-C."""
    from edgeclassifier.compose.golden import SAMPLE_PICTURES
    from edgeclassifier.host import localbroker

    try:
        model, reason = _choose_model(download=not args.no_download)
    except KeyboardInterrupt:
        return 0
    stop = StopSignal()
    stop.install()
    pictures = args.pictures or SAMPLE_PICTURES
    with localbroker.amqtt() as broker:
        _say(f"model   {model}: {reason}")
        _say(f"broker  {broker.name} on {localbroker.LOOPBACK}:{broker.port}, for this demo only")
        _say(
            "watch   mosquitto_sub -h "
            f"{localbroker.LOOPBACK} -p {broker.port} -t 'edgeclassifier/#' -v"
        )
        _say("stop    Ctrl-C\n")
        settings = {
            "device.id": _DEVICE,
            "camera.source": "replay",
            "camera.replay.path": str(Path(pictures).absolute()),
            "camera.replay.rate_hz": args.rate,
            "camera.deadline_s": max(10.0, 3 / args.rate if args.rate else 0.0),
            "model.name": model,
            "mqtt.host": localbroker.LOOPBACK,
            "mqtt.port": broker.port,
            "mqtt.protocol": broker.protocol,
            "mqtt.max_rate_hz": 0.0,
            "log.level": "warning",
        }
        with (
            _subscribed(broker.port) as predictions,
            children.daemon(settings, stop_timeout_s=_STOP_TIMEOUT_S) as process,
        ):
            return _show(predictions, process, stop, count=args.count)


def _choose_model(*, download: bool) -> tuple[str, str]:
    from edgeclassifier.compose.model import BUNDLED_MODEL, PREFERRED_MODEL, model_store
    from edgeclassifier.models.catalogue import CATALOGUE
    from edgeclassifier.models.download import fetch

    preferred = CATALOGUE[PREFERRED_MODEL]
    try:
        store = model_store("")
        if preferred.name in {each.name for each in store.installed()}:
            return preferred.name, "installed"
        if not download:
            return BUNDLED_MODEL, "bundled"
        _say(f"looking for {preferred.name} on the network, at most {_DOWNLOAD_S:.0f} s")
        fetch(
            preferred,
            store,
            attempts=1,
            timeout_s=_SILENCE_S,
            total_timeout_s=_DOWNLOAD_S,
            show_progress=True,
        )
    except (DownloadError, ModelError) as error:
        log.debug("%s", error)
        said = f"{preferred.name} could not be downloaded ({error.__cause__ or error})"
        return BUNDLED_MODEL, f"bundled; {said}"
    return preferred.name, "downloaded"


@contextmanager
def _subscribed(port: int) -> "Iterator[queue.SimpleQueue[dict[str, Any]]]":
    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.enums import CallbackAPIVersion

    from edgeclassifier.host.localbroker import LOOPBACK

    received: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def on_message(_client: Client, _userdata: object, message: MQTTMessage) -> None:
        received.put(json.loads(message.payload))

    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    try:
        client.connect(LOOPBACK, port)
    except OSError as error:
        raise BrokerError(f"the demo's broker does not answer: {error}") from None
    client.subscribe(f"edgeclassifier/{_DEVICE}/+/predictions", qos=1)
    client.loop_start()
    try:
        yield received
    finally:
        client.disconnect()
        client.loop_stop()


def _show(
    predictions: "queue.SimpleQueue[dict[str, Any]]",
    process: "subprocess.Popen[bytes]",
    stop: StopSignal,
    *,
    count: int | None,
) -> int:
    shown = 0
    deadline_s = time.monotonic() + _FIRST_PREDICTION_S
    while not stop.is_set() and shown != count:
        try:
            _print_prediction(predictions.get(timeout=_POLL_S))
            shown += 1
        except queue.Empty:
            if (code := process.poll()) is not None:
                return code
            if not shown and time.monotonic() > deadline_s:
                raise BrokerError("no prediction has arrived at the subscriber") from None
    _say(f"\n{shown} predictions received, stopped")
    return 0


def _print_prediction(payload: dict[str, Any]) -> None:
    shown = [f"{each['name']} {each['score']:.1%}" for each in payload["predictions"]]
    best = "  ".join(f"{each:<{_COLUMN}}" for each in shown)
    _say(f"{payload['origin']:<20.20} {best} {payload['latency_ms']['inference']:7.1f} ms")


def _say(line: str) -> None:
    sys.stdout.write(lines(line) + "\n")
    sys.stdout.flush()
