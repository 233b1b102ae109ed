"""Models and pictures that are not part of the project, used where they are."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("EDGECLASSIFIER_TEST_DATA", Path(__file__).parents[3] / "shared"))

needs_shared_data = pytest.mark.skipif(
    not (FOLDER / "models").is_dir() or not (FOLDER / "images").is_dir(),
    reason=f"no folders models and images in {FOLDER}: EDGECLASSIFIER_TEST_DATA may name another",
)
