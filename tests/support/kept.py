"""Kept pictures for tests: lines without a daemon, and results worth keeping."""

import hashlib
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np

from edgeclassifier.contract.frame import Frame
from edgeclassifier.contract.kept import KeptPicture
from edgeclassifier.contract.results import CPU, Latency, ModelIdentity, Prediction, Result, State
from edgeclassifier.host.boot import kernel_boot

JPEG = b"\xff\xd8 no picture, but whole \xff\xd9"
WHEN = "2026-01-02T03:04:05.678Z"


def picture(**changes: Any) -> KeptPicture:
    """Return what is known of a picture before it has a number."""
    fields: dict[str, Any] = {
        "id": "0",
        "kind": "uncertain",
        "view": "cam0",
        "name": "tabby",
        "score": 0.5,
        "timestamp": WHEN,
        "clock_synchronized": True,
        "bytes": len(JPEG),
        "sha256": hashlib.sha256(JPEG).hexdigest(),
        "prediction": {"predictions": []},
        "kernel_boot": kernel_boot(),
        "monotonic_s": time.monotonic(),
    }
    return KeptPicture(**{**fields, **changes})


def result(now_s: float, *scores: float, answer_age_s: float = 0.0) -> Result:
    """Return the answer for a frame of that time on the monotonic clock."""
    pixels = np.full((8, 8, 3), 128, np.uint8)
    return Result(
        frame=Frame(
            pixels=pixels,
            seq=0,
            monotonic_s=now_s,
            utc=datetime.now(UTC),
            camera="cam0",
            origin="a.png",
        ),
        crop=pixels,
        predictions=tuple(
            Prediction(rank=n, class_id=n, name=f"class {n}", label=f"class {n}", score=score)
            for n, score in enumerate(scores, 1)
        ),
        latency=Latency(capture_s=0, preprocess_s=0, inference_s=0, total_s=0),
        model=ModelIdentity(name="tiny", sha256="0" * 64),
        backend=CPU,
        answer_age_s=answer_age_s,
    )


def change(name: str = "cat", *, class_id: int | None = 1) -> State:
    """Return a state that has just taken over."""
    return State(
        name=name,
        label=name,
        class_id=class_id,
        score=0.8,
        previous_name=None,
        previous_label=None,
        since_s=0.0,
    )
