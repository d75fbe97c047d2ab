"""The pages' modules: what they share is used, and no two need each other."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

from gpt2.visual.page_html import WEB, modules_of

FOLDER = Path(str(WEB))
PAGES = {"explorer.js", "gallery.js", "watch/page.js"}
SOURCES = {
    path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8")
    for path in FOLDER.rglob("*.js")
}
IMPORT = re.compile(r'import \{ ([^}]+) \} from "gpt2/([\w/]+\.js)"')
EXPORT = re.compile(r"^export (?:async )?(?:function\*?|const|class) (\w+)", re.MULTILINE)


def test_what_a_module_exports_another_imports_or_shows_a_page() -> None:
    imported = {
        (module, name)
        for source in SOURCES.values()
        for names, module in IMPORT.findall(source)
        for name in re.findall(r"\w+", names)
    }
    exported = {
        (module, name) for module, source in SOURCES.items() for name in EXPORT.findall(source)
    }
    assert exported == imported | {(page, "showPage") for page in PAGES}


def test_imports_go_one_way_and_a_page_needs_every_module() -> None:
    needs = {
        module: {needed for _, needed in IMPORT.findall(source)}
        for module, source in SOURCES.items()
    }
    TopologicalSorter(needs).prepare()  # raises if there is a cycle
    assert set(SOURCES) == {module for page in PAGES for module in modules_of(page)}


def test_a_module_says_in_its_first_line_which_question_it_answers() -> None:
    first = {module: source.splitlines()[0] for module, source in SOURCES.items()}
    assert [module for module, line in first.items() if not re.match(r"// .+\?", line)] == []
