"""What a device has to stand, step by step; each returns its figure."""

import json
import re
import time
from pathlib import Path
from typing import Any

from system.pi import RATE_HZ, UNIT, Pi, ScenarioError
from system.watcher import numbers_of_the_run

CATS = frozenset({"Egyptian cat", "tabby", "tiger cat"})
_OUTAGE_S = 40.0
_SANDBOX = Path(__file__).parent / "sandbox.py"
_MIB = 1 << 20


def deploys_from_nothing(pi: Pi) -> str:
    """A deployment from nothing to predictions, with the cat on top."""
    recap = pi.deploy(pi.now)
    first = pi.prediction(mark=0).json()
    best = first["predictions"][0]
    if best["label"] not in CATS:
        raise ScenarioError(f"the cat is taken for {best}")
    pi.keep()
    return f"changed={recap.changed}, {best['label']} {best['score']:.2f}; {recap.slowest}"


def changes_nothing_in_the_second_run(pi: Pi) -> str:
    """Neither for real nor in check mode is there anything to do."""
    checked = pi.play(pi.now, "site.yml", "--check", "--diff")
    recap = pi.deploy(pi.now)
    if recap.changed or checked.changed:
        raise ScenarioError(f"{recap.output}\nchanged={recap.changed}, {checked.changed}")
    return f"changed=0, with --check as well; {recap.slowest}"


def comes_back_after_a_reboot(pi: Pi) -> str:
    """Nobody has to log in."""
    mark = pi.watcher.mark()
    state = pi.machine.reboot()
    seen = pi.another_run(mark)
    if state != "running":
        raise ScenarioError(state)
    return f"first prediction of run {seen.json()['boot_id'][:8]}"


def comes_back_after_a_kill(pi: Pi) -> str:
    """`kill -9`: offline in between, and the reason afterwards."""
    return _survive(pi, "kill -KILL $MAINPID", "killed", offline_within_s=30)


def comes_back_after_a_hang(pi: Pi) -> str:
    """SIGSTOP until the watchdog fires."""
    return _survive(pi, "kill -STOP $MAINPID", "aborted", offline_within_s=120)


def _survive(pi: Pi, command: str, reason: str, *, offline_within_s: float) -> str:
    pi.prediction(mark=pi.watcher.mark())
    started_s = time.monotonic()
    mark = pi.watcher.mark()
    pi.machine.run(f"MAINPID=$(systemctl show -P MainPID {UNIT}); {command}")
    offline = pi.wait("offline", lambda each: each.payload == b"offline", mark, offline_within_s)
    back = pi.another_run(mark)
    health = pi.wait(
        "the reason",
        lambda each: (
            each.kind == "health"
            and reason in ((each.json()["last_crash"] or {}).get("reason") or "")
        ),
        mark,
    )
    return (
        f"offline after {offline.at_s - started_s:.1f} s, predictions after "
        f"{back.at_s - started_s:.1f} s, {health.json()['last_crash']['reason']!r}"
    )


def loses_nothing_while_the_broker_is_away(pi: Pi) -> str:
    """Stopped and started again: every number arrives."""
    pi.prediction(mark=pi.watcher.mark())
    pi.broker.stop()
    time.sleep(_OUTAGE_S)
    pi.broker.start()
    pi.prediction(mark=pi.watcher.mark())
    time.sleep(_OUTAGE_S)
    numbers = numbers_of_the_run(pi.watcher.since(0))
    missing = set(range(max(numbers) + 1)) - numbers
    if missing:
        raise ScenarioError(f"{len(missing)} messages are missing: {sorted(missing)[:20]}")
    return f"{len(numbers)} messages without a gap over an outage of {_OUTAGE_S:.0f} s"


