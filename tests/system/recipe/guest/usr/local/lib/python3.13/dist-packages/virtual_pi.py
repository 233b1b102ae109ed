"""Lets the real picamera2 use libcamera's virtual camera, which it was not made for.

Imported by virtual_pi.pth at the start of every Python, also in virtual environments that see the
system's packages. It changes picamera2 when that is imported, in these places:

- the virtual camera has no raw stream, so its modes cannot be asked for;
- it wants each buffer to have one plane for luma and one for chroma, as libcamera's own allocator
  makes them, where picamera2 allocates one plane;
- it reports no number of bytes used, by which picamera2 would know how much to map;
- it never says whether a frame is good: that is read from memory nobody has written to;
- it has no frame rate.

And Debian's kernel for arm64 has no heap for picamera2's own buffers, which are not used anyway.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_PATCHED = "picamera2.picamera2"
_HEAP = Path("/dev/dma_heap/system")


def _patch(module: ModuleType) -> None:
    from picamera2.allocators import LibcameraAllocator
    from virtual_pi_stand_ins import FilledRequest, Mapping, PacedCamera

    camera_class: Any = module.Picamera2
    request_class: Any = module.CompletedRequest
    original_init = camera_class.__init__
    original_modes = camera_class._get_raw_modes

    class Allocator(LibcameraAllocator):  # type: ignore[misc]  # picamera2 has no types
        def __init__(self, camera: Any) -> None:
            super().__init__(camera)
            self.sync = Mapping

    def is_virtual(camera: Any) -> bool:
        return "Virtual" in str(camera.camera.id)

    class CompletedRequest(request_class):  # type: ignore[misc]  # as above
        def __init__(self, request: Any, camera: Any) -> None:
            super().__init__(FilledRequest(request) if is_virtual(camera) else request, camera)

    def raw_modes(self: Any) -> list[dict[str, Any]]:
        if not is_virtual(self):
            modes: list[dict[str, Any]] = original_modes(self)
            return modes
        return [{"format": "NV12", "size": (640, 480)}]

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        original_init(self, *arguments, **options)
        if is_virtual(self):
            self.allocator = Allocator(self.camera)
            self.camera = PacedCamera(self.camera)

    if not _HEAP.exists():
        module.DmaAllocator = lambda: None  # type: ignore[attr-defined]  # init() replaces it
    module.CompletedRequest = CompletedRequest  # type: ignore[attr-defined]
    camera_class._get_raw_modes = raw_modes
    camera_class.__init__ = init


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _patch(module)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _PATCHED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def install() -> None:
    """Change picamera2 as soon as it is imported."""
    sys.meta_path.insert(0, _Finder())
