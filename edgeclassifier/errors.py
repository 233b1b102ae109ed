"""What can go wrong, grouped by who has to act. Every message is one line for the user."""

from collections.abc import Sequence

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: restarting will not help, so the unit does not try."""


class EdgeclassifierError(Exception):
    """Base of all errors that are reported without a traceback."""

    exit_code = EXIT_FAILURE


class UsageError(EdgeclassifierError):
    """The command line asks for something that is not there."""

    exit_code = EXIT_USAGE


class ConfigError(EdgeclassifierError):
    """The configuration has to be edited. Carries every problem that was found."""

    exit_code = EXIT_CONFIG

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class ModelError(EdgeclassifierError):
    """The model or its label file cannot be used."""

    exit_code = EXIT_CONFIG


class PixelsError(ModelError):
    """How a model's pixels are meant is unclear, or is configured in a way that does not fit."""


class TrialError(EdgeclassifierError):
    """A model could not be tried, which says nothing of it; trying again may help."""


class InferenceError(EdgeclassifierError):
    """The interpreter failed on a frame; starting again may help."""


class DownloadError(EdgeclassifierError):
    """A model could not be fetched; trying again may help."""


class CameraError(EdgeclassifierError):
    """The camera is absent, busy or broken."""


class CameraSettingError(CameraError):
    """The configuration asks for something that the camera does not have."""

    exit_code = EXIT_CONFIG


class CameraTimeout(CameraError):  # noqa: N818 - as in TimeoutError, named for what happened
    """The camera is open but delivered no frame in time."""


class PictureError(EdgeclassifierError):
    """A picture file cannot be read."""


class TeachingError(EdgeclassifierError):
    """The examples are not enough to learn from, or learning cannot go on here."""


class BrokerError(EdgeclassifierError):
    """The MQTT broker cannot be reached or refuses the session."""


class RequestError(EdgeclassifierError):
    """A request asks for something that is not there, or not allowed."""


class KeepError(EdgeclassifierError):
    """Kept pictures cannot be read or written: the disk is full, read-only or damaged."""


class ThreadDiedError(EdgeclassifierError):
    """A thread of the daemon ended because of a fault in this program; starting again may help."""
