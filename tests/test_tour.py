"""docs/tour.md links to lines of the code. `python tests/test_tour.py` corrects their numbers."""

import re
from pathlib import Path

TOUR = Path(__file__).parent.parent / "docs" / "tour.md"
LINK = re.compile(r"\[`([^`]+)`\]\(([^)#]+)#L(\d+)\)")


def line_of(name: str, file: Path) -> int:
    """Return the line that defines a function, class or method, or else holds the text, from 1."""
    lines = file.read_text(encoding="utf-8").splitlines()
    first = 0
    for part in name.split(".") if name.replace(".", "").isidentifier() else [name]:
        definition = re.compile(rf"\s*(async def|def|class) {re.escape(part)}\b")
        found = [i for i in range(first, len(lines)) if definition.match(lines[i])]
        found += [i for i in range(first, len(lines)) if part in lines[i]]
        assert found, f"docs/tour.md names {name}, which {file} does not have"
        first = found[0]
    return first + 1


def corrected(tour: str) -> str:
    def link(match: re.Match[str]) -> str:
        name, path, _ = match.groups()
        return f"[`{name}`]({path}#L{line_of(name, TOUR.parent / path)})"

    return LINK.sub(link, tour)


def test_every_link_of_the_tour_points_at_the_line_of_what_it_names() -> None:
    tour = TOUR.read_text(encoding="utf-8")
    assert len(LINK.findall(tour)) > 30
    for found, wanted in zip(LINK.findall(tour), LINK.findall(corrected(tour)), strict=True):
        assert found == wanted, "run python tests/test_tour.py"


if __name__ == "__main__":
    TOUR.write_text(corrected(TOUR.read_text(encoding="utf-8")), encoding="utf-8")
