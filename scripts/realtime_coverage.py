"""Write `wire/realtime-coverage.md`: what becomes of each event and setting of the Realtime API.

    python scripts/realtime_coverage.py            write it
    python scripts/realtime_coverage.py --check    exit with 1 if it is out of date

Owns the page's form; what it says stands in `legato.core.dialects.realtime.vocabulary`.
"""

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from legato.core.dialects.realtime.vocabulary import CLIENT_EVENTS, SERVER_EVENTS, SETTINGS, Entry

PAGE = Path(__file__).resolve().parent.parent / "wire" / "realtime-coverage.md"

HEAD = """# The OpenAI Realtime API, event by event

Written by `scripts/realtime_coverage.py` from `src/legato/core/dialects/realtime/vocabulary.py`; not edited
by hand. Tests compare it with the types of the installed `openai` package, so a new version of the API shows
here what is missing.

*handled*: carried out, or sent, as the API says. *passed*: given on to the model. *kept*: checked, remembered
and shown, without any effect. *refused*: answered with an `error` that says what to do instead. *never sent*:
not part of what this server says. Whatever is not listed is refused as unknown.
"""


def table(title: str, column: str, entries: Mapping[str, Entry]) -> str:
    """One section: how many of each treatment, then a line for each entry."""
    counted = Counter(entry.treatment for entry in entries.values())
    summary = ", ".join(f"{number} {treatment}" for treatment, number in counted.items())
    lines = [f"| `{name}` | {entry.treatment} | {entry.note} |" for name, entry in entries.items()]
    return "\n".join(
        [
            f"## {title}",
            "",
            f"{len(entries)}: {summary}.",
            "",
            f"| {column} | | |",
            "|---|---|---|",
            *lines,
            "",
        ]
    )


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            HEAD,
            table("What a client says", "Event", CLIENT_EVENTS),
            table("What the server says", "Event", SERVER_EVENTS),
            table("What a client sets", "Member of `session`", SETTINGS),
        ]
    )


def main() -> int:
    """Write the page, or compare it."""
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        print(f"{PAGE.name} is out of date; run: python scripts/realtime_coverage.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
