"""The daemon: builds its parts, lets frames through them, and stops them in order."""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from edgeclassifier import compose
from edgeclassifier.config import Config
from edgeclassifier.config.overrides import Overrides
from edgeclassifier.contract.payloads import offline
from edgeclassifier.contract.status import Crash
from edgeclassifier.daemon.exit_record import ExitRecord
from edgeclassifier.daemon.loop import Daemon
from edgeclassifier.errors import (
    EXIT_FAILURE,
    ConfigError,
    EdgeclassifierError,
    ModelError,
    TrialError,
)
from edgeclassifier.extensions import build_extensions
from edgeclassifier.host.signals import StopSignal
from edgeclassifier.host.systemd import Notifier
from edgeclassifier.pipeline.pipeline import Pipeline

log = logging.getLogger(__name__)

_STOP_S = 2.0
"""For the broker to take the last messages; the camera and the interpreter have as long."""


def run_service(
    config: Config, *, stop: StopSignal, reread: Callable[[], Config] | None = None
) -> None:
    """Classify and publish until the camera comes to its end or `stop` is set.

    `reread` gives the configuration anew, for SIGHUP. Raises ConfigError, ModelError, CameraError,
    InferenceError or BrokerError, after `offline` was published where that was possible. Why the
    daemon ended is on record for the next start.
    """
    state_directory = compose.state_directory(config.device, os.environ)
    record = ExitRecord(state_directory)
    last_crash = record.previous()
    # Waits for the disk, which nothing else does.
    threading.Thread(target=record.begin, name="exit-record", daemon=True).start()
    stop.limit(lambda why: record.end(why, code=EXIT_FAILURE))
    try:
        _run(
            config,
            stop=stop,
            reread=reread or (lambda: config),
            last_crash=last_crash,
            state_directory=state_directory,
        )
    except EdgeclassifierError as error:
        record.end(str(error), code=error.exit_code)
        raise
    except BaseException as error:
        record.end(f"a fault in this program: {type(error).__name__}: {error}", code=EXIT_FAILURE)
        raise
    record.end("asked to stop or to start again, or no more pictures", code=0)
    log.info("stopped")


def _run(
    config: Config,
    *,
    stop: StopSignal,
    reread: Callable[[], Config],
    last_crash: Crash | None,
    state_directory: Path | None,
) -> None:
    started_s = time.monotonic()
    notifier = Notifier(os.environ)
    overrides = Overrides(state_directory)
    configured = config
    config, model = _with_overrides(configured, overrides)
    settings = compose.publisher_settings(config)
    access = compose.broker_access(config.mqtt, device=settings.topics.device)
    farewell = offline(settings.topics)
    requests = compose.request_handler(config.commands, settings.topics)
    session = compose.build_session(
        config,
        access,
        will=farewell,
        state_directory=state_directory,
        subscriptions=compose.subscriptions(config, settings.topics),
    )
    session.listen(requests.receive)
    pipeline = Pipeline(
        camera=compose.camera_settings(config.camera),
        inference_deadline_s=config.model.deadline_s,
        nice=compose.around_interpreter_nice(config.model),
        idle=compose.idle_settings(config),
    )
    # Connecting, and opening the camera, go on while the model is loaded.
    session.start()
    pipeline.open()
    daemon = None
    try:
        # Perhaps it was the model: a damaged one can take the process with it.
        unexplained = last_crash is not None and last_crash.exit_code is None
        try:
            _load(pipeline, config, model, stop=stop, on_trial=unexplained)
        except ModelError as error:
            config, model = _without_chosen_model(error, config, configured, overrides)
            _load(pipeline, config, model, stop=stop)
        if stop.is_set():
            return
        overrides.save()
        daemon = Daemon(
            config,
            settings=settings,
            pipeline=pipeline,
            session=session,
            requests=requests,
            notifier=notifier,
            configured=reread,
            overrides=overrides,
            last_crash=last_crash,
            started_s=started_s,
            stop=stop,
        )
        with ExitStack() as running:
            for extension in build_extensions(config, daemon):
                extension.start()
                running.callback(extension.stop)
            if not stop.is_set():
                daemon.run()
    finally:
        notifier.stopping()
        pipeline.close()
        last = farewell if daemon is None else daemon.farewell
        session.stop(last=last, timeout_s=_STOP_S)
        notifier.close()


def _load(
    pipeline: Pipeline,
    config: Config,
    model: compose.ModelFile,
    *,
    stop: StopSignal,
    on_trial: bool = False,
) -> None:
    """Attach a model, unless `stop` is set. Raises ModelError where it cannot be used."""
    if on_trial:
        _try(config, model, stop)
    if stop.is_set():
        return
    # Kept nowhere else: another model may take its place, and all of it has to go then.
    pipeline.attach(compose.build_inference(config, model))
    log.info("model %s: %s", model.name, model.reason)


def _try(config: Config, model: compose.ModelFile, stop: StopSignal) -> None:
    """Raise ModelError where the model is known to be unusable."""
    log.info("the last run ended without a word: the model is tried in a process of its own")
    try:
        compose.try_model(config, model, stopped=stop.is_set)
    except TrialError as error:
        # Memory may suffice for one process, time for another start: no reason to stay away.
        if not stop.is_set():
            log.warning("%s; it is used all the same", error)


def _with_overrides(configured: Config, overrides: Overrides) -> tuple[Config, compose.ModelFile]:
    """Apply what was changed on request, unless that would keep the daemon from starting."""
    try:
        config = overrides.apply(configured)
    except ConfigError as error:
        log.warning("what was changed on request is taken back: %s", error)
        overrides.clear()
        config = configured
    try:
        return config, compose.find_model(config.model)
    except ModelError as error:
        return _without_chosen_model(error, config, configured, overrides)


def _without_chosen_model(
    error: ModelError, config: Config, configured: Config, overrides: Overrides
) -> tuple[Config, compose.ModelFile]:
    """Return to the configured model; to be saved once that is loaded.

    Raises `error` where that is the one in `config`, which failed.
    """
    if config.model.name == configured.model.name:
        raise error
    log.warning("the model that was chosen on request is taken back: %s", error)
    overrides.set(configured, "model.name", None)
    config = overrides.apply(configured)
    return config, compose.find_model(config.model)
