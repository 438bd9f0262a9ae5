"""Finds the code blocks of a Markdown file. Knows nothing of what is in them."""

import re
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """One fenced block; `name` is the file that its first line, a comment, says it is."""

    language: str
    text: str
    line: int

    @property
    def name(self) -> str | None:
        """Return the file name in the first line."""
        match = re.match(r"# (\S+\.(?:py|toml))\n", self.text)
        return match[1] if match else None


def blocks(document: Path) -> list[Block]:
    """Every fenced block with a language, in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(match[1], match[2], text.count("\n", 0, match.start()) + 1) for match in _BLOCK.finditer(text)
    ]


def links(document: Path) -> list[str]:
    """Every link's target."""
    return _LINK.findall(document.read_text(encoding="utf-8"))
