"""What is said of a taught model: for people, and as JSON."""

from pathlib import Path
from typing import Any

from edgeclassifier.host.terminal import one_line
from edgeclassifier.teach.teaching import Taught

_MOST_LISTED = 20
_MOST_COLUMNS = 12
_WIDEST = 16


def as_text(name: str, taught: Taught, path: Path | None) -> str:
    """Return some lines: how good it is, what it takes for what, and what to improve."""
    found, lesson = taught.judgement, taught.lesson
    low, high = found.interval
    said = [
        f"{name}: {len(taught.labels)} classes from {len(lesson.pictures)} pictures, with the "
        f"network of {taught.base}, in {taught.seconds:.1f} s"
    ]
    if found.judged:
        said += [
            f"right in {found.right} of {found.judged} pictures that it had not seen: "
            f"{found.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f})",
            f"calibration error {found.calibration_error:.3f}"
            f" (before calibration {found.uncalibrated_error:.3f})",
            *_confusion(taught),
        ]
    else:
        said.append("every class has one picture, so that nothing tells how good it is")
    said += _listed(
        "wrong",
        [
            f"{each.path}: {each.label}, taken for {each.instead} ({each.score:.2f})"
            for each in found.mistakes
        ],
    )
    said += _listed(
        "nearly the same",
        [f"{one} and {other}" for one, other in found.near_duplicates],
    )
    said += _listed("twice, used once", [str(each) for each in lesson.repeated])
    said += _listed(
        "in several classes, left out",
        [" and ".join(map(str, each)) for each in lesson.contradicting],
    )
    if lesson.unreadable:
        said.append(f"cannot be read, left out: {len(lesson.unreadable)}")
    said += [f"advice: {each}" for each in found.advice]
    if path is None:
        said.append("nothing was installed")
    else:
        said.append(f'installed {path}: choose it with model.name = "{name}"')
    return "\n".join(map(one_line, said))


def as_data(name: str, taught: Taught, path: Path | None) -> dict[str, Any]:
    """Return the same, whole, for JSON."""
    found, lesson = taught.judgement, taught.lesson
    return {
        "name": name,
        "path": None if path is None else str(path),
        "base": {"name": taught.base, "sha256": taught.base_sha256},
        "labels": list(taught.labels),
        "pictures": len(lesson.pictures),
        "seconds": round(taught.seconds, 1),
        "judged": found.judged,
        "moments": found.moments,
        "top1": round(found.accuracy, 4),
        "interval": [round(each, 4) for each in found.interval],
        "calibration_error": round(found.calibration_error, 4),
        "uncalibrated_error": round(found.uncalibrated_error, 4),
        "temperature": round(found.temperature, 4),
        "classes": [
            {
                "label": label,
                "pictures": found.counts[index],
                "judged": sum(found.confusion[index]),
                "right": found.confusion[index][index],
            }
            for index, label in enumerate(taught.labels)
        ],
        "confusion": [list(row) for row in found.confusion],
        "mistakes": [
            {
                "file": str(each.path),
                "label": each.label,
                "instead": each.instead,
                "score": round(each.score, 4),
            }
            for each in found.mistakes
        ],
        "near_duplicates": [[str(one), str(other)] for one, other in found.near_duplicates],
        "repeated": [str(each) for each in lesson.repeated],
        "contradicting": [[str(each) for each in paths] for paths in lesson.contradicting],
        "unreadable": list(lesson.unreadable),
        "advice": list(found.advice),
    }


def _confusion(taught: Taught) -> list[str]:
    """Return a table: the pictures of a class in its row, what they were taken for in columns."""
    labels, table = taught.labels, taught.judgement.confusion
    if len(labels) > _MOST_COLUMNS:
        return [
            f"{labels[row]}: right {table[row][row]} of {sum(table[row])}"
            for row in range(len(labels))
            if sum(table[row])
        ]
    short = [label if len(label) <= _WIDEST else label[: _WIDEST - 1] + "…" for label in labels]
    width = max(map(len, short))
    cells = [max(len(each), 4) for each in short]
    head = "  ".join(each.rjust(cell) for each, cell in zip(short, cells, strict=True))
    rows = [f"{'':{width}}  {head}"]
    for name, row in zip(short, table, strict=True):
        shown = "  ".join(str(each).rjust(cell) for each, cell in zip(row, cells, strict=True))
        rows.append(f"{name:{width}}  {shown}")
    return rows


def _listed(title: str, items: list[str]) -> list[str]:
    more = len(items) - _MOST_LISTED
    shown = [f"{title}: {each}" for each in items[:_MOST_LISTED]]
    return [*shown, f"{title}: {more} more (--json lists all)"] if more > 0 else shown
