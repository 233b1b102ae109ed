"""Writes the README's table of problems: python -m edgeclassifier.doctor.table README.md."""

import sys
from pathlib import Path

from edgeclassifier.doctor.examination import problems
from edgeclassifier.doctor.findings import Level
from edgeclassifier.errors import EXIT_FAILURE

BEGIN = "<!-- doctor: begin (python -m edgeclassifier.doctor.table README.md) -->"
END = "<!-- doctor: end -->"


def render() -> str:
    """Return the table in Markdown, one line for each problem that can be found."""
    lines = ["| finding | what it means | what to do |", "|---|---|---|"]
    for each in problems():
        mark = " (warning)" if each.level is Level.WARNING else ""
        cells = (
            f"`{each.id}`{mark}",
            f"**{each.title}.** {each.meaning}",
            each.general_remedy,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def replaced(text: str) -> str:
    """Return `text` with the table between the two marks. Raises ValueError where they are not."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"it lacks the line {BEGIN if not begin else END}")
    return f"{head}{BEGIN}\n{render()}{END}{tail}"


def main() -> int:
    """Bring the file that the first argument names up to date."""
    file = Path(sys.argv[1])
    try:
        file.write_text(replaced(file.read_text(encoding="utf-8")), encoding="utf-8")
    except ValueError as error:
        sys.stderr.write(f"{file}: {error}\n")
        return EXIT_FAILURE
    return 0


if __name__ == "__main__":
    sys.exit(main())
