"""The documents as data: blocks, headings, links and tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

_BLOCK = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} (?P<text>.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\((?P<to>[^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `language` and `title` are the two words after the fence."""

    language: str
    title: str
    text: str
    heading: str
    line: int


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path) -> list[Block]:
    """Every fenced block, in order, with the heading it stands under."""
    text = read(path)
    found = []
    for match in _BLOCK.finditer(text):
        language, _, title = match["info"].partition(" ")
        above = [
            heading["text"]
            for heading in _HEADING.finditer(_without_blocks(text))
            if heading.start() < match.start()
        ]
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(language, title, match["text"], above[-1] if above else "", line))
    return found


def prose(path: Path) -> str:
    """The page without its blocks; every line stays where it was."""
    return _without_blocks(read(path))


def anchors(path: Path) -> set[str]:
    """The anchors that a renderer gives to the headings."""
    texts = (match["text"].lower() for match in _HEADING.finditer(prose(path)))
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


def links(path: Path) -> list[str]:
    return [match["to"] for match in _LINK.finditer(prose(path))]


def sections(path: Path) -> dict[str, str]:
    """Text by heading, blocks included, up to the next heading of any level."""
    text, bare = read(path), prose(path)
    headings = list(_HEADING.finditer(bare))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    return {
        heading["text"]: text[heading.end() : end]
        for heading, end in zip(headings, ends, strict=True)
    }


def table(section: str) -> list[list[str]]:
    """The cells of the first table's rows, without its head."""
    rows = []
    for line in section.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]


def _without_blocks(text: str) -> str:
    return _BLOCK.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
