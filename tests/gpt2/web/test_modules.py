"""The page's modules: what they share is used, and no two need each other."""

import re
from graphlib import TopologicalSorter
from importlib.resources import files

WEB = files("gpt2") / "web"
SOURCES = {
    file.name: file.read_text(encoding="utf-8")
    for file in WEB.iterdir()
    if file.name.endswith((".js", ".html"))
}
IMPORT = re.compile(r'import \{ ([^}]+) \} from "gpt2/(\w+\.js)"')
EXPORT = re.compile(r"^export (?:async )?(?:function|const|class) (\w+)", re.MULTILINE)


def test_what_a_module_exports_another_imports() -> None:
    imported = {
        (module, name)
        for source in SOURCES.values()
        for names, module in IMPORT.findall(source)
        for name in names.split(", ")
    }
    exported = {
        (module, name) for module, source in SOURCES.items() for name in EXPORT.findall(source)
    }
    assert exported == imported


def test_imports_go_one_way_and_the_page_needs_every_module() -> None:
    needs = {
        module: {needed for _, needed in IMPORT.findall(source)}
        for module, source in SOURCES.items()
    }
    TopologicalSorter(needs).prepare()  # raises if there is a cycle
    assert set(SOURCES) - set().union(*needs.values()) == {"gallery.html"}


def test_a_module_says_in_its_first_line_which_question_it_answers() -> None:
    first = {module: source.splitlines()[0] for module, source in SOURCES.items()}
    del first["gallery.html"]
    assert [module for module, line in first.items() if not re.match(r"// .+\?", line)] == []
