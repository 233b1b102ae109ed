"""Sources of frames behind one small interface."""

from edgeclassifier.cameras.camera import Camera, Frame, FrameFactory

__all__ = ["Camera", "Frame", "FrameFactory"]
