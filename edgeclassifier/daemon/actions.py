"""What each command does to the running daemon."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from edgeclassifier import compose
from edgeclassifier.config import Config
from edgeclassifier.config.overrides import Overrides
from edgeclassifier.contract.payloads import Payloads
from edgeclassifier.contract.results import Result
from edgeclassifier.contract.status import Reload
from edgeclassifier.daemon.publisher import Publisher
from edgeclassifier.daemon.reconfigure import Reconfiguration
from edgeclassifier.daemon.requests import check_arguments
from edgeclassifier.errors import RequestError
from edgeclassifier.pipeline.pipeline import Pipeline

_ANSWER_S = 30.0
_CHANGE_S = 180.0
"""A new model is tried in a process of its own first."""

Answer = Mapping[str, Any]


class Actions:
    """Carries out commands, from any thread. Each raises EdgeclassifierError where it cannot."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        publisher: Publisher,
        payloads: Payloads,
        reconfiguration: Reconfiguration,
        overrides: Overrides,
        configured: Callable[[], Config],
        changed: Callable[[], None],
        health: Callable[[], dict[str, Any]],
        restart: Callable[[], None],
    ) -> None:
        """Take `configured`, which reads the files, without what was changed on request.

        `changed` is called for what health or info have to show at once.
        """
        self._pipeline = pipeline
        self._publisher = publisher
        self._payloads = payloads
        self._reconfiguration = reconfiguration
        self._overrides = overrides
        self._configured = configured
        self._changed = changed
        self._health = health
        self._restart = restart
        self._changing = threading.Lock()
        self._commands: Mapping[str, Callable[..., Answer]] = {
            "classify": self.classify,
            "snapshot": self.snapshot,
            "pause": self.pause,
            "resume": self.resume,
            "set_threshold": self.set_threshold,
            "set_model": self.set_model,
            "reload": self.reload,
            "restart": self.restart,
            "health": self._health,
        }

    def run(self, command: str, arguments: Mapping[str, Any]) -> Answer:
        """Check the arguments and do what the command says."""
        check_arguments(command, arguments)
        return self._commands[command](**arguments)

    def classify(self, picture: bytes | None = None) -> Answer:
        """Classify the next frame of the camera, or a picture in a file's format."""
        pixels = None
        if picture is not None:
            from edgeclassifier.engine.pictures import decode_picture

            pixels = decode_picture(picture)
        result = self._pipeline.classify(pixels, timeout_s=_ANSWER_S)
        return self._payloads.classification(result)

    def take(self) -> Result:
        """Classify the next frame of the camera."""
        return self._pipeline.classify(None, timeout_s=_ANSWER_S)

    def snapshot(self) -> Answer:
        """Publish the crop of the next frame as a JPEG, and say what it shows."""
        result = self.take()
        message = self._publisher.picture(result)
        self._publisher.publish(message)
        height, width = result.crop.shape[:2]
        return {
            "topic": message.topic,
            "bytes": len(message.payload),
            "width": width,
            "height": height,
            **self._payloads.classification(result),
        }

    def pause(self, *, paused: bool = True) -> Answer:
        """Let no more frames through; or again, for switches that know a single command."""
        if paused:
            self._pipeline.pause()
        else:
            self._pipeline.resume()
        self._changed()
        return {"paused": paused}

    def resume(self) -> Answer:
        """Let frames through again."""
        return self.pause(paused=False)

    def set_threshold(self, threshold: float | None) -> Answer:
        """Change state.threshold."""
        self._change("state.threshold", None if threshold is None else float(threshold))
        return {"threshold": self._reconfiguration.config.state.threshold}

    def set_model(self, model: str | None) -> Answer:
        """Change the model to another one that is installed."""
        configured = self._configured()
        if model is not None and model == compose.configured_model_name(configured.model):
            model = None
        if model is not None and model not in (names := compose.model_names(configured.model)):
            raise RequestError(f"no model {model!r} is installed: there are {', '.join(names)}")
        self._change("model.name", model)
        return {"model": compose.configured_model_name(self._reconfiguration.config.model)}

    def reload(self) -> Answer:
        """Read the configuration again."""
        return asdict(self._reread())

    def restart(self) -> Answer:
        """End, so that the service manager starts the daemon again."""
        self._restart()
        return {}

    def _change(self, key: str, value: Any) -> None:
        with self._changing:
            self._overrides.set(self._configured(), key, value)
            try:
                self._reread()
            except RequestError:
                self._overrides.undo()
                raise
            self._overrides.save()
        # What is in force on request is in info.
        self._changed()

    def _reread(self) -> Reload:
        from concurrent.futures import CancelledError

        future = self._reconfiguration.request()
        try:
            outcome = future.result(_CHANGE_S)
        except TimeoutError:
            raise RequestError(f"nothing came of it within {_CHANGE_S:g} s") from None
        except CancelledError:
            raise RequestError("the daemon ends") from None
        if outcome.status == "refused":
            raise RequestError(outcome.problem or "refused")
        return outcome
