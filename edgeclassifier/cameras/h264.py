"""Notices that pictures are missing in an H.264 stream, which its decoder conceals."""

import re

_START_CODE = re.compile(rb"\x00\x00\x01")
_SLICES = frozenset({1, 5})
_IDR, _SPS = 5, 7
# Profiles whose parameters say more about colour.
_HIGH = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_FOUR_FOUR_FOUR = 3
_SLICE_HEADER_BYTES = 32
_MOST_PARAMETER_BYTES = 1024
_ESCAPED = re.compile(rb"\x00\x00\x03")


class Order:
    """Follows the frame numbers in the slices' headers."""

    def __init__(self, extradata: bytes | None) -> None:
        """Take the parameters that a container holds outside of its packets."""
        self._length_bytes = 0
        """How long the lengths before the units are; 0 if start codes separate them."""
        self._bits = 0
        """Of a frame number; 0 as long as it is not known."""
        self._gaps_allowed = False
        self._planes_apart = False
        self._last: int | None = None
        self._last_is_reference = False
        if extradata and extradata[0] == 1 and len(extradata) > 6:  # noqa: PLR2004  # avcC's header
            self._length_bytes = (extradata[4] & 3) + 1
            size = int.from_bytes(extradata[6:8])
            self._note_parameters(extradata[8 : 8 + size])
        elif extradata:
            self.continues(extradata)

    def forget(self) -> None:
        """Begin anew with the next picture."""
        self._last = None

    def continues(self, packet: bytes) -> bool:
        """Say whether a packet has the picture that follows the last one."""
        for unit in self._units(packet):
            kind = unit[0] & 0x1F
            if kind == _SPS:
                self._note_parameters(unit)
            elif kind in _SLICES and self._bits:
                # The first slice of a picture tells; the others have the same number.
                return self._take(unit, is_idr=kind == _IDR)
        return True

    def _take(self, unit: bytes, *, is_idr: bool) -> bool:
        last, was_reference = self._last, self._last_is_reference
        try:
            number = self._frame_number(unit)
        except IndexError:
            return True  # the decoder will say so
        self._last, self._last_is_reference = number, bool(unit[0] & 0x60)
        if is_idr or last is None or self._gaps_allowed or number == last:
            return True
        return was_reference and number == (last + 1) % (1 << self._bits)

    def _units(self, packet: bytes) -> list[bytes]:
        if not self._length_bytes:
            starts = [found.end() for found in _START_CODE.finditer(packet)]
            ends = [*(start - 3 for start in starts[1:]), len(packet)]
            pairs = zip(starts, ends, strict=False)
            return [packet[start:end] for start, end in pairs if end > start]
        units, at = [], 0
        while at + self._length_bytes < len(packet):
            size = int.from_bytes(packet[at : at + self._length_bytes])
            at += self._length_bytes
            if size:
                units.append(packet[at : at + size])
            at += size
        return [unit for unit in units if unit]

    def _frame_number(self, unit: bytes) -> int:
        bits = _Bits(unit[1:_SLICE_HEADER_BYTES])
        for _ in ("first_mb_in_slice", "slice_type", "pic_parameter_set_id"):
            bits.golomb()
        if self._planes_apart:
            bits.take(2)
        return bits.take(self._bits)

    def _note_parameters(self, unit: bytes) -> None:
        """Read a sequence parameter set as far as it is about frame numbers."""
        try:
            self._read_parameters(unit)
        except IndexError:
            self._bits = 0

    def _read_parameters(self, unit: bytes) -> None:
        profile = unit[1]
        bits = _Bits(unit[4:_MOST_PARAMETER_BYTES])
        bits.golomb()
        self._planes_apart = False
        if profile in _HIGH:
            chroma = bits.golomb()
            if chroma == _FOUR_FOUR_FOUR:
                self._planes_apart = bool(bits.take(1))
            bits.golomb(), bits.golomb(), bits.take(1)
            if bits.take(1):
                for index in range(12 if chroma == _FOUR_FOUR_FOUR else 8):
                    if bits.take(1):
                        bits.scaling_list(16 if index < 6 else 64)  # noqa: PLR2004  # as in 7.3.2.1.1
        self._bits = bits.golomb() + 4
        order = bits.golomb()
        if order == 0:
            bits.golomb()
        elif order == 1:
            bits.take(1), bits.golomb(), bits.golomb()
            for _ in range(min(bits.golomb(), 255)):
                bits.golomb()
        bits.golomb()
        self._gaps_allowed = bool(bits.take(1))


class _Bits:
    """Reads bits from the highest on. Raises IndexError at the end."""

    def __init__(self, data: bytes) -> None:
        self._data = _ESCAPED.sub(b"\x00\x00", data)
        self._at = 0

    def take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            byte = self._data[self._at >> 3]
            value = value << 1 | byte >> (7 - (self._at & 7)) & 1
            self._at += 1
        return value

    def golomb(self) -> int:
        """Read an unsigned number in Exp-Golomb code; a signed one by its code."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def scaling_list(self, size: int) -> None:
        last = following = 8
        for _ in range(size):
            if following:
                code = self.golomb()
                delta = (code + 1) // 2 if code % 2 else -(code // 2)
                following = (last + delta) % 256
            last = following or last
