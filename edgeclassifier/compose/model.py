"""Which model file the configuration means."""

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from edgeclassifier.config import ModelConfig
from edgeclassifier.config.options import model_file
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.contract.results import ModelIdentity
from edgeclassifier.errors import ModelError
from edgeclassifier.host import threads
from edgeclassifier.host.files import open_named
from edgeclassifier.models.catalogue import CATALOGUE, CatalogueModel, recognize
from edgeclassifier.models.store import ModelStore, default_store_root

BUNDLED_MODEL = "efficientnet_lite2_260_int8"
PREFERRED_MODEL = "inception_v3_299_quant"


@plain_data
class ModelFile(Plain):
    """A model file that was chosen, and what is known of it besides its content."""

    name: str
    path: Path
    labels: Path | None
    known: CatalogueModel | None
    reason: str

    def sha256(self) -> str:
        """Hash the file. Raises ModelError if it cannot be read."""
        try:
            with open_named(self.path) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ModelError(f"{self.path}: model file cannot be read: {error.strerror}") from None

    def identity_later(self) -> Callable[[], ModelIdentity]:
        """Hash the file in a thread; return what waits for the result, and raises as sha256()."""
        outcome: list[ModelIdentity | ModelError] = []

        def identify() -> None:
            try:
                outcome.append(ModelIdentity(name=self.name, sha256=self.sha256()))
            except ModelError as error:
                outcome.append(error)

        thread = threads.start(identify, name="sha256")

        def result() -> ModelIdentity:
            if not outcome:
                thread.join()
            identity = outcome[0]
            if isinstance(identity, ModelError):
                raise identity
            return identity

        return result


def model_store(configured: str) -> ModelStore:
    """Return the store at the configured folder, or at the usual one."""
    return ModelStore(root=Path(configured) if configured else default_store_root(os.environ))


def model_names(config: ModelConfig) -> tuple[str, ...]:
    """List the models that can be chosen: the configured one, the bundled and the installed."""
    names = {name for name, known in CATALOGUE.items() if known.bundled}
    # Where the store cannot be read, or the configured model is gone, the others can be chosen.
    with contextlib.suppress(ModelError):
        names.update(each.name for each in model_store(config.store).installed())
    with contextlib.suppress(ModelError):
        names.add(configured_model_name(config))
    return tuple(sorted(names))


def configured_model_name(config: ModelConfig) -> str:
    """Return what the configured model is called in payloads. Raises ModelError."""
    return find_model(config).name


def find_model(config: ModelConfig) -> ModelFile:
    """Choose the model file. Raises ModelError if it is not there."""
    store = model_store(config.store)
    configured_labels = Path(config.labels) if config.labels else None
    if config.name == "auto":
        installed = {each.name for each in store.installed()}
        name = PREFERRED_MODEL if PREFERRED_MODEL in installed else BUNDLED_MODEL
        reason = (
            "installed"
            if name == PREFERRED_MODEL
            else f"bundled; {PREFERRED_MODEL} is not installed"
        )
    elif model_file(config.name):
        path = Path(config.name)
        return ModelFile(
            name=path.stem,
            path=path,
            labels=configured_labels,
            known=_recognized(path),
            reason="configured",
        )
    else:
        name, reason = config.name, "configured"
    path = store.path(name)
    return ModelFile(
        name=name,
        path=path,
        labels=configured_labels or store.labels_path(name),
        # What was installed was compared with the catalogue then, which saves the time for it now.
        known=CATALOGUE.get(name) if store.is_recorded(name) else _recognized(path),
        reason=reason,
    )


def _recognized(path: Path) -> CatalogueModel | None:
    """Return the catalogue's model that has the content of a file, whatever that is called."""
    try:
        status = path.stat()
        return _recognized_once(path, status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError:
        return None  # whoever loads it says why it cannot be read


@functools.lru_cache(maxsize=16)
def _recognized_once(path: Path, *_version: int) -> CatalogueModel | None:
    return recognize(path)
