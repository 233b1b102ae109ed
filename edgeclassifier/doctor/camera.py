"""The camera: whether it is found, open to the daemon, free, and gives a picture."""

import re
from collections.abc import Iterator, Sequence

from edgeclassifier.doctor import camera_problems as of
from edgeclassifier.doctor.camera_sources import by_words, names_of, source_of, without_answer
from edgeclassifier.doctor.findings import Finding, fine
from edgeclassifier.doctor.subject import Subject, Trial
from edgeclassifier.errors import EXIT_CONFIG

_LEGACY = re.compile(r"^\s*start_x\s*=\s*1", re.MULTILINE)
_NO_DETECTION = re.compile(r"^\s*camera_auto_detect\s*=\s*0", re.MULTILINE)
_SENSOR = re.compile(r"^\s*dtoverlay\s*=\s*(imx|ov|arducam|camera-mux)", re.MULTILINE)
_BOOT_FILES = ("/boot/firmware/config.txt", "/boot/config.txt")
_LISTED = re.compile(r"^\s*\d+\s*: (.+)$", re.MULTILINE)
_APT_PICAMERA2 = "/usr/lib/python3/dist-packages/picamera2"


def check_camera(subject: Subject) -> Iterator[Finding]:
    """Look at its devices, then take a frame, unless a daemon may have one of them open."""
    camera = subject.config.camera
    devices = _devices(subject)
    yield from (barred := list(_barred(subject, devices)))
    if barred:
        return
    if subject.daemons and any(map(subject.machine.names, devices)):
        pid = subject.daemons[0].pid
        ours = [each.pid for each in subject.machine.holders(devices) if each.is_ours]
        how = (
            f"in use by the daemon (process {ours[0]}), as it should be"
            if ours
            else f"a daemon runs (process {pid}), so it is not tried beside it"
        )
        yield fine("camera", f"{camera.source}: {how}")
        return
    trial = subject.trial("camera")
    if "missing" in trial.results:
        yield _without_picamera2(subject, str(trial.results["missing"]))
    elif "no_package" in trial.results:
        yield of.NO_PYAV.found(
            str(trial.results["no_package"]), python=subject.machine.python.executable
        )
    elif "numpy_clash" in trial.results:
        python = subject.machine.python.executable
        yield of.NUMPY.found(str(trial.results["numpy_clash"]), python=python)
    elif trial.results.get("cameras") == []:
        yield _without_camera(subject)
    elif "frame" in trial.results:
        cameras = trial.results.get("cameras")
        listed = [str(each) for each in cameras] if isinstance(cameras, list) else []
        listed = listed or (_v4l2_names(subject) if devices else [])
        among = f"; there is {', '.join(listed)}" if listed else ""
        yield fine("camera", f"{camera.source}: a frame of {trial.results['frame']}{among}")
    else:
        yield _failed(subject, trial, devices)


def _devices(subject: Subject) -> list[str]:
    """Name the devices of the configured camera; none for the network and for files."""
    camera, names = subject.config.camera, subject.machine.names
    if camera.source == "picamera2":
        return [*names("/dev/media[0-9]*"), *names("/dev/video[0-9]*")]
    if camera.source == "stream" and camera.stream.url.startswith("/dev/"):
        return [camera.stream.url]
    return []


def _barred(subject: Subject, devices: Sequence[str]) -> Iterator[Finding]:
    machine, user = subject.machine, subject.machine.user()
    closed = [each for each in devices if not machine.may_use(user, each)]
    if closed:
        group = machine.group_of(closed[0])
        said = f"{', '.join(closed[:4])}: open to the group {group}, not to {user.name}"
        yield of.PERMISSION.found(said, group="video" if group == "root" else group, user=user.name)
    heaps = machine.names("/dev/dma_heap/*")
    of_libcamera = subject.config.camera.source == "picamera2"
    if of_libcamera and heaps and not any(machine.may_use(user, each) for each in heaps):
        yield of.NO_BUFFERS.found(
            f"{', '.join(heaps[:4])}: not open to {user.name}", user=user.name
        )


def _without_picamera2(subject: Subject, reason: str) -> Finding:
    if subject.machine.exists(_APT_PICAMERA2) and "picamera2" in reason:
        python = subject.machine.python
        prefix = python.prefix if python.in_environment else ".venv"
        return of.HIDDEN_PICAMERA2.found(reason, prefix=prefix)
    seen = subject.machine.run(["rpicam-hello", "--list-cameras"], timeout_s=20)
    names = _LISTED.findall(seen.output)
    return of.NO_PICAMERA2.found(
        f"{reason}; libcamera finds {', '.join(names)}" if names else reason
    )


def _without_camera(subject: Subject) -> Finding:
    """Say why libcamera may find none."""
    for file in _BOOT_FILES:
        text = subject.machine.text(file) or ""
        if _LEGACY.search(text):
            return of.LEGACY.found(f"{file}: start_x=1", file=file)
        if _NO_DETECTION.search(text) and not _SENSOR.search(text):
            return of.NOT_DETECTED.found(f"{file}: camera_auto_detect=0", file=file)
    others = _v4l2_names(subject)
    hint = f"; V4L2 has {', '.join(others)}" if others else ""
    return of.NONE.found(f"libcamera finds no camera{hint}")


def _failed(subject: Subject, trial: Trial, devices: Sequence[str]) -> Finding:
    """Tell from its words what went wrong in a trial."""
    camera, error = subject.config.camera, trial.results.get("error")
    source, names = source_of(camera), names_of(camera)
    python = subject.machine.python.executable
    if error is None:
        how = f"{camera.source}: {trial.outcome.last_words or 'no answer'}"
        problem = without_answer(source, late=trial.outcome.end == "late")
        return problem.found(how, python=python, url=names.url, host=names.host, path=names.path)
    text = str(error)
    if trial.results.get("exit_code") == EXIT_CONFIG:
        problem = of.SETTINGS if source == "sensor" else of.SECRETS
        return problem.found(text, file=camera.stream.password_file or "FILE")
    problem = by_words(source, text)
    if problem is of.NO_VIDEO:
        text = text.partition(" (a camera needs")[0]
    holders = subject.machine.holders(devices) if problem is of.BUSY else []
    if holders:
        text += ": " + ", ".join(f"{subject.machine.command_of(e)} ({e.pid})" for e in holders)
    elif problem is of.NO_SUCH and source == "device":
        text += "; there is " + (", ".join(_v4l2_names(subject)) or "no V4L2 device")
    return problem.found(
        text,
        python=python,
        user=subject.machine.user().name,
        group="video",
        pids=[each.pid for each in holders] or "PID",
        url=names.url,
        host=names.host,
        path=names.path,
    )


def _v4l2_names(subject: Subject) -> list[str]:
    """List the V4L2 devices with their names, of the same name only the first."""
    found: dict[str, str] = {}
    for file in subject.machine.names("/sys/class/video4linux/video*/name"):
        name = subject.machine.text(file)
        if name:
            found.setdefault(name, f"/dev/{file.split('/')[-2]}")
    return [f"{device} ({name})" for name, device in found.items()]
