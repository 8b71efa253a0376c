"""Links of the documents lead somewhere: relative ones to a file of the repository, and their anchors to a heading."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)


@cache
def _documents() -> tuple[Path, ...]:
    folders = [ROOT / name for name in ("docs", "examples", "bench", "tests", "src", "web/src", "scripts")]
    return tuple(sorted([*ROOT.glob("*.md"), *(path for folder in folders for path in folder.rglob("*.md"))]))


def _prose(text: str) -> str:
    """The text without code, in which brackets mean something else."""
    text = re.sub(r"^(```+|~~~+).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(`+)(?:(?!`).)+?\1", "", text, flags=re.DOTALL)


def _anchors(text: str) -> set[str]:
    """The anchors that a forge gives to headings: lower case, no punctuation, `-` for spaces, numbered when repeated."""
    anchors: set[str] = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))
    counts: dict[str, int] = {}
    for title in HEADING.findall(re.sub(r"^(```+|~~~+).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)):
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title)
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        number = counts.get(anchor, 0)
        counts[anchor] = number + 1
        anchors.add(f"{anchor}-{number}" if number else anchor)
    return anchors


def _broken(page: Path, text: str) -> list[str]:
    found = []
    for target in [*LINK.findall(_prose(text)), *REFERENCE.findall(_prose(text))]:
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue  # the network is not asked
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        if not place.is_relative_to(ROOT) or not place.exists():
            found.append(f"{target}: no such file")
        elif anchor:
            content = text if place == page else place.read_text(encoding="utf-8")
            if place.suffix == ".md" and anchor not in _anchors(content):
                found.append(f"{target}: no such heading")
    return found


def test_links_lead_somewhere() -> None:
    wrong = [
        f"{page.relative_to(ROOT)}: {what}"
        for page in _documents()
        for what in _broken(page, page.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


def test_links_lead_to_what_is_published() -> None:
    """A file that is here but ignored by Git would be missing in a clone."""
    done = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True)
    if done.returncode != 0:
        return  # an unpacked archive: all that is here is published
    files = {ROOT / name for name in done.stdout.decode().split("\0") if name}
    folders = {parent for path in files for parent in path.parents}
    for page in _documents():
        for target in LINK.findall(_prose(page.read_text(encoding="utf-8"))):
            if not re.match(r"[a-z][a-z0-9+.-]*:", target) and (name := target.partition("#")[0]):
                assert (page.parent / name).resolve() in files | folders, f"{page.relative_to(ROOT)}: {target}"


def test_the_index_names_every_page() -> None:
    """Decisions are listed by their folder, the specification by its own index."""
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(index.read_text(encoding="utf-8"))}
    spec = ROOT / "docs" / "spec" / "README.md"
    linked |= {(spec.parent / target).resolve() for target in LINK.findall(spec.read_text(encoding="utf-8"))}
    pages = {page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "adr"} - {index}
    assert not pages - linked, f"docs/README.md leads to none of {sorted(map(str, pages - linked))}"


def test_broken_links_are_found() -> None:
    page = ROOT / "docs" / "README.md"
    text = "# One thing\n[a](nothing.md) [b](#one-thing) [c](#two) `[d](no.md)` [e](start/README.md#no) [f](../../x)\n"
    text += "[`g`](nobody.md) ![h](images/no.png)\n\n```\n[i](no.md)\n```\n[j](https://example.org/x)\n"
    assert [what.partition(":")[0] for what in _broken(page, text)] == [
        "nothing.md",
        "#two",
        "start/README.md#no",
        "../../x",
        "nobody.md",
        "images/no.png",
    ]


def test_documents_are_seen() -> None:
    assert {"README.md", "docs/README.md", "docs/reference/errors.md"} <= {
        page.relative_to(ROOT).as_posix() for page in _documents()
    }


def test_anchors_are_those_of_forges() -> None:
    text = "# The `state`: key, value & more\n## A\n## A\n### 3. Checking, without us\n"
    assert _anchors(text) == {"the-state-key-value--more", "a", "a-1", "3-checking-without-us"}
