"""Python, NumPy, and the runtime that interprets models."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

from edgeclassifier.doctor.findings import REINSTALL, Finding, Level, Problem, fine
from edgeclassifier.doctor.subject import Subject, Trial

_OLDEST = (3, 11)
_WIDE = 64
_APT_NUMPY = "/usr/lib/python3/dist-packages/numpy"

TOO_OLD = Problem(
    id="python.too_old",
    level=Level.FAILURE,
    title="Python is too old",
    meaning="The daemon is written for Python 3.11 and later.",
    remedy="install Raspberry Pi OS (64-bit), Bookworm or Trixie; on Debian `sudo apt install "
    "python3` from version 12 on",
)
NARROW = Problem(
    id="python.32_bit",
    level=Level.WARNING,
    title="Python has 32 bits",
    meaning="LiteRT has no build for it; the older tflite-runtime takes several times as long.",
    remedy="install Raspberry Pi OS (64-bit), on a Pi 3 or later",
)
NUMPY_BROKEN = Problem(
    id="numpy.broken",
    level=Level.FAILURE,
    title="NumPy cannot be imported",
    meaning="It is absent, half installed, or for another Python. Nothing works without it.",
    remedy="`{python} -m pip install --force-reinstall 'numpy>=1.24'`; if it is the system's: "
    "`sudo apt install --reinstall python3-numpy`",
    remedy_of_release=f"{REINSTALL}; if NumPy is the system's: `sudo apt install --reinstall "
    "python3-numpy`",
)
NUMPY_CLASH = Problem(
    id="numpy.clash",
    level=Level.FAILURE,
    title="tflite-runtime does not work with NumPy 2",
    meaning="It was built for NumPy 1 and fails in the middle of its work with any other.",
    remedy="`{python} -m pip install 'ai-edge-litert>=2.3'`, or keep tflite-runtime: `{python} -m "
    "pip install 'numpy<2'`",
    remedy_of_release=REINSTALL,
)
NUMPY_TWICE = Problem(
    id="numpy.twice",
    level=Level.FAILURE,
    title="NumPy of the environment hides the system's",
    meaning="picamera2 comes from apt and was built for the NumPy from apt. With another major "
    "version in front of it, it cannot be imported.",
    remedy="`{python} -m pip uninstall --yes numpy`, so that the system's is used",
    remedy_of_release=REINSTALL,
)
RUNTIME_ABSENT = Problem(
    id="runtime.absent",
    level=Level.FAILURE,
    title="No TFLite runtime",
    meaning="Neither ai-edge-litert nor tflite-runtime can be imported, or not the one that "
    "`model.runtime` names.",
    remedy="`{python} -m pip install 'ai-edge-litert>=2.3'` (on 32-bit ARM `{python} -m pip "
    "install tflite-runtime 'numpy<2'`)",
    remedy_of_release=f"set `model.runtime` to `auto`; if it is that: {REINSTALL}",
)
RUNTIME_CRASHES = Problem(
    id="runtime.crashes",
    level=Level.FAILURE,
    title="The TFLite runtime ends its process",
    meaning="It was built for another CPU, or its files are damaged.",
    remedy="`{python} -m pip install --force-reinstall --no-cache-dir ai-edge-litert`; if that "
    "does not help, look for a failing SD card: `sudo dmesg | grep -i mmc`",
    remedy_of_release=f"{REINSTALL}; if that does not help, `sudo dmesg | grep -i mmc`",
)
RUNTIME_HANGS = Problem(
    id="runtime.hangs",
    level=Level.FAILURE,
    title="The TFLite runtime does not answer",
    meaning="It did not load and run the bundled model within a minute: the device is overloaded, "
    "or its storage hangs.",
    remedy="see what keeps it busy with `top`, and whether storage fails with `sudo dmesg | grep "
    "-i mmc`, then restart it: `sudo reboot`",
)
RUNTIME_FAILS = Problem(
    id="runtime.fails",
    level=Level.FAILURE,
    title="The TFLite runtime does not run the bundled model",
    meaning="The runtime or the bundled model is damaged.",
    remedy="`{python} -m pip install --force-reinstall ai-edge-litert`; if that does not help, "
    "install the daemon again, in a new environment",
    remedy_of_release=REINSTALL,
)
NO_XNNPACK = Problem(
    id="runtime.no_xnnpack",
    level=Level.WARNING,
    title="The runtime works without XNNPACK",
    meaning="int8 models run several times slower: the older tflite-runtime does not use the "
    "CPU's fast instructions for them.",
    remedy="`{python} -m pip install 'ai-edge-litert>=2.3'`, with `model.runtime` at `auto` or "
    "`litert`",
    remedy_of_release=f"set `model.runtime` to `auto`; if it is that: {REINSTALL}",
)


def check_python(subject: Subject) -> Iterator[Finding]:
    """Version and width."""
    python = subject.machine.python
    version = ".".join(map(str, python.version))
    said = f"{version}, {python.bits} bits, {python.machine}, {python.executable}"
    if python.version < _OLDEST:
        yield TOO_OLD.found(said)
    elif python.bits < _WIDE:
        yield NARROW.found(said)
    else:
        yield fine("python", said)


def check_numpy(subject: Subject) -> Iterator[Finding]:
    """Whether there is one that suits the runtime and, if it is used, picamera2."""
    python, trial = subject.machine.python.executable, subject.trial("runtime")
    version = trial.results.get("numpy")
    if not isinstance(version, str):
        reason = trial.results.get("numpy_error") or trial.outcome.last_words or _end(trial)
        yield NUMPY_BROKEN.found(str(reason), python=python)
        return
    if "does not work with NumPy" in str(trial.results.get("error", "")):
        yield NUMPY_CLASH.found(str(trial.results["error"]), python=python)
        return
    file = str(trial.results.get("numpy_file"))
    of_apt = _version_of_apt(subject)
    hidden = of_apt is not None and _sees_system(subject) and not file.startswith(_APT_NUMPY)
    if hidden and _major(of_apt) != _major(version) and subject.config.camera.source == "picamera2":
        yield NUMPY_TWICE.found(f"{version} at {file}, the system has {of_apt}", python=python)
        return
    yield fine("numpy", f"{version}, {file}")


def check_runtime(subject: Subject) -> Iterator[Finding]:
    """Whether there is one, and how it runs the bundled model."""
    python, trial = subject.machine.python.executable, subject.trial("runtime")
    results, runtime = trial.results, trial.results.get("runtime")
    name = str(runtime or results.get("module") or "the runtime")
    if results.get("ran") is True:
        if results.get("xnnpack") is False:
            yield NO_XNNPACK.found(f"{name}: does not use XNNPACK", python=python)
            return
        how = "with XNNPACK" if results.get("xnnpack") else "XNNPACK not known"
        yield fine("runtime", f"{name}, {how}, threads: {results.get('threads')}")
    elif trial.outcome.end in {"late", "absent"}:
        yield RUNTIME_HANGS.found(f"{name}: {_end(trial)}")
    elif trial.outcome.signal:
        yield RUNTIME_CRASHES.found(f"{name}: {_end(trial)}", python=python)
    elif runtime is None:
        reason = results.get("error") or trial.outcome.last_words or _end(trial)
        yield RUNTIME_ABSENT.found(str(reason), python=python)
    else:
        reason = results.get("error") or trial.outcome.last_words or _end(trial)
        yield RUNTIME_FAILS.found(f"{name}: {reason}", python=python)


def _end(trial: Trial) -> str:
    if trial.outcome.end == "absent":
        return "Python could not be started"
    if trial.outcome.end == "late":
        return "did not answer in time"
    if trial.outcome.signal:
        known = {each.value: each.name for each in signal.Signals}
        return f"its process was killed by {known.get(trial.outcome.signal, trial.outcome.signal)}"
    return f"its process ended with exit code {trial.outcome.code}"


def _version_of_apt(subject: Subject) -> str | None:
    text = subject.machine.text(f"{_APT_NUMPY}/version.py") or ""
    if found := re.search(r"""^(?:short_)?version\s*=\s*["'](\d[\w.]*)""", text, re.MULTILINE):
        return found[1]
    for folder in subject.machine.names(f"{_APT_NUMPY}-*.*-info"):
        return Path(folder).name.split("-")[1].removesuffix(".egg")
    return None


def _sees_system(subject: Subject) -> bool:
    """Tell whether the environment, if it is one, looks into the system's packages."""
    python = subject.machine.python
    if not python.in_environment:
        return True
    settings = subject.machine.text(f"{python.prefix}/pyvenv.cfg") or ""
    return re.search(r"^include-system-site-packages\s*=\s*true", settings, re.M | re.I) is not None


def _major(version: str | None) -> str:
    return (version or "").partition(".")[0]
