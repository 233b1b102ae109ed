"""What can be wrong with the normalization of the model's pixels; model.py finds it."""

from edgeclassifier.doctor.findings import Level, Problem
from edgeclassifier.errors import EXIT_CONFIG

UNCLEAR = Problem(
    id="model.pixels_unclear",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="It is not clear how the model's pixels are normalized",
    meaning="The model does not say it and its answers to the sample pictures do not show it, or "
    "`model.mean` and `model.std` do not fit its input.",
    remedy="set `model.mean` and `model.std` to what the model was trained with, in pixels from 0 "
    "to 255: `[127.5]` and `[127.5]` for -1 to 1, `[0]` and `[255]` for 0 to 1, `[0]` and `[1]` "
    "for 0 to 255",
)
GUESSED = Problem(
    id="model.pixels_guessed",
    level=Level.WARNING,
    title="How the model's pixels are normalized is a guess",
    meaning="The model does not say it; what its answers to the sample pictures suggest is used.",
    remedy="compare `edgeclassifier classify PICTURE` with `--set model.mean=[127.5] --set "
    "model.std=[127.5]` and with `--set model.mean=[0] --set model.std=[255]`, and put the right "
    "pair into the configuration",
)
