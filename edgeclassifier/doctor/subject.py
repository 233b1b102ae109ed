"""What is examined: a machine, and the configuration of its daemon."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from edgeclassifier.config import Config
from edgeclassifier.doctor.machine import SERVICE_USER, Machine, Process
from edgeclassifier.host.children import Outcome, module_command
from edgeclassifier.host.lock import is_held

TrialName = Literal["runtime", "model", "camera", "accelerator"]

_TIMEOUT_S: Mapping[TrialName, float] = {
    "runtime": 60.0,
    "model": 90.0,
    "camera": 45.0,
    "accelerator": 60.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a trial, a process that does what may crash or hang, came to say."""

    outcome: Outcome
    results: Mapping[str, Any]


@dataclass(kw_only=True)
class Subject:
    """A machine, a configuration, and what several checks want to know of them."""

    machine: Machine
    config: Config = field(default_factory=Config)
    config_file: Path | None = None
    as_daemon: bool = False
    """Whether the daemon runs as this user: what is closed to this user is then a failure."""
    online: bool = True
    """Whether the broker may be connected to."""
    _trials: dict[TrialName, Trial] = field(default_factory=dict)

    def trial(self, name: TrialName) -> Trial:
        """Try something out in a child process, once."""
        if name not in self._trials:
            python = self.machine.python.executable
            outcome = self.machine.run(
                [*module_command("edgeclassifier.doctor.trials", python=python), name],
                timeout_s=_TIMEOUT_S[name],
                # Not among the arguments, which everybody can see: FFmpeg's options may be secret.
                given=json.dumps(dataclasses.asdict(self.config)),
            )
            self._trials[name] = Trial(outcome=outcome, results=_results(outcome.output))
        return self._trials[name]

    @property
    def state_directory(self) -> Path | None:
        """The daemon's folder: the service's if that is installed, else this user's."""
        from edgeclassifier.compose.identity import state_directory

        device = self.config.device
        if not device.state_directory and self.is_service:
            return self.machine.path(f"/var/lib/{SERVICE_USER}")
        return state_directory(device, self.machine.environment)

    @property
    def is_service(self) -> bool:
        """Whether the service is installed here."""
        return bool(self.machine.names("/etc/systemd/system/edgeclassifier.service"))

    @cached_property
    def daemons(self) -> list[Process]:
        """The daemons that run on this machine."""
        return [each for each in self.machine.processes() if each.is_daemon]

    @cached_property
    def daemon_runs(self) -> bool:
        """Whether the daemon of this configuration runs; any daemon may be it if that is not sure.

        Each holds the lock of its own folder.
        """
        directory = self.state_directory
        held = None if directory is None else is_held(directory)
        return bool(self.daemons) if held is None else held

    @cached_property
    def unit(self) -> Mapping[str, str]:
        """What systemd knows of the service; empty if systemd does not run the machine."""
        outcome = self.machine.run(
            ["systemctl", "show", "edgeclassifier.service", "--no-pager"], timeout_s=10
        )
        if not outcome.succeeded:
            return {}
        pairs = (line.partition("=") for line in outcome.output.splitlines())
        return {key: value for key, _, value in pairs}


def _results(output: str) -> dict[str, Any]:
    """Read what a trial reports: a JSON object a line, between whatever libraries print."""
    results: dict[str, Any] = {}
    for line in output.splitlines():
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(said, dict):
            results |= said
    return results
