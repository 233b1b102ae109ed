"""Stands in for python3-kms++, which Debian does not have: picamera2 imports it for previews."""


class _AnyName(type):
    def __getattr__(cls, name: str) -> str:
        return name


class PixelFormat(metaclass=_AnyName):
    """Has every pixel format there is, by its name."""
