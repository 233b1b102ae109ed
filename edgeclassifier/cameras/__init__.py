"""Sources of frames behind one small interface."""

from edgeclassifier.cameras.camera import Camera, FrameFactory

__all__ = ["Camera", "FrameFactory"]
