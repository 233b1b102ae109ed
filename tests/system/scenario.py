"""What a device has to stand, step by step, each printed with its figure."""

import json
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brokers import Mosquitto

from system.image import Image, Say
from system.machine import HOST_ADDRESS, Machine
from system.playbook import Checkout, DeploymentError, Recap, begin, play
from system.watcher import BROKER, Seen, Watcher, WatchError

CATS = frozenset({"Egyptian cat", "tabby", "tiger cat"})
_DEVICE = "virtual-pi"
_UNIT = "edgeclassifier.service"
_FIRST_S = 300.0
_BACK_S = 240.0
_OUTAGE_S = 20.0
_POWER_CUTS = 5
_SANDBOX = Path(__file__).parent / "sandbox.py"


class ScenarioError(Exception):
    """The device did not do what it has to. The message says what was seen instead."""


class Scenario:
    """One virtual Pi, from nothing installed to nothing left."""

    def __init__(self, image: Image, folder: Path, *, say: Say) -> None:
        """Keep everything in `folder`."""
        self._folder = folder
        self._say = say
        self._machine = Machine(image, folder / "machine", say=say)
        self._broker = Mosquitto(
            folder, lines=(*BROKER, f"persistence_location {folder}/", "autosave_interval 1")
        )
        self._random = random.Random()
        self._now = Checkout(folder / "first", version="0.1.0")
        self._camera: dict[str, Any] = {"source": "picamera2"}
        self._steps: tuple[Callable[[], str], ...] = (
            self.deploys_from_nothing,
            self.changes_nothing_in_the_second_run,
            self.comes_back_after_a_reboot,
            self.comes_back_after_a_kill,
            self.comes_back_after_a_hang,
            self.loses_nothing_while_the_broker_is_away,
            self.holds_its_sandbox,
            self.upgrades,
            self.goes_back_from_a_broken_release,
            self.survives_power_cuts,
            self.reads_a_v4l2_device,
            self.leaves_nothing_behind,
        )

    def run(self, *, steps: int | None = None) -> None:
        """Do all steps, or the first few. Raises ScenarioError and what parts of it raise."""
        with self._machine, self._broker, Watcher(self._broker.port) as watcher:
            self._watcher = watcher
            state = self._machine.start()
            if state != "running":
                raise ScenarioError(state)
            self._machine.show("chelsea")
            for number, step in enumerate(self._steps[:steps], 1):
                started_s = time.monotonic()
                figure = step()
                took_s = time.monotonic() - started_s
                self._say(f"{number}. {step.__name__.replace('_', ' ')}: {figure} ({took_s:.0f} s)")

    @property
    def variables(self) -> dict[str, Any]:
        """What the inventory says of the device."""
        return {
            "edgeclassifier_config": {
                "device": {"id": _DEVICE},
                "camera": self._camera,
                "mqtt": {
                    "host": HOST_ADDRESS,
                    "port": self._broker.port,
                    "health_interval_s": 5.0,
                    "keepalive_s": 10,
                },
            },
            # Debian has no python3-picamera2: it is in the image.
            "edgeclassifier_packages": ["python3-venv"],
            "edgeclassifier_picamera2": True,
            "edgeclassifier_gate_deadline_s": 300,
        }

    def deploys_from_nothing(self) -> str:
        """A deployment from nothing to predictions, with the cat on top."""
        recap = self._deploy(self._now)
        first = self._prediction(mark=0, timeout_s=_FIRST_S).json()
        best = first["predictions"][0]
        if best["label"] not in CATS:
            raise ScenarioError(f"the cat is taken for {best}")
        return f"changed={recap.changed}, {best['label']} {best['score']:.2f}"

    def changes_nothing_in_the_second_run(self) -> str:
        """Neither for real nor in check mode is there anything to do."""
        checked = self._expect(self._play(self._now, "site.yml", "--check", "--diff"), ok=True)
        recap = self._deploy(self._now)
        if recap.changed or checked.changed:
            raise ScenarioError(f"{recap.output}\nchanged={recap.changed}, {checked.changed}")
        return "changed=0, with --check as well"

    def comes_back_after_a_reboot(self) -> str:
        """Nobody has to log in."""
        mark = self._watcher.mark()
        state = self._machine.reboot()
        seen = self._another_boot(mark)
        if state != "running":
            raise ScenarioError(state)
        return f"first prediction of boot {seen.json()['boot_id'][:8]}"

    def comes_back_after_a_kill(self) -> str:
        """`kill -9`: offline in between, and the reason afterwards."""
        return self._survive("kill -KILL $MAINPID", "killed", offline_within_s=30)

    def comes_back_after_a_hang(self) -> str:
        """SIGSTOP until the watchdog fires."""
        return self._survive("kill -STOP $MAINPID", "aborted", offline_within_s=120)

    def loses_nothing_while_the_broker_is_away(self) -> str:
        """Stopped and started again: every number arrives."""
        mark = self._watcher.mark()
        self._prediction(mark=mark, timeout_s=_BACK_S)
        self._broker.stop()
        time.sleep(_OUTAGE_S)
        self._broker.start()
        after = self._watcher.mark()
        self._prediction(mark=after, timeout_s=_BACK_S)
        time.sleep(_OUTAGE_S)
        numbered = [
            each.json()["seq"]
            for each in self._watcher.since(mark)
            if each.kind in {"predictions", "state", "event"}
        ]
        missing = set(range(min(numbered), max(numbered) + 1)) - set(numbered)
        if missing:
            raise ScenarioError(f"{len(missing)} messages are missing: {sorted(missing)[:20]}")
        return f"{len(set(numbered))} messages without a gap over an outage of {_OUTAGE_S:.0f} s"

    def holds_its_sandbox(self) -> str:
        """From inside it can write nowhere else, see nobody else and gain nothing."""
        shell = self._machine.shell
        shell.write("/run/sandbox.py", _SANDBOX.read_text())
        unit = shell.output(f"cat /etc/systemd/system/{_UNIT}")
        unit = re.sub(r"(?m)^(Type|ExecStart|Restart|WatchdogSec|ExecReload)=.*\n", "", unit)
        command = "/opt/edgeclassifier/current/bin/python /run/sandbox.py"
        unit = unit.replace("[Service]", f"[Service]\nType=oneshot\nExecStart={command}", 1)
        shell.write("/run/systemd/system/sandbox-test.service", unit)
        self._machine.run("systemctl daemon-reload; systemctl start sandbox-test", check=False)
        said = shell.output("journalctl -u sandbox-test -o cat --no-pager | grep '^{' | tail -1")
        found: dict[str, Any] = json.loads(said or "{}")
        broken = [name for name, held in found.items() if held is not True]
        if broken or not found:
            raise ScenarioError(f"the sandbox does not hold: {broken or 'no answer'}: {said}")
        return f"{len(found)} attempts failed as they should: {', '.join(found)}"

    def upgrades(self) -> str:
        """Another release takes over."""
        self._now = Checkout(self._folder / "second", version="0.2.0")
        mark = self._watcher.mark()
        self._deploy(self._now)
        self._another_boot(mark)
        self._wait_for_version("0.2.0", mark)
        return "0.1.0 to 0.2.0"

    def goes_back_from_a_broken_release(self) -> str:
        """Crashes; starts but never predicts; has a bad configuration."""
        crashing = Checkout(self._folder / "crashing", version="0.3.0")
        body = re.compile(r'    """Run the daemon\."""\n')
        crashing.edit("edgeclassifier/commands/run.py", body, "    raise SystemExit(3)\n")
        silent = Checkout(self._folder / "silent", version="0.3.1")
        forever = "    import time\n\n    while True:\n        time.sleep(1)\n"
        silent.edit("edgeclassifier/commands/run.py", body, forever)
        short = {"edgeclassifier_gate_deadline_s": 60}
        bad = {"edgeclassifier_config": {"camera": {"source": "no such camera"}}}
        for checkout, changes in ((crashing, short), (silent, short), (self._now, bad)):
            mark = self._watcher.mark()
            recap = self._play(checkout, "site.yml", variables={**self.variables, **changes})
            self._expect(recap, ok=False)
            self._prediction(mark=self._watcher.mark(), timeout_s=_BACK_S)
            versions = {each.json()["version"] for each in self._watcher.since(mark, "info")}
            if versions - {"0.2.0"}:
                raise ScenarioError(f"publishes as {versions}")
        if self._machine.shell.output("readlink /opt/edgeclassifier/current").find("0.2.0") < 0:
            raise ScenarioError("current is not 0.2.0")
        return "crashes, never predicts, bad configuration: each time 0.2.0 runs on"

    def survives_power_cuts(self) -> str:
        """At random moments, also during an upgrade: no torn file, predictions every time."""
        moments = []
        for number in range(_POWER_CUTS):
            mark = self._watcher.mark()
            wait_s = self._random.uniform(1, 60)
            if number % 2:
                version = f"0.4.{number}"
                upgrade = Checkout(self._folder / f"upgrade-{number}", version=version)
                running = begin(self._machine, upgrade, "site.yml", variables=self.variables)
                time.sleep(wait_s)
                self._machine.power_cut()
                running.kill()
                running.wait()
            else:
                time.sleep(wait_s / 4)
                self._machine.power_cut()
            with self._machine.disk.stopped() as disk:
                if disk.damaged:
                    raise ScenarioError(f"the file system is damaged: {disk.report}")
            self._machine.start()
            self._another_boot(mark)
            moments.append(f"{wait_s:.0f} s{' into an upgrade' if number % 2 else ''}")
        return f"cut after {', '.join(moments)}"

    def reads_a_v4l2_device(self) -> str:
        """The stream camera, through the same unit and sandbox."""
        self._camera = {"source": "stream", "stream": {"url": "/dev/video0"}}
        mark = self._watcher.mark()
        self._deploy(self._now)
        seen = self._another_boot(mark).json()
        return f"{seen['origin']}: {seen['predictions'][0]['label']}"

    def leaves_nothing_behind(self) -> str:
        """But what it says it keeps."""
        self._expect(
            self._play(self._now, "uninstall.yml", "-e", "edgeclassifier_purge=true"), ok=True
        )
        left = self._machine.shell.output(
            "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp \\) -prune "
            "-o -iname '*edgeclassifier*' -print; getent passwd edgeclassifier || true"
        )
        if left:
            raise ScenarioError(f"left behind: {left}")
        return "no file and no user with its name"

    def _survive(self, command: str, reason: str, *, offline_within_s: float) -> str:
        mark = self._watcher.mark()
        self._prediction(mark=mark, timeout_s=_BACK_S)
        started_s = time.monotonic()
        mark = self._watcher.mark()
        self._machine.run(f"MAINPID=$(systemctl show -P MainPID {_UNIT}); {command}")
        offline = self._wait(
            "offline", lambda each: each.payload == b"offline", mark, offline_within_s
        )
        back = self._another_boot(mark)
        health = self._wait(
            "the reason",
            lambda each: (
                each.kind == "health"
                and reason in ((each.json()["last_crash"] or {}).get("reason") or "")
            ),
            mark,
            _BACK_S,
        )
        return (
            f"offline after {offline.at_s - started_s:.1f} s, predictions after "
            f"{back.at_s - started_s:.1f} s, {health.json()['last_crash']['reason']!r}"
        )

    def _another_boot(self, mark: int) -> Seen:
        known = {each.json()["boot_id"] for each in self._seen_until(mark)}
        return self._wait(
            "a prediction of another run",
            lambda each: each.kind == "predictions" and each.json()["boot_id"] not in known,
            mark,
            _BACK_S,
        )

    def _seen_until(self, mark: int) -> Iterator[Seen]:
        everything = self._watcher.since(0)
        return (each for each in everything[:mark] if each.kind == "predictions")

    def _wait_for_version(self, version: str, mark: int) -> None:
        self._wait(
            f"version {version}",
            lambda each: each.kind == "info" and each.json()["version"] == version,
            mark,
            _BACK_S,
        )

    def _prediction(self, *, mark: int, timeout_s: float) -> Seen:
        return self._wait("a prediction", lambda each: each.kind == "predictions", mark, timeout_s)

    def _wait(
        self, what: str, condition: Callable[[Seen], object], mark: int, timeout_s: float
    ) -> Seen:
        with self._journal_on_failure():
            return self._watcher.wait_for(what, condition, mark=mark, timeout_s=timeout_s)

    @contextmanager
    def _journal_on_failure(self) -> Iterator[None]:
        try:
            yield
        except WatchError as error:
            journal = self._machine.run(
                f"systemctl status --no-pager {_UNIT}; journalctl --no-pager -u {_UNIT} -n 60",
                check=False,
            ).stdout
            raise ScenarioError(f"{error}\n{journal}") from None

    def _deploy(self, checkout: Checkout) -> Recap:
        return self._expect(self._play(checkout, "site.yml"), ok=True)

    def _play(
        self,
        checkout: Checkout,
        name: str,
        *arguments: str,
        variables: dict[str, Any] | None = None,
    ) -> Recap:
        return play(
            self._machine, checkout, name, *arguments, variables=variables or self.variables
        )

    def _expect(self, recap: Recap, *, ok: bool) -> Recap:
        if recap.ok != ok:
            raise DeploymentError(recap.output[-6000:])
        return recap
