"""Renders a snapshot of the daemon as families of metrics, named as Prometheus wants them.

Every series has the label `device`, so that one folder can hold the files of several daemons. No
label grows with time: those that name a model, a version or a camera change when a person changes
them. The stable label is not among them: a thousand classes on each device would be a thousand
series, and MQTT has it, with a time. Here its changes are counted.

A released name keeps its text: if two files describe a name differently, the node exporter drops
the series of one.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args, get_type_hints

from edgeclassifier.contract.status import (
    AcceleratorFault,
    AcceleratorState,
    AcceleratorStatus,
    CameraStatus,
    Status,
    View,
)
from edgeclassifier.host.system import THROTTLING_CONDITIONS
from edgeclassifier.metrics.maker import Maker
from edgeclassifier.metrics.probes import Verdict
from edgeclassifier.metrics.tally import Counts

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_CAMERA_STATES: Collection[str] = get_args(get_type_hints(CameraStatus)["state"])
_VIEWS: Collection[str] = get_args(View)
_ACCELERATOR_STATES: Collection[str] = get_args(AcceleratorState)
_FAULTS: Collection[str] = get_args(AcceleratorFault)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The daemon and what it runs, as values of labels."""

    device: str
    camera: str
    version: str
    python: str
    runtime: str
    model: str
    model_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The daemon at one moment."""

    identity: Identity
    counts: Counts
    status: Status
    healthy: Verdict
    ready: Verdict
    uptime_s: float
    started_at_s: float
    """Since 1970, by the clock as it was at the start."""
    frame_age_s: float | None
    deadline_s: float
    cpu_s: float


def families(at: Snapshot) -> Iterator["Metric"]:
    """Render everything that is known."""
    make = Maker(at.identity.device)
    yield from running(at.identity.device, now=True)
    yield from _daemon(make, at)
    yield from _frames(make, at)
    yield from _camera(make, at)
    yield from _backend(make, at)
    if at.status.pipeline.accelerator is not None:
        yield from _accelerator(make, at.status.pipeline.accelerator)
    yield from _messages(make, at.status)
    yield from _machine(make, at)


def running(device: str, *, now: bool) -> Iterator["Metric"]:
    """Render whether the daemon runs: the only metric after it has ended."""
    yield Maker(device).gauge("running", "Whether the daemon runs.", now)


def _daemon(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    who, status = at.identity, at.status
    yield make.info(
        "build",
        "Versions of the daemon, of Python and of the runtime.",
        {"version": who.version, "python": who.python, "runtime": who.runtime},
    )
    yield make.info("model", "The model in use.", {"model": who.model, "sha256": who.model_sha256})
    yield make.gauge("uptime_seconds", "Time since the daemon started.", at.uptime_s)
    yield make.gauge(
        "start_time_seconds",
        "Start of the daemon by the device's clock, which may have been wrong then.",
        at.started_at_s,
    )
    yield make.gauge(
        "healthy", "Whether the daemon is making progress, as in /healthz.", at.healthy.ok
    )
    yield make.gauge("ready", "Whether predictions are published, as in /readyz.", at.ready.ok)
    yield make.gauge("paused", "Whether classifying is paused.", status.pipeline.paused)
    yield make.gauge(
        "started_after_crash",
        "Whether the previous run crashed.",
        status.last_crash is not None,
    )
    yield make.gauge(
        "config_last_reload_successful",
        "Whether the last reload was applied; 1 if there was none.",
        status.reload is None or status.reload.status != "refused",
    )


def _frames(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    counts, pipeline = at.counts, at.status.pipeline
    yield make.counter(
        "frames",
        "Frames answered by the model, or by the previous answer if nothing has changed.",
        {"classified": counts.classified, "repeated": counts.repeated},
        label="answer",
    )
    if at.frame_age_s is not None:
        yield make.gauge(
            "frame_age_seconds",
            "Time since the capture of the newest answered frame.",
            at.frame_age_s,
        )
    yield make.gauge(
        "frame_deadline_seconds", "Frame age above which the daemon is not healthy.", at.deadline_s
    )
    yield make.histogram(
        "stage_duration_seconds",
        "Duration of each stage for classified frames.",
        counts.stages,
        label="stage",
    )
    yield make.histogram(
        "frame_latency_seconds",
        "From the capture of a classified frame to its answer, including waiting.",
        counts.latency,
    )
    yield make.counter(
        "dropped_frames",
        "Frames not answered: replaced by a newer one, or not decodable.",
        {"superseded": pipeline.superseded_frames, "unreadable": pipeline.unreadable_frames},
        label="reason",
    )
    yield make.counter("label_changes", "Changes of the stable label.", counts.label_changes)


def _camera(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    camera = at.status.pipeline.camera
    yield make.info("camera", "The camera.", {"camera": at.identity.camera})
    text = "State of the camera: 1 for the present state."
    yield make.states("camera_state", text, "state", _CAMERA_STATES, [camera.state])
    text = "Whether a live camera sees anything: 1 for the present view."
    yield make.states("camera_view", text, "view", _VIEWS, [camera.view])
    yield make.counter("camera_recoveries", "How often the camera was reopened.", camera.recoveries)


def _backend(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    backend = at.status.pipeline.backend
    yield make.info("backend", "The backend that runs the model.", {"backend": backend.name})
    yield make.gauge("degraded", "Whether the CPU replaces an accelerator.", backend.degraded)
    yield make.counter(
        "fallbacks", "How often the CPU took over from an accelerator.", at.counts.fallbacks
    )


def _accelerator(make: Maker, status: AcceleratorStatus) -> Iterator["Metric"]:
    text = "State of the accelerator: 1 for the present state."
    yield make.states("accelerator_state", text, "state", _ACCELERATOR_STATES, [status.state])
    faults = [] if status.fault is None else [status.fault]
    text = "Fault of the accelerator: 1 for the present fault."
    yield make.states("accelerator_fault", text, "fault", _FAULTS, faults)
    yield make.counter(
        "accelerator_failures",
        "Faults of the accelerator, including failed attempts to reopen it.",
        status.failures,
    )
    yield make.counter(
        "accelerator_returns", "How often the accelerator recovered.", status.returns
    )


def _messages(make: Maker, status: Status) -> Iterator["Metric"]:
    mqtt, buffer = status.mqtt, status.buffer
    yield make.gauge("mqtt_connected", "Whether the broker is connected.", mqtt.connected)
    yield make.counter("mqtt_reconnects", "How often the connection was restored.", mqtt.reconnects)
    yield make.counter("published_messages", "Messages accepted for delivery.", mqtt.published)
    yield make.counter(
        "dropped_messages",
        "Messages lost, including those dropped by the buffer.",
        mqtt.dropped,
    )
    yield make.counter(
        "buffer_dropped_messages",
        "Messages replaced by newer ones in the buffer, or lost by its disk.",
        buffer.dropped,
    )
    yield make.gauge(
        "buffer_pending_messages",
        "Messages in the buffer that the broker has not acknowledged yet.",
        buffer.pending,
    )
    yield make.gauge(
        "buffer_pending_bytes",
        "Size of the buffer's messages as counted against buffer.max_mib.",
        buffer.pending_bytes,
    )
    yield make.gauge(
        "buffer_problem",
        "Whether messages are kept in memory although they should be on disk.",
        buffer.problem is not None,
    )
    yield make.counter("buffer_commits", "Writes of the buffer to its disk.", buffer.commits)
    yield make.counter(
        "buffer_written_bytes",
        "Size of the messages that the buffer wrote to its disk.",
        buffer.written_bytes,
    )


def _machine(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    yield make.counter("process_cpu_seconds", "CPU time of the daemon's process.", at.cpu_s)
    if at.status.machine.memory_rss_bytes is not None:
        yield make.gauge(
            "process_resident_memory_bytes",
            "Resident memory of the daemon's process.",
            at.status.machine.memory_rss_bytes,
        )
    yield make.gauge(
        "clock_synchronized",
        "Whether the device's clock is synchronized.",
        at.status.machine.clock_synchronized,
    )
    if at.status.machine.cpu_temperature_c is not None:
        yield make.gauge(
            "cpu_temperature_celsius",
            "Temperature of the CPU.",
            at.status.machine.cpu_temperature_c,
        )
    if at.status.machine.throttling is not None:
        for name, text, holds in (
            (
                "throttling",
                "Throttling by the firmware at present.",
                at.status.machine.throttling.now,
            ),
            (
                "throttling_since_boot",
                "Throttling by the firmware at any time since boot.",
                at.status.machine.throttling.since_boot,
            ),
        ):
            yield make.states(name, text, "condition", THROTTLING_CONDITIONS, holds)
