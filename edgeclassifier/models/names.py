"""The names of models: what they may be, and what to say about one that is not there."""

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgeclassifier.errors import ModelError
from edgeclassifier.models.catalogue import CATALOGUE, CatalogueModel, DigestError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


def is_name(name: str) -> bool:
    """Tell whether a model may be called that."""
    return _NAME.fullmatch(name) is not None


def unknown_model(name: str, installed: Iterable[str]) -> str:
    """Say that there is no such model, which may be meant, and which are there or can be fetched.

    A file that has this name is told from a model.
    """
    here = sorted({*installed, *(model.name for model in CATALOGUE.values() if model.bundled)})
    fetched = sorted({model.name for model in CATALOGUE.values() if model.url} - set(here))
    hint = _nearest(name, [*here, *fetched])
    if Path(name).is_file():
        hint = f": for the file of this name, write {f'./{name}'!r}."
    to_fetch = f". To be fetched: {', '.join(fetched)}" if fetched else ""
    return f"unknown model {name!r}{hint} Installed: {', '.join(here)}{to_fetch}"


def unknown_download(name: str) -> str:
    """Say that the catalogue has no such model to be fetched, which may be meant, and all."""
    names = sorted(model.name for model in CATALOGUE.values() if model.url)
    return (
        f"no model {name!r} can be fetched{_nearest(name, names)} To be fetched: "
        f"{', '.join(names)}. `edgeclassifier models add` installs a file of your own"
    )


def _nearest(name: str, names: Sequence[str]) -> str:
    """Ask whether names were meant that have `name` in them, or are spelled nearly like it."""
    within = [each for each in names if name and name.lower() in each.lower()]
    near = within or difflib.get_close_matches(name, names, n=1)
    return f": did you mean {' or '.join(map(repr, near))}?" if near else "."


def check_name(name: str) -> None:
    """Raise ModelError if a model cannot be called that."""
    if not is_name(name):
        raise ModelError(
            f"{name!r} cannot name a model: use letters, digits, '.', '_' and '-' "
            "and begin with a letter or digit (--name NAME)"
        )


def check_known(known: CatalogueModel, copy: Path, *, shown: Path) -> None:
    """Raise ModelError if `copy`, of the file `shown`, is not the catalogue's model."""
    if known.bundled:
        raise ModelError(f"model {known.name} comes with the package: add under another --name")
    try:
        known.digest.verify(copy)
    except DigestError as error:
        raise ModelError(
            f"{shown} is not the catalogue's {known.name}: expected {error.expected}, "
            f"found {error.found}; add it under another --name"
        ) from error
