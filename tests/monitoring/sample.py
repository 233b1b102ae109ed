"""Metrics of a daemon that is nowhere, and what they render to."""

import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from edgeclassifier.contract.frame import Frame
from edgeclassifier.contract.results import CPU, Backend, Latency, ModelIdentity, Result, State
from edgeclassifier.contract.status import (
    AcceleratorStatus,
    BufferStatus,
    CameraStatus,
    MqttStatus,
    PipelineStatus,
    Status,
)
from edgeclassifier.host.system import System
from edgeclassifier.metrics.collector import Metrics
from edgeclassifier.metrics.families import Identity
from edgeclassifier.metrics.tally import Tally

DEADLINE_S, START_DEADLINE_S = 20.0, 300.0
DEGRADED = Backend(name="cpu", degraded=True, reason="it is gone")
CHANGE = State(
    name="cat",
    label="cat",
    class_id=1,
    score=0.9,
    previous_name=None,
    previous_label=None,
    since_s=0.0,
)
PIPELINE = PipelineStatus(
    camera=CameraStatus(state="ok", recoveries=0),
    backend=CPU,
    accelerator=AcceleratorStatus(state="ready"),
    paused=False,
    superseded_frames=0,
    unreadable_frames=0,
)
STATUS = Status(
    uptime_s=0.0,
    excused_s=None,
    progress=Tally(started_s=0.0).progress(now_s=0.0),
    machine=System(root=Path("/nowhere")).status(),
    pipeline=PIPELINE,
    mqtt=MqttStatus(connected=True, published=0, dropped=0, reconnects=0, last_error=None),
    buffer=BufferStatus(pending=0, pending_bytes=0, dropped=0, storage="memory"),
    guests=(),
    reload=None,
    last_crash=None,
)


def status_with(**changes: Any) -> Status:
    """Return STATUS with other values, whichever part of it has the field."""
    status = STATUS
    for name, value in changes.items():
        if name in {field.name for field in fields(PipelineStatus)}:
            status = replace(status, pipeline=replace(status.pipeline, **{name: value}))
        elif name in {field.name for field in fields(MqttStatus)}:
            status = replace(status, mqtt=replace(status.mqtt, **{name: value}))
        else:
            status = replace(status, **{name: value})
    return status


IDENTITY = Identity(
    device="porch",
    camera="cam0",
    version="1.2.3",
    python="3.13.0",
    runtime="litert 2.3",
    model="birds",
    model_sha256="0" * 64,
)


def pi(folder: Path, *, throttled: int = 0, temperature: int = 51250) -> System:
    """Return what a Raspberry Pi says of itself, from files below `folder`."""
    contents = {
        "sys/class/thermal/thermal_zone0/temp": str(temperature),
        "sys/devices/platform/soc/soc:firmware/get_throttled": f"{throttled:x}",
        "proc/self/status": "VmRSS:\t   2048 kB",
        "run/systemd/timesync/synchronized": "",
    }
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return System(root=folder)


def sample(
    folder: Path,
    *,
    status: Callable[[], Status] | Status = STATUS,
    system: System | None = None,
    running_for_s: float = 0.0,
    **identity: str,
) -> Metrics:
    """Return the metrics of a daemon with this status, on a Pi whose files are in `folder`."""
    who, device = replace(IDENTITY, **identity), system or pi(folder)
    started_s = time.monotonic() - running_for_s
    return Metrics(
        tally=Tally(started_s=started_s),
        status=lambda: replace(status() if callable(status) else status, machine=device.status()),
        identity=lambda: who,
        deadline_s=lambda: DEADLINE_S,
        started_s=started_s,
        start_deadline_s=START_DEADLINE_S,
    )


def result(*, age_s: float = 0.0, took_s: float = 0.01, **changes: Any) -> Result:
    """Return the answer for a frame that was captured `age_s` ago."""
    pixels = np.zeros((1, 1, 3), np.uint8)
    frame = Frame(
        pixels=pixels,
        seq=0,
        monotonic_s=time.monotonic() - age_s,
        utc=datetime.now(UTC),
        camera="cam0",
        origin="test",
    )
    latency = Latency(
        capture_s=took_s, preprocess_s=took_s * 2, inference_s=took_s * 3, total_s=took_s * 7
    )
    return replace(
        Result(
            frame=frame,
            crop=pixels,
            predictions=(),
            latency=latency,
            model=ModelIdentity(name="birds", sha256="0" * 64),
            backend=CPU,
        ),
        **changes,
    )


def samples(page: bytes) -> Iterator[Sample]:
    """Parse what render() returns."""
    for family in text_string_to_metric_families(page.decode()):
        yield from family.samples


def value(page: bytes, name: str, **labels: str) -> float | None:
    """Return the value of the one series with this name and at least these labels."""
    found = [
        each.value
        for each in samples(page)
        if each.name == f"edgeclassifier_{name}" and labels.items() <= each.labels.items()
    ]
    assert len(found) <= 1, (name, labels)
    return found[0] if found else None
