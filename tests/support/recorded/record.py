"""Records what the bundled model says of noisy scenes: python tests/recorded/record.py.

The sample pictures stand for what is before the camera: each for a while, jittering, with the noise
and the changing light of a cheap sensor, and with darkness between them.
"""

import json
from pathlib import Path

import numpy as np

from edgeclassifier.compose.engine import build_engine
from edgeclassifier.compose.model import BUNDLED_MODEL
from edgeclassifier.config import Config, ModelConfig
from edgeclassifier.engine.pictures import load_picture

SAMPLES = Path(__file__).parents[3] / "edgeclassifier" / "samples"
SCENES = ("chelsea.png", "coffee.png", "rocket.jpg")
SCENE_S, DARK_S, RATE_HZ, SEED = 20, 4, 8, 7


def main() -> None:
    """Write flicker.json: [time, [class id, label, score], …] for each frame."""
    engine = build_engine(Config(model=ModelConfig(name=BUNDLED_MODEL)))
    random = np.random.default_rng(SEED)
    frames: list[list[object]] = []
    for scene in SCENES:
        picture = load_picture(SAMPLES / scene).astype(np.float32)
        for number in range((SCENE_S + DARK_S) * RATE_HZ):
            light = random.uniform(0.4, 1.0) if number < SCENE_S * RATE_HZ else 0.01
            dy, dx = random.integers(0, 60, 2)
            moved = picture[dy : dy + picture.shape[0] - 60, dx : dx + picture.shape[1] - 60]
            noisy = moved * light + random.normal(0, random.uniform(5, 30), moved.shape)
            predictions = engine.classify(noisy.clip(0, 255).astype(np.uint8))
            best = [[p.class_id, p.label, round(p.score, 3)] for p in predictions]
            frames.append([round(len(frames) / RATE_HZ, 3), *best])
    lines = ",\n".join(json.dumps(frame) for frame in frames)
    (Path(__file__).parent / "flicker.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
