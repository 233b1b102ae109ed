"""One run of the daemon, and the record of how it ended."""

import logging
import os
from collections.abc import Callable

from edgeclassifier.compose.daemon import run_daemon
from edgeclassifier.compose.identity import state_directory
from edgeclassifier.config import Config
from edgeclassifier.daemon.exit_record import ExitRecord
from edgeclassifier.errors import EXIT_FAILURE, EdgeclassifierError
from edgeclassifier.host import threads
from edgeclassifier.host.signals import StopSignal

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
    record = ExitRecord(directory)
    last_crash = record.previous()
    # Waits for the disk, which nothing else does.
    threads.start(record.begin, name="exit-record")
    stop.limit(lambda why: record.end(why, code=EXIT_FAILURE))
    try:
        run_daemon(
            config,
            reread=reread or (lambda: config),
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
