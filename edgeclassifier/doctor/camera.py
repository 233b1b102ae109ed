"""The camera: whether it is found, open to the daemon, free, and gives a picture."""

import re
from collections.abc import Iterator, Sequence

from edgeclassifier.doctor.findings import REINSTALL, Finding, Level, Problem, fine
from edgeclassifier.doctor.subject import Subject, Trial
from edgeclassifier.errors import EXIT_CONFIG

_LEGACY = re.compile(r"^\s*start_x\s*=\s*1", re.MULTILINE)
_NO_DETECTION = re.compile(r"^\s*camera_auto_detect\s*=\s*0", re.MULTILINE)
_SENSOR = re.compile(r"^\s*dtoverlay\s*=\s*(imx|ov|arducam|camera-mux)", re.MULTILINE)
_BOOT_FILES = ("/boot/firmware/config.txt", "/boot/config.txt")
_LISTED = re.compile(r"^\s*\d+\s*: (.+)$", re.MULTILINE)
_APT_PICAMERA2 = "/usr/lib/python3/dist-packages/picamera2"

NO_PICAMERA2 = Problem(
    id="camera.no_picamera2",
    level=Level.FAILURE,
    title="picamera2 is not installed",
    meaning='`camera.source` is "picamera2", as it is by default. It comes from Raspberry Pi OS.',
    remedy="`sudo apt install python3-picamera2`; for a USB or network camera set `camera.source` "
    "to `stream`, for files to `replay`",
)
HIDDEN_PICAMERA2 = Problem(
    id="camera.hidden_picamera2",
    level=Level.FAILURE,
    title="The environment does not see picamera2",
    meaning="It is installed for the system's Python, but the daemon runs in a virtual "
    "environment that does not look there, or in another Python.",
    remedy="`/usr/bin/python3 -m venv --upgrade --system-site-packages {prefix}`",
    remedy_of_release="`sudo deploy/install.sh --reinstall`, in a clone and without "
    "`--no-picamera2`",
)
NUMPY = Problem(
    id="camera.numpy",
    level=Level.FAILURE,
    title="picamera2 was built for another NumPy",
    meaning="The environment has a separate NumPy in front of the system's.",
    remedy="`{python} -m pip uninstall --yes numpy`, so that the system's is used",
    remedy_of_release=REINSTALL,
)
LEGACY = Problem(
    id="camera.legacy",
    level=Level.FAILURE,
    title="The old camera system is switched on",
    meaning="`start_x=1` hides the camera from libcamera, which picamera2 needs.",
    remedy="`sudo sed -i 's/^ *start_x *= *1/#&/' {file}` and `sudo reboot`",
)
NOT_DETECTED = Problem(
    id="camera.detection_off",
    level=Level.FAILURE,
    title="The search for cameras is switched off",
    meaning="`camera_auto_detect=0` without a `dtoverlay` for the sensor: no camera can be found.",
    remedy="`sudo sed -i 's/^ *camera_auto_detect *= *0/camera_auto_detect=1/' {file}` and `sudo "
    "reboot`",
)
NONE = Problem(
    id="camera.none",
    level=Level.FAILURE,
    title="No camera is found",
    meaning="The cable is loose or the wrong way round, or the camera is broken or not supported.",
    remedy="switch the device off, press the cable in at both ends (contacts towards the "
    "contacts), switch it on; then `rpicam-hello --list-cameras`. For a third-party sensor add its "
    "`dtoverlay=` to /boot/firmware/config.txt",
)
NO_SUCH = Problem(
    id="camera.no_such",
    level=Level.FAILURE,
    title="There is no camera of this number or name",
    meaning="`camera.picamera2.index` or `camera.stream.url` names one that is not there.",
    remedy="`rpicam-hello --list-cameras` or, for `/dev/video…`, `v4l2-ctl --list-devices` (`sudo "
    "apt install v4l-utils`) shows what is there",
)
PERMISSION = Problem(
    id="camera.permission",
    level=Level.FAILURE,
    title="The camera is not open to the daemon's user",
    meaning="Devices belong to a group, of which the user that runs the daemon is no member.",
    remedy="`sudo usermod -aG {group} {user}`, then log out and in again, or `sudo systemctl "
    "restart edgeclassifier`",
)
NO_BUFFERS = Problem(
    id="camera.buffers",
    level=Level.FAILURE,
    title="The memory for frames is not open to the daemon's user",
    meaning="libcamera takes it from /dev/dma_heap. Raspberry Pi OS opens that to the group "
    "video, Debian does not.",
    remedy='`echo \'SUBSYSTEM=="dma_heap", GROUP="video", MODE="0660"\' | sudo tee '
    "/etc/udev/rules.d/71-dma-heap.rules`, `sudo udevadm control --reload`, `sudo udevadm "
    "trigger`, `sudo usermod -aG video {user}`",
)
BUSY = Problem(
    id="camera.busy",
    level=Level.FAILURE,
    title="Another program uses the camera",
    meaning="Only one can at a time.",
    remedy="`sudo fuser -v /dev/video* /dev/media*` shows it; end it with `sudo kill {pids}`, or "
    "`sudo systemctl stop NAME` if it is a service",
)
NO_PYAV = Problem(
    id="camera.no_pyav",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="PyAV is not installed, or too old",
    meaning='`camera.source` is "stream", which reads with FFmpeg. The daemon ends with '
    "exit code 78.",
    remedy="`{python} -m pip install 'av>=14'`; in an environment on the system's packages `sudo "
    "apt install python3-av`",
    remedy_of_release="`sudo deploy/install.sh --reinstall --no-picamera2`, in a clone; it brings "
    "its own",
)
SILENT = Problem(
    id="camera.silent",
    level=Level.FAILURE,
    title="The camera gives no picture",
    meaning="It is found and opened, but no frame comes: a loose cable, too little power, a "
    "driver that hangs.",
    remedy="`sudo dmesg | grep -iE 'camera|unicam|rp1-cfe|uvc|imx|ov'`, check cable and power "
    "supply, then `sudo reboot`",
)
CRASHES = Problem(
    id="camera.crashes",
    level=Level.FAILURE,
    title="The camera's driver ends its process",
    meaning="libcamera or FFmpeg crashes with this camera: versions that do not belong together, "
    "mostly.",
    remedy="`sudo apt update` and `sudo apt full-upgrade`, then `sudo reboot`",
)
SECRETS = Problem(
    id="camera.secrets",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The user name or password of the stream cannot be used",
    meaning="The file that `camera.stream.password_file` names is absent, empty or open to others, "
    "or the URL takes no user name. The daemon ends with exit code 78.",
    remedy="correct what the finding names; for a password: `sudo chmod 600 {file}`",
)
FAILS = Problem(
    id="camera.fails",
    level=Level.FAILURE,
    title="The camera cannot be used",
    meaning="The finding has the reason in the words of the driver, the network or the file.",
    remedy="fix what the finding names; `edgeclassifier check` tries it again",
)

