"""What waits for the broker: bounded, in order, in memory or on disk."""

from edgeclassifier.buffer.base import Buffer
from edgeclassifier.buffer.memory import MemoryBuffer
from edgeclassifier.buffer.parcel import Kept, Parcel

__all__ = ["Buffer", "Kept", "MemoryBuffer", "Parcel"]
