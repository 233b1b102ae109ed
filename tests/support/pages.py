"""The pages for people, as tests read them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from support.daemon import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = sorted([*REPOSITORY.glob("*.md"), *DOCS.glob("*.md")])
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_REDIRECTION = re.compile("[<>]+")


def name_of(page: Path) -> str:
    """Return its path in the repository."""
    return str(page.relative_to(REPOSITORY))


def fences(page: Path, kind: str) -> list[str]:
    """Return the content of the fenced blocks of a kind, such as "sh"."""
    return [content for each, content in _FENCE.findall(page.read_text()) if each == kind]


def prose(page: Path) -> str:
    """Return the page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def code(page: Path) -> list[str]:
    """Return what stands in backticks within the prose."""
    return [each.replace("\\|", "|") for each in re.findall(r"`([^`\n]+)`", prose(page))]


def lines(page: Path) -> list[str]:
    """Return the command lines that a page shows in blocks."""
    return [line for fence in fences(page, "sh") for line in fence.splitlines()]


def commands(line: str) -> Iterator[list[str]]:
    """Split a line of a shell into simple commands, without sudo, redirections, comments."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    command: list[str] = []
    skip = False
    for word in words:
        if _REDIRECTION.fullmatch(word):
            skip = True
        elif skip:
            skip = False
        elif re.fullmatch("[;&|()]+", word):
            yield from [command] if command else []
            command = []
        elif command or word != "sudo":
            command.append(word)
    yield from [command] if command else []


def headings(page: Path) -> list[str]:
    """Return the anchors of a page, as GitHub makes them of its headings."""
    found = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    kept = [re.sub(r"[^\w\- ]", "", each.lower()) for each in found]
    return [each.strip().replace(" ", "-") for each in kept]


def links(page: Path) -> list[str]:
    """Return where the links and pictures of a page lead to."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))
