"""Where the daemon keeps what has to survive it."""

from pathlib import Path

from edgeclassifier.doctor.machine import SERVICE_USER
from edgeclassifier.doctor.subject import Subject

_OF_THE_SERVICE = f"/var/lib/{SERVICE_USER}"


def state_directory(subject: Subject) -> Path | None:
    """Return the daemon's folder: the service's where that is installed, else this user's."""
    from edgeclassifier import compose

    device = subject.config.device
    if not device.state_directory and subject.is_service:
        return subject.machine.path(_OF_THE_SERVICE)
    return compose.state_directory(device, subject.machine.environment)


def storage(subject: Subject) -> list[Path]:
    """List the folders whose file system is written to, each file system once."""
    wanted = [subject.machine.root, state_directory(subject)]
    if subject.config.buffer.path:
        wanted.append(Path(subject.config.buffer.path).parent)
    if subject.config.model.store:
        wanted.append(Path(subject.config.model.store))
    places: dict[int, Path] = {}
    for each in wanted:
        try:
            place = _nearest(each) if each is not None else None
            if place is not None:
                places.setdefault(place.stat().st_dev, place)
        except OSError:
            continue
    return list(places.values())


def _nearest(path: Path) -> Path:
    """Return the path or the first folder above it that is there."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
