"""Renders a snapshot of the daemon as families of metrics, named as Prometheus wants them.

Every series has the label `device`, so that one folder can hold the files of several daemons. No
label grows with time: those that name a model, a version or a camera change when a person changes
them. The stable label is not among them: a thousand classes on each device would be a thousand
series, and MQTT has it, with a time. Here its changes are counted.

A released name keeps its text: if two files describe a name differently, the node exporter drops
the series of one.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args, get_type_hints

from edgeclassifier.contract.status import (
    AcceleratorFault,
    AcceleratorState,
    CameraStatus,
    Status,
    View,
    ViewProgress,
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
_HELP: Mapping[str, str] = {
    "running": "Whether the daemon runs.",
    "build": "Versions of the daemon, of Python and of the runtime.",
    "model": "The model in use.",
    "uptime_seconds": "Time since the daemon started.",
    "start_time_seconds": "Start of the daemon by the device's clock, which may have been wrong.",
    "healthy": "Whether the daemon is making progress, as in /healthz.",
    "ready": "Whether predictions are published, as in /readyz.",
    "paused": "Whether classifying is paused.",
    "started_after_crash": "Whether the previous run crashed.",
    "config_last_reload_successful": "Whether the last reload was applied; 1 if there was none.",
    "frames": "Frames answered by the model, or by the previous answer if nothing has changed.",
    "frame_age_seconds": "Time since the capture of the newest answered frame.",
    "frame_deadline_seconds": "Frame age above which the daemon is not healthy.",
    "stage_duration_seconds": "Duration of each stage for classified frames.",
    "frame_latency_seconds": "From the capture of a classified frame to its answer.",
    "dropped_frames": "Frames not answered: replaced by a newer one, or not decodable.",
    "label_changes": "Changes of the stable label.",
    "view_problem": "Whether a view is not classified, because its model does not work.",
    "camera": "The camera.",
    "camera_state": "State of the camera: 1 for the present state.",
    "camera_view": "Whether a live camera sees anything: 1 for the present view.",
    "camera_recoveries": "How often the camera was reopened.",
    "backend": "The backend that runs the model.",
    "degraded": "Whether the CPU replaces an accelerator.",
    "fallbacks": "How often the CPU took over from an accelerator.",
    "accelerator_state": "State of the accelerator: 1 for the present state.",
    "accelerator_fault": "Fault of the accelerator: 1 for the present fault.",
    "accelerator_failures": "Faults of the accelerator, including failed attempts to reopen it.",
    "accelerator_returns": "How often the accelerator recovered.",
    "mqtt_connected": "Whether the broker is connected.",
    "mqtt_reconnects": "How often the connection was restored.",
    "published_messages": "Messages accepted for delivery.",
    "dropped_messages": "Messages lost, including those dropped by the buffer.",
    "buffer_dropped_messages": "Messages that the buffer replaced by newer ones, or its disk lost.",
    "buffer_pending_messages": "Messages in the buffer that the broker has not acknowledged yet.",
    "buffer_pending_bytes": "Size of the buffer's messages as counted against buffer.max_mib.",
    "buffer_problem": "Whether messages are kept in memory although they should be on disk.",
    "buffer_commits": "Writes of the buffer to its disk.",
    "buffer_written_bytes": "Size of the messages that the buffer wrote to its disk.",
    "process_cpu_seconds": "CPU time of the daemon's process.",
    "process_resident_memory_bytes": "Resident memory of the daemon's process.",
    "clock_synchronized": "Whether the device's clock is synchronized.",
    "cpu_temperature_celsius": "Temperature of the CPU.",
    "throttling": "Throttling by the firmware at present.",
    "throttling_since_boot": "Throttling by the firmware at any time since boot.",
}


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
    make = Maker(at.identity.device, _HELP)
    yield from running(at.identity.device, now=True)
    yield from _daemon(make, at)
    yield from _frames(make, at)
    yield from _camera(make, at)
    yield from _backend(make, at)
    yield from _messages(make, at.status)
    yield from _machine(make, at)


def running(device: str, *, now: bool) -> Iterator["Metric"]:
    """Render whether the daemon runs: the only metric after it has ended."""
    yield from Maker(device, _HELP).gauges(running=now)


def _daemon(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    who, status = at.identity, at.status
    yield make.info("build", version=who.version, python=who.python, runtime=who.runtime)
    yield make.info("model", model=who.model, sha256=who.model_sha256)
    yield from make.gauges(
        uptime_seconds=at.uptime_s,
        start_time_seconds=at.started_at_s,
        healthy=at.healthy.ok,
        ready=at.ready.ok,
        paused=status.pipeline.paused,
        started_after_crash=status.last_crash is not None,
        config_last_reload_successful=status.reload is None or status.reload.status != "refused",
    )


def _frames(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    counts, pipeline = at.counts, at.status.pipeline
    views = _views(at)
    yield make.counter(
        "frames",
        {
            (name, answer): count
            for name, view in views.items()
            for answer, count in (
                ("classified", view.frames - view.repeated),
                ("repeated", view.repeated),
            )
        },
        label=("view", "answer"),
    )
    yield from make.gauges(frame_age_seconds=at.frame_age_s, frame_deadline_seconds=at.deadline_s)
    yield make.histogram("stage_duration_seconds", counts.stages, label="stage")
    yield make.histogram("frame_latency_seconds", counts.latency)
    drops = {"superseded": pipeline.superseded_frames, "unreadable": pipeline.unreadable_frames}
    yield make.counter("dropped_frames", drops, label="reason")
    changes = {name: view.label_changes for name, view in views.items()}
    yield make.counter("label_changes", changes, label="view")
    problems = {view.view: view.problem is not None for view in at.status.views}
    yield make.gauge("view_problem", problems, label="view")


def _views(at: Snapshot) -> Mapping[str, ViewProgress]:
    """Return what happened in each view, by what it is called."""
    if at.status.views:
        return {view.view: view.progress for view in at.status.views}
    counts = at.counts
    only = ViewProgress(
        frames=counts.classified + counts.repeated,
        repeated=counts.repeated,
        label_changes=counts.label_changes,
    )
    return {at.identity.camera: only}


def _camera(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    camera = at.status.pipeline.camera
    yield make.info("camera", camera=at.identity.camera)
    yield make.states("camera_state", "state", _CAMERA_STATES, [camera.state])
    yield make.states("camera_view", "view", _VIEWS, [camera.view])
    yield from make.counters(camera_recoveries=camera.recoveries)


def _backend(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    backend, status = at.status.pipeline.backend, at.status.pipeline.accelerator
    yield make.info("backend", backend=backend.name)
    yield from make.gauges(degraded=backend.degraded)
    yield from make.counters(fallbacks=at.counts.fallbacks)
    if status is not None:
        yield make.states("accelerator_state", "state", _ACCELERATOR_STATES, [status.state])
        faults = [] if status.fault is None else [status.fault]
        yield make.states("accelerator_fault", "fault", _FAULTS, faults)
        yield from make.counters(
            accelerator_failures=status.failures, accelerator_returns=status.returns
        )


def _messages(make: Maker, status: Status) -> Iterator["Metric"]:
    mqtt, buffer = status.mqtt, status.buffer
    yield from make.gauges(
        mqtt_connected=mqtt.connected,
        buffer_pending_messages=buffer.pending,
        buffer_pending_bytes=buffer.pending_bytes,
        buffer_problem=buffer.problem is not None,
    )
    yield from make.counters(
        mqtt_reconnects=mqtt.reconnects,
        published_messages=mqtt.published,
        dropped_messages=mqtt.dropped,
        buffer_dropped_messages=buffer.dropped,
        buffer_commits=buffer.commits,
        buffer_written_bytes=buffer.written_bytes,
    )


def _machine(make: Maker, at: Snapshot) -> Iterator["Metric"]:
    yield from make.counters(process_cpu_seconds=at.cpu_s)
    yield from make.gauges(
        process_resident_memory_bytes=at.status.machine.memory_rss_bytes,
        clock_synchronized=at.status.machine.clock_synchronized,
        cpu_temperature_celsius=at.status.machine.cpu_temperature_c,
    )
    if (throttling := at.status.machine.throttling) is not None:
        conditions = THROTTLING_CONDITIONS
        yield make.states("throttling", "condition", conditions, throttling.now)
        yield make.states("throttling_since_boot", "condition", conditions, throttling.since_boot)
