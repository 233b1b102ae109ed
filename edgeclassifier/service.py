"""One run of the daemon, and the record of how it ended."""

import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path

from edgeclassifier.compose.daemon import run_daemon
from edgeclassifier.compose.identity import state_directory
from edgeclassifier.config import Config
from edgeclassifier.daemon.exit_record import ExitRecord
from edgeclassifier.errors import EXIT_FAILURE, ConfigError, EdgeclassifierError
from edgeclassifier.host import threads
from edgeclassifier.host.lock import HeldError, locked
from edgeclassifier.host.signals import STOP_WITHIN_S, StopSignal

log = logging.getLogger(__name__)


def run_service(
    config: Config, *, stop: StopSignal, reread: Callable[[], Config] | None = None
) -> None:
    """Classify and publish until the camera comes to its end or `stop` is set.

    `reread` reads the configuration again, for SIGHUP. Raises ConfigError, ModelError, CameraError,
    InferenceError or ThreadDiedError, after `offline` was published if that was possible. Why the
    daemon ended is on record for the next start.
    """
    directory = state_directory(config.device, os.environ)
    run = functools.partial(_run, config, directory, reread=reread or (lambda: config), stop=stop)
    if directory is None:
        run()
        return
    try:
        with locked(directory, patience_s=STOP_WITHIN_S):
            run()
    except HeldError as holder:
        raise ConfigError(
            [
                f"{directory}: another daemon ({holder}) keeps its state there: stop it, or set "
                "device.state_directory of one of them"
            ]
        ) from None


def _run(
    config: Config,
    directory: Path | None,
    *,
    reread: Callable[[], Config],
    stop: StopSignal,
) -> None:
    record = ExitRecord(directory)
    last_crash = record.previous()
    # Waits for the disk, which nothing else does.
    threads.start(record.begin, name="exit-record")
    stop.limit(lambda why: record.end(why, code=EXIT_FAILURE))
    try:
        run_daemon(
            config,
            reread=reread,
            state_directory=directory,
            last_crash=last_crash,
            stop=stop,
        )
    except EdgeclassifierError as error:
        record.end(str(error), code=error.exit_code)
        raise
    except BaseException as error:
        record.end(f"a fault in this program: {type(error).__name__}: {error}", code=EXIT_FAILURE)
        raise
    record.end("asked to stop or to start again, or no more pictures", code=0)
    log.info("stopped")
