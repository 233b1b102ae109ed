"""What waits for the broker: bounded, in order, in memory or on disk."""

from edgeclassifier.buffer.base import Buffer, BufferStatus, Kept
from edgeclassifier.buffer.memory import MemoryBuffer

__all__ = ["Buffer", "BufferStatus", "Kept", "MemoryBuffer"]
