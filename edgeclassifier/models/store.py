"""The folder of installed models: one `NAME.tflite` each, its labels and a record beside it."""

import fcntl
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.errors import ModelError
from edgeclassifier.host.durable import copied, publish, reason, stage_text, write_text
from edgeclassifier.host.files import continue_file
from edgeclassifier.models.catalogue import CATALOGUE, CatalogueModel, DigestError, recognize
from edgeclassifier.models.names import check_known, check_name, is_name, unknown_model
from edgeclassifier.models.records import (
    Record,
    Teaching,
    Verification,
    agrees,
    make_record,
    record_text,
    recorded_settings,
    recorded_sha256,
    recorded_teaching,
    verify_model,
)
from edgeclassifier.models.soundness import check_model, check_regular, needs_edge_tpu, read_labels

_LOG = logging.getLogger(__name__)

_MODEL, _LABELS, _RECORD = ".tflite", ".labels.txt", ".json"


@plain_data
class InstalledModel(Plain):
    """One model of the store."""

    name: str
    path: Path
    size_bytes: int
    labels: Path | None


def default_store_root(env: Mapping[str, str]) -> Path:
    """Return the folder for models: as told, else of the service, else of the user."""
    if told := env.get("EDGECLASSIFIER_MODELS"):
        return Path(told)
    # systemd separates by colons if a unit has several state directories.
    if state := env.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(state) / "models"
    data = Path(env.get("XDG_DATA_HOME", ""))
    if not data.is_absolute():
        home = env.get("HOME")
        if not home:
            raise ModelError("no folder for models: HOME is not set; set EDGECLASSIFIER_MODELS")
        data = Path(home) / ".local" / "share"
    return data / "edgeclassifier" / "models"


