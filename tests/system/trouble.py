"""The steps in which a release is bad or the power fails."""

import re
import time

from system.pi import Pi, ScenarioError
from system.playbook import Background, Recap

_POWER_CUTS = 5
_SHORT_GATE_S = 60
# Each leaves something else behind.
_MOMENTS = (
    "Push it",
    "Make its environment",
    "Install the configuration",
    "Remember the release in use",
    "Switch to the release",
    "Restart, or start, the daemon",
    "See whether it works",
)
_LONGEST_IN_TASK_S = 5.0
_UPGRADE_TIMEOUT_S = 600.0
_BODY = re.compile(r'    """Run the daemon\."""\n')
_BUNDLED = "edgeclassifier/models/bundled/*.tflite"
_BACK = "runs again, and is healthy"
_CRASH = "    raise SystemExit(3)\n"
_SILENCE = "    import time\n\n    while True:\n        time.sleep(1)\n"

# Every file that is part of a complete release has what its wheel says, and the state can be read.
_TORN = r"""
import base64, csv, hashlib, json
from pathlib import Path
checked, torn = 0, []
for complete in Path('/opt/edgeclassifier/releases').glob('*/.complete'):
    for record in complete.parent.glob('lib/python3*/site-packages/*.dist-info/RECORD'):
        for name, wanted, _ in csv.reader(record.open()):
            # Byte code, and commands, which a release of copied packages leaves out.
            if not wanted or name.startswith('../'):
                continue
            path = record.parent.parent / name
            digest = hashlib.new(wanted.partition('=')[0])
            digest.update(path.read_bytes() if path.is_file() else b'absent')
            found = base64.urlsafe_b64encode(digest.digest()).rstrip(b'=').decode()
            checked += 1
            if found != wanted.partition('=')[2]:
                torn.append(str(path))
for path in Path('/var/lib/edgeclassifier').rglob('*.json'):
    checked += 1
    try:
        json.loads(path.read_bytes())
    except ValueError:
        torn.append(str(path))
print(checked, *torn)
"""


def makes_a_damaged_release_anew(pi: Pi) -> str:
    """The model's file is damaged, which an ordinary run does not see."""
    before = _current(pi)
    models = f"/opt/edgeclassifier/releases/{before}/lib/python3*/site-packages/{_BUNDLED}"
    model = pi.machine.shell.output(f"ls {models}")
    pi.machine.run(f"mv {model} /root/model; echo damaged >{model}")
    mark = pi.watcher.mark()
    recap = pi.play(pi.now, "site.yml", edgeclassifier_reinstall=True)
    pi.another_run(mark)
    after = _current(pi)
    if pi.deploy(pi.now).changed or after == before:
        raise ScenarioError(f"{before} became {after}, and the next run changes something")
    pi.machine.run(f"mv /root/model {model}")
    return f"{before} became {after}, then changed=0; {recap.slowest}"


def goes_back_from_a_broken_release(pi: Pi) -> str:
    """Crashes; starts but never predicts; has a bad configuration."""
    crashing = pi.checkout("0.3.0")
    crashing.edit("edgeclassifier/commands/run.py", _BODY, _CRASH)
    silent = pi.checkout("0.3.1")
    silent.edit("edgeclassifier/commands/run.py", _BODY, _SILENCE)
    bad = {"edgeclassifier_config": {"camera": {"source": "no such camera"}}}
    gate_s = round(_SHORT_GATE_S * pi.patience)
    figures = []
    for name, checkout, changes, expected in (
        ("crashes", crashing, {"edgeclassifier_gate_deadline_s": gate_s}, _BACK),
        ("never predicts", silent, {"edgeclassifier_gate_deadline_s": gate_s}, _BACK),
        ("bad configuration", pi.now, bad, "was left alone"),
    ):
        mark = pi.watcher.mark()
        began_s = time.monotonic()
        recap = pi.play(checkout, "site.yml", ok=False, **changes)
        figures.append(f"{name} {time.monotonic() - began_s:.0f} s ({_reason(recap, expected)})")
        pi.prediction(mark=pi.watcher.mark())
        versions = {each.json()["version"] for each in pi.watcher.since(mark, "info")}
        if versions - {pi.now.version}:
            raise ScenarioError(f"publishes as {versions}")
    current = _current(pi)
    if not current.startswith(f"{pi.now.version}-"):
        raise ScenarioError(f"current is {current}")
    if current in pi.machine.run("readlink /opt/edgeclassifier/previous", check=False).stdout:
        raise ScenarioError("the release before the current one is said to be the same")
    return f"{'; '.join(figures)}; each time {pi.now.version} runs on"


def _reason(recap: Recap, expected: str) -> str:
    """Return what the playbook says at its end, which has to contain something."""
    said = re.sub(r"\s+", " ", recap.output[recap.output.rfind("TASK [") :])
    if expected not in said:
        raise ScenarioError(f"{expected!r} is not what it says: {recap.output[-6000:]}")
    found = re.search(r"does not work: (.*? and is healthy)\.|(`edgeclassifier check`.*?)\. ", said)
    return (found[1] or found[2]) if found else said[:300]


def survives_power_cuts(pi: Pi) -> str:
    """At random moments, also during an upgrade: no torn file, predictions every time."""
    moments = []
    for number in range(_POWER_CUTS):
        moment = _cut_an_upgrade(pi, f"0.4.{number}") if number % 2 else _cut(pi)
        with pi.machine.disk.stopped() as disk:
            if disk.damaged:
                raise ScenarioError(f"the file system is damaged: {disk.report}")
        # What was published before the cut has arrived by now.
        mark = pi.watcher.mark()
        state = pi.machine.start()
        if state != "running":
            raise ScenarioError(f"{moment}: {state}")
        seen = pi.another_run(mark)
        version = _current(pi).partition("-")[0]
        checked, *torn = pi.machine.shell.output(f'python3 -c "{_TORN}"', timeout_s=600).split()
        if torn:
            raise ScenarioError(f"torn: {torn}")
        moments.append(f"{moment}: {version} runs, {checked} files whole")
        pi.say(f"   power cut {moments[-1]}, predictions as {seen.json()['boot_id'][:8]}")
    return "; ".join(moments)


def _cut(pi: Pi) -> str:
    wait_s = pi.random.uniform(0.5, 15)
    time.sleep(wait_s)
    pi.machine.power_cut()
    return f"after {wait_s:.0f} s at work"


def _cut_an_upgrade(pi: Pi, version: str) -> str:
    task = pi.random.choice(_MOMENTS)
    wait_s = pi.random.uniform(0, _LONGEST_IN_TASK_S) * pi.patience
    pi.now = pi.checkout(version)
    with Background(pi.machine, pi.now, "site.yml", variables=pi.variables) as running:
        running.wait_for(task, timeout_s=_UPGRADE_TIMEOUT_S * pi.patience)
        time.sleep(wait_s)
        pi.machine.power_cut()
    return f"in an upgrade to {version}, {wait_s:.0f} s after {task!r} began"


def _current(pi: Pi) -> str:
    return pi.machine.shell.output("basename $(readlink /opt/edgeclassifier/current)")
