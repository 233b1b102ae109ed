"""What is expected of models: TOML files with one table `[[case]]` for each way to use a model.

[[case]]
model = "roses.tflite"              # beside the pictures and the label files
labels = "roses.txt"                # left out: the labels in the model
set = { "model.input_size" = 224 }  # keys of the configuration
answers = [                         # the best label of pictures, and how sure at least
    { picture = "rose.jpg", label = "rose", score = 0.9 },
    { colour = [255, 0, 0], label = "tulip" },
    { sample = "chelsea.png", label = "cat" },
]
folder = "../flowers"               # subfolders of pictures, one for each class
classes = { roses = "rose" }        # subfolder = label
accuracy = 0.8                      # fraction of them that is right, at least
same_as = "other.tflite"            # gives the same answers to all of these
says = ["0 to 255"]                 # words that are said beside the answers
refused = ["4 labels", "5 classes"] # words of the refusal, in place of all answers
never = ["damaged"]                 # words that would be untrue
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to use one model, and what comes of it."""

    model: str
    labels: str = ""
    set: Mapping[str, Any] = field(default_factory=dict)
    answers: Sequence[Mapping[str, Any]] = ()
    folder: str = ""
    classes: Mapping[str, str] = field(default_factory=dict)
    accuracy: float = 0.0
    same_as: str = ""
    says: Sequence[str] = ()
    refused: Sequence[str] = ()
    never: Sequence[str] = ()

    def __str__(self) -> str:
        """Name the model and how it is used."""
        used = [self.labels, *(f"{key}={value}" for key, value in self.set.items())]
        return " ".join([self.model.removesuffix(".tflite"), *filter(None, used)])


def read_cases(folder: Path) -> list[Case]:
    """Read all TOML files of a folder, by name. Raises TypeError at a key that is not known."""
    return [
        Case(**table)
        for file in sorted(folder.glob("*.toml"))
        for table in tomllib.loads(file.read_text())["case"]
    ]
