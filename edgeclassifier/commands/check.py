"""`edgeclassifier check`: whether everything that the configuration names is usable."""

import argparse
import json
import logging
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclassifier.commands.common import (
    Subparsers,
    add_config_options,
    add_model_option,
    config_path,
    read_config,
)
from edgeclassifier.errors import ConfigError, EdgeclassifierError, ModelError

if TYPE_CHECKING:
    from edgeclassifier.compose import Engine
    from edgeclassifier.config import Config
    from edgeclassifier.config.schema import MetricsConfig, WebConfig


def add_parser(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "check",
        help="validate configuration, model, labels, accelerator, camera, broker, page and metrics",
        description="Try everything that the configuration names, and say what to do about each "
        "failure. The exit code is that of the first failure.",
    )
    parser.add_argument("--online", action="store_true", help="connect to the broker as well")
    parser.add_argument("--no-camera", action="store_true", help="leave the camera alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_model_option(parser)
    add_config_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check one part after the other; a failure of one does not hide the next."""
    checks = _Checks(as_json=args.json)

    def read() -> str:
        checks.config = read_config(args)
        path = config_path(args)
        return f"{path or 'no file, the defaults'}: valid"

    checks.add("config", read)
    if (config := checks.config) is not None:
        checks.add("model", lambda: checks.load_model(config))
        checks.add("accelerator", lambda: _check_accelerator(config, checks.engine))
        if not args.no_camera:
            checks.add("camera", lambda: _check_camera(config))
        checks.add("broker", lambda: _check_broker(config, online=args.online))
        checks.add("web", lambda: _check_page(config.web))
        checks.add("metrics", lambda: _check_metrics(config.metrics))
        checks.warn("service", _closed_to_the_service(config))
    return checks.end()


def _check_accelerator(config: "Config", engine: "Engine | None") -> str:
    from edgeclassifier.accelerator.devices import find_edge_tpus
    from edgeclassifier.compose.accelerator import compiled_model, try_accelerator

    delegate = config.accelerator.delegate
    if delegate == "none":
        return "none is configured"
    devices = find_edge_tpus() if delegate in {"auto", "edgetpu"} else []
    if delegate == "auto" and not devices:
        return "auto: no Edge TPU is plugged in, the CPU runs the model"
    if engine is None:
        raise ModelError("not tried: it needs a model that runs on the CPU as well")
    where = ", ".join(f"{each.kind} {each.path}" for each in devices) or "no Edge TPU is plugged in"
    what = delegate if delegate not in {"auto", "edgetpu"} else f"{delegate} ({where})"
    try:
        compiled = compiled_model(config, engine.model)
    except ModelError as error:
        if delegate != "auto":
            raise
        return f"{what}: is not used: {error}"
    # What goes wrong is in the outcome.
    logging.getLogger("edgeclassifier.accelerator").setLevel(logging.ERROR)
    try_accelerator(config, compiled, twin=engine.classifier)
    return f"{what}: runs {compiled.name}"


def _check_camera(config: "Config") -> str:
    from edgeclassifier import compose
    from edgeclassifier.errors import CameraError

    camera = compose.build_camera(config.camera)
    try:
        camera.open()
        frame = camera.read(config.camera.deadline_s)
    finally:
        camera.close()
    if frame is None:
        raise CameraError(f"{config.camera.source}: ended before the first frame")
    height, width = frame.pixels.shape[:2]
    return f"{config.camera.source}: a frame of {width}x{height} from {frame.origin}"


def _check_broker(config: "Config", *, online: bool) -> str:
    from edgeclassifier import compose

    access = compose.broker_access(config.mqtt, device=compose.device_id(config.device.id))
    where = f"{access.host}:{access.port}"
    if not online:
        return f"{where}: settings are valid; --online tries to connect"
    compose.probe_broker(access)
    return f"{where}: lets this device in"


def _check_page(web: "WebConfig") -> str:
    from edgeclassifier.host.credentials import read_password

    if not web.enabled:
        return "the page is off"
    if web.password_file:
        read_password(Path(web.password_file))
    with_or_without = "with" if web.password_file else "without"
    return f"the page is at {web.host}, port {web.port}, {with_or_without} a password"


def _check_metrics(metrics: "MetricsConfig") -> str:
    from edgeclassifier.metrics.textfile import name_problem

    if not metrics.textfile:
        return "no file is configured"
    if problem := name_problem(Path(metrics.textfile)):
        raise ConfigError([f"metrics.textfile: {problem}"])
    return metrics.textfile


def _closed_to_the_service(config: "Config") -> list[str]:
    """Say what the service will not be able to use, although whoever tries it here is."""
    from edgeclassifier.doctor.access import closed_folder, closed_secrets
    from edgeclassifier.doctor.machine import SERVICE_USER, Machine

    host = Machine()
    said = [
        f"{key}: {SERVICE_USER}, who runs the service, may not read {file}: "
        f"sudo chown {SERVICE_USER} {shlex.quote(file)}"
        for key, file in closed_secrets(config, host)
    ]
    textfile = config.metrics.textfile
    if textfile and (problem := closed_folder(textfile, host)):
        said.append(f"metrics.textfile: {problem}; the daemon does without, and tries again")
    return said


class _Checks:
    """Collects the outcome of each check."""

    def __init__(self, *, as_json: bool) -> None:
        self.config: Config | None = None
        self.engine: Engine | None = None
        self._as_json = as_json
        self._outcomes: list[dict[str, object]] = []
        self._exit_code = 0

    def load_model(self, config: "Config") -> str:
        """Load the model and run it on the CPU."""
        import numpy as np

        from edgeclassifier import compose

        engine = compose.build_engine(config)
        engine.classify(np.zeros((64, 64, 3), np.uint8))
        self.engine = engine
        classifier, size = engine.classifier, engine.classifier.input
        return (
            f"{engine.model.name} ({engine.model.reason}): {size.width}x{size.height} "
            f"{size.dtype}, {len(classifier.labels)} labels, {classifier.runtime}, "
            f"threads: {classifier.threads}"
        )

    def add(self, name: str, check: Callable[[], str]) -> None:
        """Run one check; it returns what it found, or raises what is wrong."""
        try:
            said, passed = [check()], True
        except EdgeclassifierError as error:
            passed = False
            said = list(error.problems) if isinstance(error, ConfigError) else [str(error)]
            self._exit_code = self._exit_code or error.exit_code
        self._outcomes.append({"check": name, "ok": passed, "details": said})
        if not self._as_json:
            for line in said:
                sys.stdout.write(f"{'ok  ' if passed else 'FAIL'}  {name:<11} {line}\n")

    def warn(self, name: str, said: list[str]) -> None:
        """Say what may go wrong elsewhere, if anything; it counts as no failure."""
        if said:
            self._outcomes.append({"check": name, "ok": True, "details": said})
        if not self._as_json:
            for line in said:
                sys.stdout.write(f"warn  {name:<11} {line}\n")

    def end(self) -> int:
        """Print what is left to print and return the exit code."""
        if self._as_json:
            sys.stdout.write(json.dumps(self._outcomes, indent=2, ensure_ascii=False) + "\n")
        return self._exit_code
