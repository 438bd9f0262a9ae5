"""What a balancer counted, as Prometheus reads it (text format 0.0.4).

Owns names of metrics and their layout. Must not know where numbers come from.
"""

from collections.abc import Iterable, Mapping

__all__ = ["CONTENT_TYPE", "Family", "exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "legato_balancer_"

Labels = Mapping[str, str]


class Family:
    """One metric with all its series."""

    def __init__(self, name: str, kind: str, about: str) -> None:
        self._name = f"{PREFIX}{name}"
        self._kind = kind
        self._about = about
        self._lines: list[str] = []

    def add(self, value: int | float, **labels: str) -> "Family":
        """Add one series; returns the family."""
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        self._lines.append(f"{self._name}{f'{{{shown}}}' if shown else ''} {value}")
        return self

    def text(self) -> str:
        """The family as Prometheus reads it."""
        head = (f"# HELP {self._name} {self._about}", f"# TYPE {self._name} {self._kind}")
        return "\n".join((*head, *self._lines)) + "\n"


def exposition(families: Iterable[Family]) -> str:
    """All families of one answer."""
    return "".join(family.text() for family in families)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
