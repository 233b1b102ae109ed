"""What each command does to the running daemon."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

from edgeclassifier.contract.commands import COMMANDS
from edgeclassifier.contract.kept import Wanted
from edgeclassifier.contract.messages import Payloads
from edgeclassifier.contract.results import Result
from edgeclassifier.contract.status import ReloadStatus
from edgeclassifier.daemon.publisher import Publisher
from edgeclassifier.daemon.reload import Reload
from edgeclassifier.daemon.requests import check_arguments
from edgeclassifier.daemon.shelf import Shelf
from edgeclassifier.errors import RequestError
from edgeclassifier.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from edgeclassifier.config import Config
    from edgeclassifier.config.overrides import Overrides

Answer = Mapping[str, Any]


class Actions:
    """Carries out commands, from any thread: one method for each row of COMMANDS.

    Each raises EdgeclassifierError if it cannot.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        publisher: Publisher,
        payloads: Payloads,
        reload: Reload,
        overrides: "Overrides",
        configured: Callable[[], "Config"],
        models: "Callable[[Config], Sequence[str]]",
        model: "Callable[[Config], str]",
        changed: Callable[[], None],
        health: Callable[[], Answer],
        restart: Callable[[], None],
        shelf: Shelf,
    ) -> None:
        """Take `configured`, which reads the files, without what was changed on request.

        `models` and `model` name the models of a configuration, and the one that it means.
        `changed` is called for what health or info have to show at once.
        """
        self._pipeline = pipeline
        self._publisher = publisher
        self._payloads = payloads
        self._reload = reload
        self._overrides = overrides
        self._configured = configured
        self._models = models
        self._model = model
        self._changed = changed
        self._health = health
        self._restart = restart
        self._shelf = shelf
        self._changing = threading.Lock()
        self._by_name: Mapping[str, Callable[..., Answer]] = {
            name: getattr(self, name) for name in COMMANDS
        }

    def run(self, command: str, arguments: Mapping[str, Any]) -> Answer:
        """Check the arguments and do what the command says."""
        check_arguments(command, arguments)
        return self._by_name[command](**arguments)

    def classify(self, picture: BinaryIO | None = None) -> Answer:
        """Classify the next frame of the camera, or the picture in a file that a stranger sent."""
        if picture is None:
            return self._payloads.classification(self.take())
        from edgeclassifier.engine.pictures import decode_untrusted

        timeout_s = COMMANDS["classify"].within_s
        result = self._pipeline.classify(decode_untrusted(picture), timeout_s=timeout_s)
        return self._payloads.classification(result)

    def take(self) -> Result:
        """Classify the next frame of the camera."""
        return self._pipeline.classify(None, timeout_s=COMMANDS["classify"].within_s)

    def snapshot(self) -> Answer:
        """Publish the crop of the next frame as a JPEG, if that is allowed; say what it shows."""
        image = self._reload.config.image
        if not (image.enabled or image.on_request):
            raise RequestError(
                "no picture leaves this device: set image.enabled, or image.on_request for those "
                "that are asked for"
            )
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
        return {"threshold": self._reload.config.state.threshold}

    def set_model(self, model: str | None) -> Answer:
        """Change the model to another one that is installed."""
        configured = self._configured()
        if model is not None and model == self._model(configured):
            model = None
        if model is not None and model not in (names := self._models(configured)):
            raise RequestError(f"no model {model!r} is installed: there are {', '.join(names)}")
        self._change("model.name", model)
        return {"model": self._model(self._reload.config)}

    def reload(self) -> Answer:
        """Read the configuration again."""
        return asdict(self._reread())

    def kept(
        self,
        view: str | None = None,
        kind: str | None = None,
        label: str | None = None,
        labelled: bool | None = None,
        **more: Any,
    ) -> Answer:
        """List kept pictures: `more` may have `limit` and `before`."""
        wanted = Wanted(view=view, kind=kind, label=label, labelled=labelled)
        return self._shelf.rows(wanted=wanted, **more)

    def label(self, id: str, label: str | None) -> Answer:  # noqa: A002 - as the request has it
        """Note what a kept picture shows."""
        return self._shelf.label(id, label)

    def restart(self) -> Answer:
        """End, so that the service manager starts the daemon again."""
        self._restart()
        return {}

    def health(self) -> Answer:
        """Say how the device is."""
        return self._health()

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

    def _reread(self) -> ReloadStatus:
        from concurrent.futures import CancelledError

        future = self._reload.request()
        within_s = COMMANDS["reload"].within_s
        try:
            outcome = future.result(within_s)
        except TimeoutError:
            raise RequestError(f"nothing came of it within {within_s:g} s") from None
        except CancelledError:
            raise RequestError("the daemon ends") from None
        if outcome.status == "refused":
            raise RequestError(outcome.problem or "refused")
        return outcome
