"""Text from outside, such as names of files and labels, made safe for a terminal or a log."""

import re

# C0, DEL and C1 command a terminal; the others end a line, or turn the direction of writing.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def one_line(text: str) -> str:
    """Escape the characters that would end a line, or command a terminal."""
    return _CONTROL.sub(_escape, text)


def lines(text: str) -> str:
    """Do the same for text of several lines: their ends and tabs stay."""
    return _CONTROL.sub(lambda found: found[0] if found[0] in "\n\t" else _escape(found), text)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
