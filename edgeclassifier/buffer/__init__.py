"""What waits for the broker: bounded, in order, in memory, and on disk if it is to last."""

from edgeclassifier.buffer.memory import MemoryBuffer
from edgeclassifier.buffer.parcel import Buffer, Kept, Parcel

__all__ = ["Buffer", "Kept", "MemoryBuffer", "Parcel"]