def holds_its_sandbox(pi: Pi) -> str:
    """From inside it can write nowhere else, see nobody else and gain nothing."""
    shell = pi.machine.shell
    shell.write("/run/sandbox.py", _SANDBOX.read_text())
    unit = shell.output(f"cat /etc/systemd/system/{UNIT}")
    unit = re.sub(r"(?m)^(Type|ExecStart|Restart|WatchdogSec|ExecReload)=.*\n", "", unit)
    command = "/opt/edgeclassifier/current/bin/python /run/sandbox.py"
    unit = unit.replace("[Service]", f"[Service]\nType=oneshot\nExecStart={command}", 1)
    shell.write("/run/systemd/system/sandbox-test.service", unit)
    pi.machine.run("systemctl daemon-reload; systemctl start sandbox-test", check=False)
    said = shell.output("journalctl -u sandbox-test -o cat --no-pager | grep '^{' | tail -1")
    found: dict[str, Any] = json.loads(said or "{}")
    broken = [name for name, held in found.items() if held is not True]
    if broken or not found:
        raise ScenarioError(f"the sandbox does not hold: {broken or 'no answer'}: {said}")
    return f"{len(found)} attempts failed as they should: {', '.join(found)}"


def needs_no_more_than_it_may_have(pi: Pi) -> str:
    """Memory and tasks at work stay below half of the unit's limits."""
    pi.prediction(mark=pi.watcher.mark())
    keys = ("MemoryCurrent", "MemoryPeak", "MemoryMax", "TasksCurrent", "TasksMax")
    said = pi.machine.shell.output(f"systemctl show {UNIT} -p {','.join(keys)}")
    shown = {key: int(value) for key, value in re.findall(r"(?m)^(\w+)=(\d+)$", said)}
    now, peak, most, tasks, most_tasks = (shown[key] for key in keys)
    if 2 * peak > most or 2 * tasks > most_tasks:
        raise ScenarioError(f"too near to its limits: {shown}")
    return (
        f"memory {now / _MIB:.0f} MiB, at most {peak / _MIB:.0f} of {most / _MIB:.0f}; "
        f"{tasks} of {most_tasks} tasks"
    )


def upgrades(pi: Pi) -> str:
    """Another release takes over."""
    before = pi.now.version
    pi.now = pi.checkout("0.2.0")
    mark = pi.watcher.mark()
    recap = pi.deploy(pi.now)
    pi.another_run(mark)
    pi.wait(
        pi.now.version,
        lambda each: each.kind == "info" and each.json()["version"] == pi.now.version,
        mark,
    )
    return f"{before} to {pi.now.version}; {recap.slowest}"


def reads_a_v4l2_device(pi: Pi) -> str:
    """The stream camera, through the same unit and sandbox, with the packages of the release."""
    stream = {"url": "/dev/video0", "max_rate_hz": RATE_HZ}
    pi.camera = {**pi.camera, "source": "stream", "stream": stream}
    pi.extra["edgeclassifier_picamera2"] = False
    mark = pi.watcher.mark()
    pi.deploy(pi.now)
    seen = pi.another_run(mark).json()
    return f"{seen['origin']}: {seen['predictions'][0]['label']}"


def leaves_nothing_behind(pi: Pi) -> str:
    """But what it says it keeps."""
    pi.play(pi.now, "uninstall.yml")
    kept = _left(pi)
    wanted = {"/etc/edgeclassifier", "/var/lib/edgeclassifier", "user"}
    if kept != wanted:
        raise ScenarioError(f"kept {sorted(kept)} instead of {sorted(wanted)}")
    if pi.machine.run("test -s /etc/edgeclassifier/config.toml", check=False).returncode:
        raise ScenarioError("the configuration was not kept")
    pi.play(pi.now, "uninstall.yml", edgeclassifier_purge=True)
    if left := _left(pi):
        raise ScenarioError(f"left behind: {sorted(left)}")
    return f"kept {', '.join(sorted(kept))}; with edgeclassifier_purge nothing with its name"


def _left(pi: Pi) -> set[str]:
    """List what bears the name: topmost files and folders, user, group, unit, processes."""
    said = pi.machine.shell.output(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /tmp -o -path /var/tmp \\) -prune "
        "-o -iname '*edgeclassifier*' -print -prune; "
        "find /run -xdev -iname '*edgeclassifier*' -print -prune; "
        "getent passwd edgeclassifier >/dev/null && echo user; "
        "systemctl list-units --all --plain --no-legend '*edgeclassifier*'; "
        "pgrep -u edgeclassifier -a || true"
    )
    return set(said.splitlines())
