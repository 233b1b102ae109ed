"""What a class is called, and which classes a word means."""

import difflib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

_SURE = 0.8
"""How alike a word and a name must be for one to be meant by the other."""


class Names:
    """The names of a model's classes, by class id. Each is that of one class alone.

    A label may list synonyms ("house finch, linnet"): the first one is the name. If other labels
    begin with it, too, the name is as much of the label as tells them apart; equal labels get their
    class id ("crane (134)").
    """

    def __init__(self, labels: Sequence[str]) -> None:
        """Name the classes of a model, one for each label."""
        self.labels = tuple(labels)
        self.all = tuple(_named(self.labels))
        """By class id."""

    def find(self, word: str) -> tuple[int, ...]:
        """Return the classes that a word means, by class id; none if it is not known.

        A name or a whole label means its class, any other synonym every class that has it. Upper
        and lower case matter only where they tell two names apart.
        """
        wanted = _folded(word)
        whole = self._whole.get(wanted, ())
        exact = tuple(each for each in whole if word in (self.all[each], self.labels[each]))
        return exact or whole or self._synonyms.get(wanted, ())

    def unknown(self, word: str) -> str:
        """Say that no class is called `word`, and which name may have been meant."""
        known = {**dict.fromkeys(self._synonyms), **dict.fromkeys(self._whole)}
        close = difflib.get_close_matches(_folded(word), known, n=1, cutoff=_SURE)
        if close:
            meant = self.all[(self._whole.get(close[0]) or self._synonyms[close[0]])[0]]
            hint = f"did you mean {_quoted(meant)}?"
        else:
            few = 3
            some = ", ".join(_quoted(name) for name in self.all[:few])
            hint = f"it has {some}{', …' if len(self.all) > few else ''}"
        return f"the model has no class {_quoted(word)}: {hint}"

    @cached_property
    def _whole(self) -> Mapping[str, tuple[int, ...]]:
        return _by_word([{name, label} for name, label in zip(self.all, self.labels, strict=True)])

    @cached_property
    def _synonyms(self) -> Mapping[str, tuple[int, ...]]:
        return _by_word([{*label.split(",")} for label in self.labels])


def further_synonyms(name: str, label: str) -> str:
    """Return what a label says beyond the name of its class; "" if that is nothing."""
    return label.removeprefix(name).lstrip(", ") if label.startswith(f"{name},") else ""


def _named(labels: Sequence[str]) -> Iterator[str]:
    starts = [[*_starts(label)] for label in labels]
    shared = Counter(start for each in starts for start in each)
    equal = Counter(labels)
    for class_id, label in enumerate(labels):
        if equal[label] > 1:
            yield _numbered(label, class_id, taken=shared)
        else:
            yield next((start for start in starts[class_id] if shared[start] == 1), label)


def _starts(label: str) -> Iterator[str]:
    """Yield the label up to each of its commas, then the whole of it."""
    seen = set()
    for position, character in enumerate(f"{label},"):
        start = label[:position].strip()
        if character == "," and start.strip(", ") and start not in seen:
            seen.add(start)
            yield start


def _numbered(label: str, class_id: int, *, taken: Mapping[str, int]) -> str:
    name = f"{label} ({class_id})"
    while name in taken:
        name += "'"
    return name


def _by_word(words: Sequence[set[str]]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for class_id, each in enumerate(words):
        for word in {_folded(word) for word in each}:
            if word:
                found[word] = (*found.get(word, ()), class_id)
    return found


def _quoted(word: str) -> str:
    return json.dumps(word, ensure_ascii=False)


def _folded(word: str) -> str:
    """Make two spellings of a word one: upper and lower case, and the blanks between words."""
    return " ".join(word.split()).casefold()