class ModelStore:
    """Finds, adds and verifies models. Bundled models belong to it without being in its folder."""

    def __init__(self, *, root: Path) -> None:
        self.root = root

    def installed(self) -> tuple[InstalledModel, ...]:
        """List the models of the folder by name, without the bundled ones.

        Raises ModelError if the folder cannot be read.
        """
        with self._reading():
            return tuple(
                InstalledModel(
                    name=name,
                    path=self._file(name, _MODEL),
                    size_bytes=self._file(name, _MODEL).stat().st_size,
                    labels=self.labels_path(name),
                )
                for name in self._names(_MODEL)
            )

    def path(self, name: str) -> Path:
        """Return the file of an installed or bundled model.

        Raises ModelError if there is none, saying what to do about it.
        """
        known = CATALOGUE.get(name)
        path = self._expected_path(name)
        with self._reading():
            if is_name(name) and path.is_file():
                return path
            installed = self._names(_MODEL)
        if known is None:
            raise ModelError(unknown_model(name, installed))
        if known.bundled:
            raise ModelError(f"{path} is missing: install the package again")
        raise ModelError(
            f"model {name!r} is not installed in {self.root}: "
            f"run `edgeclassifier models fetch {name}`"
        )

    def labels_path(self, name: str) -> Path | None:
        """Return the label file that was installed with a model, if there was one."""
        path = self._file(name, _LABELS)
        with self._reading():
            return path if is_name(name) and path.is_file() else None

    def is_recorded(self, name: str) -> bool:
        """Whether a model is bundled, or is the file that was compared when it was installed."""
        known = CATALOGUE.get(name)
        if known and known.bundled:
            return True
        return agrees(self._file(name, _RECORD), self._file(name, _MODEL))

    def settings(self, name: str) -> tuple[str, ...]:
        """Return the keys of the configuration that a model was tried with at its installation."""
        return recorded_settings(self._file(name, _RECORD))

    def teaching(self, name: str) -> dict[str, Any] | None:
        """Return how a model was taught here; None if it was not."""
        return recorded_teaching(self._file(name, _RECORD))

    def remove(self, name: str) -> str:
        """Remove an installed model with its labels and its record; return the SHA-256 of that.

        Raises ModelError if there is none, or if it comes with the package.
        """
        known = CATALOGUE.get(name)
        if known and known.bundled:
            raise ModelError(f"model {name} comes with the package: it cannot be removed")
        with self.writing():
            installed = self._names(_MODEL)
            if name not in installed:
                raise ModelError(unknown_model(name, installed))
            recorded = self.recorded_sha256(name)
            for suffix in (_RECORD, _LABELS, _MODEL):
                self._file(name, suffix).unlink(missing_ok=True)
        _LOG.info("removed model %s from %s", name, self.root)
        return recorded

    def recorded_sha256(self, name: str) -> str:
        """Return the hash in a model's record; "" if there is none."""
        return recorded_sha256(self._file(name, _RECORD))

    def check_own(self, name: str) -> None:
        """Raise ModelError if a model cannot be taught under this name, or not be saved here."""
        check_name(name)
        if name in CATALOGUE:
            raise ModelError(f"{name} is a model of the catalogue: use another --name")
        with self.writing():
            if name in self._names(_MODEL) and self.teaching(name) is None:
                raise ModelError(f"there is a model {name} that was not taught: use another --name")

    def intact(self, model: CatalogueModel) -> bool:
        """Whether a model's file is here and is the catalogue's."""
        with self._reading():
            try:
                model.digest.verify(self._expected_path(model.name))
            except (FileNotFoundError, DigestError):
                return False
        return True

    def part_path(self, name: str) -> Path:
        """Return where the beginning of an unfinished download is kept."""
        return self._file(name, f"{_MODEL}.part")

    def add(
        self,
        file: Path,
        *,
        name: str | None = None,
        labels: Path | None = None,
        settings: Sequence[str] = (),
        source: str = "",
        taught: Teaching | None = None,
        examine: Callable[[Path], None] = lambda _: None,
    ) -> InstalledModel:
        """Install a copy of a model file, and of its label file.

        Without a name it gets the catalogue's, if the catalogue has this very file, and the
        file's stem otherwise. A model of the same name is replaced, together with its labels, but
        for the labels of a file that is in its place already, which is only recorded. `examine` is
        called with the copy, unless it needs an Edge TPU, and refuses it by raising ModelError.
        `settings`, which it used, are recorded, and so are `source`, unless that is the file, and
        how it was `taught`.

        Raises ModelError if a file is damaged or unreadable, if the catalogue has another
        file of this name, and if the store cannot be written.
        """
        if name is not None:
            check_name(name)
        check_regular(file)
        label_text = None if labels is None else read_labels(labels)
        # One name is enough, there is one writer; and it overwrites what a power cut left.
        with self.writing(), copied(file, self.root / ".add.part") as copy:
            check_model(copy, shown=file)
            if not needs_edge_tpu(copy):
                examine(copy)
            if name is None:
                known = recognize(copy)
                name = known.name if known else file.stem
                check_name(name)
            if known := CATALOGUE.get(name):
                check_known(known, copy, shown=file)
            if label_text is not None:
                write_text(self._file(name, _LABELS), label_text)
            elif not self._is_installed(file, name):
                self._file(name, _LABELS).unlink(missing_ok=True)
            source = source or str(file.absolute())
            record = make_record(copy, source=source, settings=settings, taught=taught)
            path = self._install(copy, name, record)
            return InstalledModel(
                name=name,
                path=path,
                size_bytes=path.stat().st_size,
                labels=self.labels_path(name),
            )

    def adopt(self, part: Path, *, model: CatalogueModel, source: str) -> Path:
        """Give a complete download its final name. Call it inside `writing()`.

        Raises DigestError if the file is not the catalogue's.
        """
        model.digest.verify(part)
        return self._install(part, model.name, make_record(part, source=source))

    def verify(self) -> tuple[Verification, ...]:
        """Compare every installed and bundled model with what was installed.

        Raises ModelError if the folder cannot be read.
        """
        with self._reading():
            names = {*self._names(_MODEL), *self._names(_RECORD)}
        bundled = {model.name for model in CATALOGUE.values() if model.bundled}
        return tuple(
            verify_model(
                name,
                path=self._expected_path(name),
                record_path=self._file(name, _RECORD),
                pinned=CATALOGUE[name].digest if name in CATALOGUE else None,
            )
            for name in sorted(names | bundled)
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other writers out; what the system refuses inside becomes a ModelError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with continue_file(self.root / ".lock") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise ModelError(
                        f"another process is installing a model in {self.root}: try again later"
                    ) from None
                yield
        except FileExistsError:
            raise ModelError(f"cannot install in {self.root}: it is not a folder") from None
        except OSError as error:
            raise ModelError(f"cannot install in {self.root}: {reason(error)}") from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ModelError(f"cannot read {self.root}: {reason(error)}") from error

    def _file(self, name: str, suffix: str) -> Path:
        return self.root / f"{name}{suffix}"

    def _expected_path(self, name: str) -> Path:
        known = CATALOGUE.get(name)
        return known.bundled_path if known and known.bundled else self._file(name, _MODEL)

    def _names(self, suffix: str) -> list[str]:
        try:
            found = [path.name for path in self.root.iterdir()]
        except FileNotFoundError:
            return []
        names = [name.removesuffix(suffix) for name in found if name.endswith(suffix)]
        return sorted(name for name in names if is_name(name))

    def _is_installed(self, file: Path, name: str) -> bool:
        installed = self._file(name, _MODEL)
        return installed.exists() and file.samefile(installed)

    def _install(self, part: Path, name: str, record: Record) -> Path:
        path = self._file(name, _MODEL)
        # Both are on the disk before either takes its place: it may be full.
        with stage_text(self._file(name, _RECORD), record_text(record)) as written:
            publish(part, path)
            publish(written, self._file(name, _RECORD))
        _LOG.info("installed model %s in %s", name, self.root)
        return path