_BY_WORDS = (
    (("in use", "busy", "another program"), BUSY),
    (("permission denied",), PERMISSION),
    (("finds no camera",), NONE),
    (("no camera ", "no such file or device"), NO_SUCH),
    (("no frame", "does not answer"), SILENT),
)


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
        yield NO_PYAV.found(
            str(trial.results["no_package"]), python=subject.machine.python.executable
        )
    elif "numpy_clash" in trial.results:
        python = subject.machine.python.executable
        yield NUMPY.found(str(trial.results["numpy_clash"]), python=python)
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
        yield PERMISSION.found(said, group="video" if group == "root" else group, user=user.name)
    heaps = machine.names("/dev/dma_heap/*")
    of_libcamera = subject.config.camera.source == "picamera2"
    if of_libcamera and heaps and not any(machine.may_use(user, each) for each in heaps):
        yield NO_BUFFERS.found(f"{', '.join(heaps[:4])}: not open to {user.name}", user=user.name)


def _without_picamera2(subject: Subject, reason: str) -> Finding:
    if subject.machine.exists(_APT_PICAMERA2) and "picamera2" in reason:
        python = subject.machine.python
        prefix = python.prefix if python.in_environment else ".venv"
        return HIDDEN_PICAMERA2.found(reason, prefix=prefix)
    seen = subject.machine.run(["rpicam-hello", "--list-cameras"], timeout_s=20)
    names = _LISTED.findall(seen.output)
    return NO_PICAMERA2.found(f"{reason}; libcamera finds {', '.join(names)}" if names else reason)


def _without_camera(subject: Subject) -> Finding:
    """Say why libcamera may find none."""
    for file in _BOOT_FILES:
        text = subject.machine.text(file) or ""
        if _LEGACY.search(text):
            return LEGACY.found(f"{file}: start_x=1", file=file)
        if _NO_DETECTION.search(text) and not _SENSOR.search(text):
            return NOT_DETECTED.found(f"{file}: camera_auto_detect=0", file=file)
    others = _v4l2_names(subject)
    hint = f"; V4L2 has {', '.join(others)}" if others else ""
    return NONE.found(f"libcamera finds no camera{hint}")


def _failed(subject: Subject, trial: Trial, devices: Sequence[str]) -> Finding:
    """Tell from its words what went wrong in a trial."""
    source, error = subject.config.camera.source, trial.results.get("error")
    if error is None:
        how = f"{source}: {trial.outcome.last_words or 'no answer'}"
        return (SILENT if trial.outcome.end == "late" else CRASHES).found(how)
    text = str(error)
    if trial.results.get("exit_code") == EXIT_CONFIG:
        return SECRETS.found(text, file=subject.config.camera.stream.password_file or "FILE")
    kinds = (problem for words, problem in _BY_WORDS if any(each in text for each in words))
    problem = next(kinds, FAILS)
    holders = subject.machine.holders(devices) if problem is BUSY else []
    if holders:
        text += ": " + ", ".join(f"{subject.machine.command_of(e)} ({e.pid})" for e in holders)
    elif problem is NO_SUCH and source == "stream":
        text += "; there is " + (", ".join(_v4l2_names(subject)) or "no V4L2 device")
    return problem.found(
        text,
        python=subject.machine.python.executable,
        user=subject.machine.user().name,
        group="video",
        pids=[each.pid for each in holders] or "PID",
    )


def _v4l2_names(subject: Subject) -> list[str]:
    """List the V4L2 devices with their names, of the same name only the first."""
    found: dict[str, str] = {}
    for file in subject.machine.names("/sys/class/video4linux/video*/name"):
        name = subject.machine.text(file)
        if name:
            found.setdefault(name, f"/dev/{file.split('/')[-2]}")
    return [f"{device} ({name})" for name, device in found.items()]
