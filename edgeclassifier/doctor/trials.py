"""The program of a trial: does what may crash or hang, and says how far it came.

usage: python -m edgeclassifier.doctor.trials runtime|model|camera|accelerator < CONFIGURATION

It reads the configuration as JSON and prints JSON objects, one a line, each as soon as it is known.
"""

import ctypes
import dataclasses
import json
import logging
import signal
import sys
import typing
from typing import Any, TypeVar

from edgeclassifier.config import Config
from edgeclassifier.errors import EdgeclassifierError, PixelsError

_PR_SET_PDEATHSIG = 1
_LONGEST_WAIT_S = 20.0

T = TypeVar("T")


def main() -> None:
    """Carry out the trial that the first argument names."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    logging.getLogger("edgeclassifier").setLevel(logging.CRITICAL)
    config = rebuilt(Config, json.load(sys.stdin))
    try:
        _TRIALS[sys.argv[1]](config)
    except EdgeclassifierError as error:
        tell(error=str(error), exit_code=error.exit_code)


def tell(**facts: Any) -> None:
    """Say something as soon as it is known."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def rebuilt(schema: type[T], data: Any) -> T:
    """Turn the plain data of a configuration back into the configuration."""
    hints = typing.get_type_hints(schema)
    return schema(**{name: _rebuilt_value(hints[name], value) for name, value in data.items()})


def _rebuilt_value(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return rebuilt(hint, value)  # type: ignore[arg-type]  # it is a class
    if isinstance(value, dict):
        of_each = typing.get_args(hint)[1] if typing.get_origin(hint) is dict else None
        return {name: _rebuilt_value(of_each, each) for name, each in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _try_runtime(config: Config) -> None:
    """Import NumPy and a runtime, and run the bundled model."""
    try:
        import numpy as np
    except ImportError as error:
        tell(numpy_error=" ".join(str(error).split()))
        return
    tell(numpy=np.__version__, numpy_file=np.__file__)
    from edgeclassifier.engine.runtime import load_model, runtime_module
    from edgeclassifier.models.catalogue import CATALOGUE

    tell(module=runtime_module(config.model.runtime))
    bundled = next(model for model in CATALOGUE.values() if model.bundled)
    loaded = load_model(bundled.bundled_path, runtime=config.model.runtime)
    tell(runtime=str(loaded.runtime), threads=loaded.threads)
    loaded.interpreter.invoke()
    # XNNPACK takes over what it can and is then an operation of its own.
    details = getattr(loaded.interpreter, "_get_ops_details", None)
    operations = [each["op_name"] for each in details()] if details else []
    tell(ran=True, xnnpack="DELEGATE" in operations if operations else None)


def _try_model(config: Config) -> None:
    """Load the configured model, fit its labels, and classify the sample pictures."""
    from edgeclassifier.compose.engine import build_engine, load_classifier
    from edgeclassifier.compose.golden import (
        GOLDEN_PICTURES,
        GOLDEN_TOP_K,
        SAMPLES,
        judge,
        own_pictures,
    )
    from edgeclassifier.compose.model import find_model
    from edgeclassifier.compose.names import class_problems
    from edgeclassifier.engine.pictures import load_picture

    model = find_model(config.model)
    loaded = load_classifier(config.model, model.path)
    loaded.interpreter.invoke()
    tell(loaded=True)
    # As many answers as it takes to judge it, whatever is published of them.
    settings = dataclasses.replace(config.model, top_k=GOLDEN_TOP_K, threshold=0.0)
    try:
        engine = build_engine(dataclasses.replace(config, model=settings), model, loaded=loaded)
    except PixelsError as error:
        tell(pixels_error=str(error))
        raise
    tell(pixels_doubt=engine.pixels.doubt)
    form = engine.classifier.input
    tell(
        labels=len(engine.classifier.labels),
        first_names=engine.classifier.names.all[:3],
        input=f"{form.width}x{form.height} {form.dtype}",
        name_problems=[*class_problems(config, engine.classifier.names)],
    )
    answers = []
    own = own_pictures(config.model, model)
    for path in [each.path for each in own] or [SAMPLES / name for name in GOLDEN_PICTURES]:
        found = engine.classify(load_picture(path))
        predictions = [{"class_id": each.class_id, "score": each.score} for each in found]
        answers.append({"file": path.name, "predictions": predictions})
    tell(classified=True)
    try:
        judge(model.name, answers, labels=engine.classifier.labels, own=own)
    except EdgeclassifierError as error:
        tell(doubt=str(error))


def _try_camera(config: Config) -> None:
    """List what libcamera knows, if it is asked, and take a frame."""
    if config.camera.source == "picamera2":
        try:
            from picamera2 import Picamera2
        except ImportError as error:
            tell(missing=" ".join(str(error).split()))
            return
        except ValueError as error:
            # Extension modules from apt, built for another NumPy than the environment's.
            tell(numpy_clash=" ".join(str(error).split()))
            return
        listed = Picamera2.global_camera_info()
        tell(cameras=[str(each.get("Model")) for each in listed])
    from edgeclassifier.compose.camera import build_camera
    from edgeclassifier.compose.packages import missing

    if lacking := missing(config, check="camera"):
        tell(no_package=lacking[0].reason)
        return
    camera = build_camera(config.camera)
    try:
        camera.open()
        tell(opened=True)
        frame = camera.read(min(config.camera.deadline_s, _LONGEST_WAIT_S))
    finally:
        camera.close()
    if frame is not None:
        height, width = frame.pixels.shape[:2]
        tell(frame=f"{width}x{height} from {frame.origin}")


def _try_accelerator(config: Config) -> None:
    """Find both models, then load the delegate's library and run the delegate with its model."""
    from edgeclassifier.accelerator.devices import library_of
    from edgeclassifier.compose.accelerator import compiled_model, first_status
    from edgeclassifier.compose.engine import build_engine

    wanted = config.accelerator.delegate
    library = library_of("edgetpu" if wanted == "auto" else wanted)
    tell(library=library)
    engine = build_engine(config)
    tell(engine=engine.model.name)
    model = compiled_model(config, engine.model)
    tell(model=model.name)
    try:
        loaded = ctypes.CDLL(library)
    except OSError as error:
        tell(library_error=str(error))
        return
    tell(version=_version(loaded))
    with first_status(config, model, twin=engine.classifier) as (_, status):
        pass
    tell(state=status.state, fault=status.fault, reason=status.reason)


def _version(library: ctypes.CDLL) -> str | None:
    """Ask Google's library for its version; other delegates have none."""
    try:
        ask = library.edgetpu_version
    except AttributeError:
        return None
    ask.restype = ctypes.c_char_p
    words: bytes | None = ask()
    return (words or b"").decode(errors="replace")


_TRIALS = {
    "runtime": _try_runtime,
    "model": _try_model,
    "camera": _try_camera,
    "accelerator": _try_accelerator,
}

if __name__ == "__main__":
    main()
