"""Print what CHANGELOG.md says of the release that a tag names; exit 1 if tag, version and changelog disagree."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def notes(tag: str, version: str, changelog: str) -> str:
    """The section of a release.

    Raises:
        ValueError: the tag is of another version, or the changelog has no dated section that says anything.
    """
    if tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, the version {version}; the tag must be v{version}")
    heading = re.compile(rf"^## \[{re.escape(version)}\] - [0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$", re.MULTILINE)
    found = heading.search(changelog)
    if found is None:
        raise ValueError(f'CHANGELOG.md has no line "## [{version}] - YYYY-MM-DD"')
    text = re.split(r"^(?:## \[|\[[^\]\n]+\]: )", changelog[found.end() :], maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not text:
        raise ValueError(f"CHANGELOG.md says nothing of {version}")
    return text


def main() -> None:
    source = (ROOT / "venice_mcp" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    if len(sys.argv) != 2 or version is None:
        sys.exit("usage: release_notes.py TAG")
    try:
        print(notes(sys.argv[1], version[1], (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")))
    except ValueError as error:
        sys.exit(f"release: {error}")


if __name__ == "__main__":
    main()
