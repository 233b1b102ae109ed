"""Where the daemon keeps what has to survive it."""

from pathlib import Path

from edgeclassifier.doctor.host import SERVICE_USER
from edgeclassifier.doctor.patient import Patient

_OF_THE_SERVICE = f"/var/lib/{SERVICE_USER}"


def state_directory(patient: Patient) -> Path | None:
    """Return the daemon's folder: the service's where that is installed, else this user's."""
    from edgeclassifier import compose

    device = patient.config.device
    if not device.state_directory and patient.is_service:
        return patient.host.path(_OF_THE_SERVICE)
    return compose.state_directory(device, patient.host.environment)


def storage(patient: Patient) -> list[Path]:
    """List the folders whose file system is written to, each file system once."""
    wanted = [patient.host.root, state_directory(patient)]
    if patient.config.buffer.path:
        wanted.append(Path(patient.config.buffer.path).parent)
    if patient.config.model.store:
        wanted.append(Path(patient.config.model.store))
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
