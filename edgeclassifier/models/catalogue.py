"""The models this program knows: where they come from, and how to tell they are genuine."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.errors import ModelError
from edgeclassifier.host.files import open_named

BUNDLED_FOLDER = Path(__file__).parent / "bundled"

_CHUNK_BYTES = 1 << 20


class DigestError(ModelError):
    """A file is whole, but it is not the file that was expected."""

    def __init__(self, path: Path, *, expected: "Digest", found: "Digest") -> None:
        super().__init__(f"{path} is another file: expected {expected}, found {found}")
        self.expected = expected
        self.found = found


@dataclass(frozen=True, slots=True)
class Digest:
    """The fingerprint of a file's content."""

    algorithm: Literal["git-blob-sha1", "sha256"]
    value: str
    """Lower-case hexadecimal."""

    def __str__(self) -> str:
        return f"{self.algorithm} {self.value}"

    def measure(self, path: Path) -> "Digest":
        """Compute the digest of a file by the same algorithm.

        Raises OSError if the file cannot be read.
        """
        with open_named(path) as file:
            if self.algorithm == "sha256":
                hasher = hashlib.sha256()
            else:
                hasher = hashlib.sha1(usedforsecurity=False)
                # A git blob is hashed behind a header that holds its size.
                hasher.update(b"blob %d\0" % path.stat().st_size)
            while chunk := file.read(_CHUNK_BYTES):
                hasher.update(chunk)
        return Digest(self.algorithm, hasher.hexdigest())

    def verify(self, path: Path) -> None:
        """Make sure that a file has this digest.

        Raises DigestError if it has another one, OSError if the file cannot be read.
        """
        found = self.measure(path)
        if found != self:
            raise DigestError(path, expected=self, found=found)


@plain_data
class CatalogueModel(Plain):
    """One model file and what its metadata does not say."""

    name: str
    file_name: str
    digest: Digest
    url: str | None
    """Where to fetch the file, or None for a model that comes with the package."""
    license: str
    origin: str
    labels: str | None
    """The name of a label set, or None if the labels are inside the model file."""
    input_size: int
    """Height and width of the input in pixels."""
    accelerator: Literal["cpu", "edgetpu"] = "cpu"
    """What runs the file: one compiled for the Edge TPU does not run on the CPU."""
    cpu_twin: str | None = None
    edgetpu_twin: str | None = None
    """The name of the same network, built for the other processor."""
    bundled: bool = False
    size_bytes: int | None = None
    """None if nobody has noted it."""

    @property
    def bundled_path(self) -> Path:
        """The file inside the package. Means something only for a bundled model."""
        return BUNDLED_FOLDER / self.file_name


_CORAL_URL = (
    "https://raw.githubusercontent.com/google-coral/test_data/"
    "104342d2d3480b3e66203073dac24f4e2dbb4c41/"
)


def _coral(
    name: str,
    *,
    git_blob: str,
    input_size: int,
    labels: str | None,
    cpu_twin: str | None = None,
    edgetpu_twin: str | None = None,
    size_bytes: int | None = None,
) -> CatalogueModel:
    return CatalogueModel(
        name=name,
        file_name=f"{name}.tflite",
        digest=Digest("git-blob-sha1", git_blob),
        url=f"{_CORAL_URL}{name}.tflite",
        license="Apache-2.0",
        origin="google-coral/test_data",
        labels=labels,
        input_size=input_size,
        accelerator="cpu" if cpu_twin is None else "edgetpu",
        cpu_twin=cpu_twin,
        edgetpu_twin=edgetpu_twin,
        size_bytes=size_bytes,
    )


_MODELS = (
    CatalogueModel(
        name="efficientnet_lite2_260_int8",
        file_name="efficientnet_lite2_260_int8.tflite",
        digest=Digest("sha256", "c732e8057a5dd789be1cb759530eb6280b86bbeedd3d2734953cc7c73ff4e6f1"),
        url=None,
        license="Apache-2.0",
        origin="EfficientNet-Lite2, converted from the published ImageNet weights",
        labels=None,
        input_size=260,
        bundled=True,
        size_bytes=6945665,
    ),
    _coral(
        "inception_v3_299_quant",
        git_blob="8c52290bbb4120cbc61eb9a8979ed18da158403c",
        input_size=299,
        labels="imagenet",
        edgetpu_twin="inception_v3_299_quant_edgetpu",
    ),
    _coral(
        "inception_v3_299_quant_edgetpu",
        git_blob="32dd78f1102109bed993fc2759e66d5d6eff3fea",
        input_size=299,
        labels="imagenet",
        cpu_twin="inception_v3_299_quant",
    ),
    _coral(
        "mobilenet_v2_1.0_224_quant",
        git_blob="03533c32dacc1456ff3fe951ebdd5b967ce9e6a0",
        input_size=224,
        labels=None,
        edgetpu_twin="mobilenet_v2_1.0_224_quant_edgetpu",
        size_bytes=3610798,
    ),
    _coral(
        "mobilenet_v2_1.0_224_quant_edgetpu",
        git_blob="06db28d38a42505b1ef4f19b5273173e9a43504c",
        input_size=224,
        labels="imagenet",
        cpu_twin="mobilenet_v2_1.0_224_quant",
    ),
)

CATALOGUE: Mapping[str, CatalogueModel] = MappingProxyType({model.name: model for model in _MODELS})
"""Every known model by its name."""


def recognize(path: Path) -> CatalogueModel | None:
    """Return the catalogue's model that has exactly this content, whatever the file is called.

    Raises OSError if the file cannot be read.
    """
    size = path.stat().st_size
    possible = [each for each in CATALOGUE.values() if each.size_bytes in {None, size}]
    algorithms = {each.digest.algorithm for each in possible}
    found = {Digest(algorithm, "").measure(path) for algorithm in algorithms}
    return next((each for each in possible if each.digest in found), None)
