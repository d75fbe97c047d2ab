"""Both wheels, built from a copy of the sources and used in environments that have no checkout."""

import email
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterable
from importlib.metadata import distribution
from pathlib import Path

import pytest

from gpt2.config import bundled_recipes
from llm_tokenizer import Tokenizer

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
TOKENIZER_NEEDS = ("numpy", "numba", "llvmlite")
TEXT = (ROOT / "LICENSE").read_text(encoding="utf-8")

Run = Callable[..., str]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each distribution, by its name."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheels")
    for folder in ("src", "tests", "tokenizer"):  # with __pycache__, which no wheel may hold
        shutil.copytree(ROOT / folder, copy / folder)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    flags = ["--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(out)]
    pip("wheel", *flags, str(copy / "tokenizer"), str(copy))
    return {path.name.split("-")[0].replace("_", "-"): path for path in out.iterdir()}


@pytest.fixture(scope="module")
def tokenizer_alone(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run in an environment with the tokenizer, numpy, numba and llvmlite, and nothing else."""
    place = tmp_path_factory.mktemp("tokenizer-alone")
    needs = place / "needs"
    needs.mkdir()
    for name in TOKENIZER_NEEDS:
        needed = distribution(name)
        parts = {file.parts[0] for file in needed.files or ()} - {".."}
        for part in parts:
            (needs / part).symlink_to(Path(str(needed.locate_file(part))))
    return environment(place, [needs], [wheels["llm-tokenizer"]])


@pytest.fixture(scope="module")
def both(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run in an environment with both wheels and what else is installed here."""
    place = tmp_path_factory.mktemp("both")
    # Python reads no .pth file of a folder that a .pth file names: the checkout stays out of sight.
    installed = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}
    return environment(place, installed, wheels.values())


def environment(place: Path, packages: Iterable[Path], wheels: Iterable[Path]) -> Run:
    """Make a virtual environment of wheels, beside folders of packages.

    Returns:
        A function that runs one of its programs in an empty folder and returns what it prints.
    """
    folder, empty = place / "environment", place / "empty"
    venv.create(folder, symlinks=os.name != "nt")
    empty.mkdir()
    paths = sysconfig.get_paths("venv", {"base": str(folder), "platbase": str(folder)})
    scripts, site = Path(paths["scripts"]), Path(paths["purelib"])
    python = shutil.which("python", path=scripts)
    pip("--python", str(python), "install", "--no-deps", "--no-index", *map(str, wheels))
    (site / "packages.pth").write_text("\n".join(map(str, packages)), encoding="utf-8")
    hand_over_what_is_compiled(site / "llm_tokenizer")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(program: str, *args: str, text: str = "") -> str:
        command = [str(shutil.which(program, path=scripts)), *args]
        done = subprocess.run(
            command, cwd=empty, env=kept, input=text, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    return run


def hand_over_what_is_compiled(package: Path) -> None:
    """Give an installed tokenizer what Numba has compiled in the checkout, if it has.

    Numba keeps it in __pycache__, for sources of one content, and takes seconds otherwise.
    """
    here = ROOT / "tokenizer/src/llm_tokenizer"
    for compiled in here.rglob("*.nb?"):
        shutil.copy(compiled, package / compiled.relative_to(here))


def pip(*args: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "source", "licenses", "some"),
    [
        (
            "llm-tokenizer",
            "tokenizer/src/llm_tokenizer",
            ["LICENSE", "NOTICE"],
            ["assets/gpt2_merges.txt", "assets/unicode_classes.txt", "py.typed"],
        ),
        (
            "gpt2-from-scratch",
            "src/gpt2",
            ["LICENSE"],
            ["py.typed", *(f"recipes/{recipe}.toml" for recipe in bundled_recipes())],
        ),
    ],
)
def test_a_wheel_holds_all_of_its_package_and_its_licenses_and_nothing_else(
    wheels: dict[str, Path], name: str, source: str, licenses: list[str], some: list[str]
) -> None:
    with zipfile.ZipFile(wheels[name]) as wheel:
        found = set(wheel.namelist())
    package = {
        path.relative_to((ROOT / source).parent).as_posix()
        for path in (ROOT / source).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {f"{Path(source).name}/{file}" for file in some} <= package
    about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt"}
    about |= {f"licenses/{file}" for file in licenses}
    folder = f"{name.replace('-', '_')}-{VERSION}.dist-info"
    assert found == package | {f"{folder}/{file}" for file in about}


def test_the_two_distributions_are_of_one_version_and_of_any_python_from_3_11(
    wheels: dict[str, Path],
) -> None:
    told = {}
    for name, path in wheels.items():
        about = f"{name.replace('-', '_')}-{VERSION}.dist-info/METADATA"
        with zipfile.ZipFile(path) as wheel:
            told[name] = email.message_from_bytes(wheel.read(about))
    assert {name: one["Version"] for name, one in told.items()} == dict.fromkeys(told, VERSION)
    assert {one["Requires-Python"] for one in told.values()} == {">=3.11"}
    needs = [need.split(">")[0] for need in told["llm-tokenizer"].get_all("Requires-Dist")]
    assert needs == ["numba", "numpy"]
    assert f"llm-tokenizer=={VERSION}" in told["gpt2-from-scratch"].get_all("Requires-Dist")


TOKENIZER_SESSION = """
import importlib.util, sys
from pathlib import Path
import llm_tokenizer
from llm_tokenizer import Tokenizer

assert Path(llm_tokenizer.__file__).is_relative_to(sys.prefix), llm_tokenizer.__file__
for name in ("gpt2", "pyarrow", "torch", "transformers"):
    assert importlib.util.find_spec(name) is None, name

text = Path("text.txt").read_text(encoding="utf-8")
released = Tokenizer.gpt2()
ids = released.encode(text)  # on the reference path
assert released.decode(ids) == text
long = text * (2**20 // len(text) + 1)
assert released.encode_to_array(long).tolist()[:len(ids) - 1] == ids[:-1]  # on the compiled one
assert "numba" in sys.modules
assert released.decode(released.encode_batch([long], num_threads=2)[0]) == long
found, offsets = released.encode_documents(["Hello", "", "world"], num_threads=2)
assert (found.tolist(), offsets.tolist()) == ([15496, 6894], [0, 1, 1, 2])

learned = Tokenizer.train([text, Path("text.txt")], 300)
for place in ("vocabulary", "tokenizer.json", "vocabulary.tiktoken"):
    learned.save(place)
    assert Tokenizer.load(place).encode_ordinary(text) == learned.encode_ordinary(text)
"""


def test_the_tokenizer_needs_numpy_and_numba_alone(tokenizer_alone: Run) -> None:
    write = "import sys; open('text.txt', 'w', encoding='utf-8').write(sys.stdin.read())"
    tokenizer_alone("python", "-c", write, text=TEXT)
    tokenizer_alone("python", "-c", TOKENIZER_SESSION)

    assert tokenizer_alone("llm-tokenizer", "--version") == f"llm-tokenizer {VERSION}\n"
    assert tokenizer_alone("llm-tokenizer", "encode", text="Hello, world") == "15496 11 995\n"
    assert tokenizer_alone("llm-tokenizer", "decode", text="15496 11 995") == "Hello, world"
    train = ("train", "text.txt", "--vocab-size", "290", "--out", "learned")
    assert tokenizer_alone("llm-tokenizer", *train) == "learned\n"
    ids = Tokenizer.train([TEXT], 290).encode("of the Software")
    learned = ("encode", "--tokenizer", "learned")
    printed = tokenizer_alone("llm-tokenizer", *learned, text="of the Software")
    assert printed.split() == list(map(str, ids))


def test_gpt2_trains_and_generates_where_there_is_no_checkout(both: Run) -> None:
    where = "import gpt2, llm_tokenizer, sys; print(gpt2.__file__, llm_tokenizer.__file__)"
    prefix = both("python", "-c", "import sys; print(sys.prefix)").strip()
    assert all(file.startswith(prefix) for file in both("python", "-c", where).split())

    assert both("gpt2", "--version") == f"gpt2-from-scratch {VERSION}\n"
    told = both("gpt2", "train", "--help")
    assert all(recipe in told for recipe in bundled_recipes())

    write = "import sys; open('text.txt', 'w', encoding='utf-8').write(sys.stdin.read())"
    both("python", "-c", write, text=TEXT)
    both("llm-tokenizer", "train", "text.txt", "--vocab-size", "300", "--out", "vocabulary")
    prepared = ("--tokenizer", "vocabulary", "--separator", r"\n\n", "--hold-out", "0.3")
    both("gpt2", "prepare", "text.txt", *prepared, "--out", "data")
    shape = {"vocab-size": 300, "n-positions": 16, "n-embd": 8, "n-layer": 1, "n-head": 1}
    shape["short-context"] = 8  # a divisor of n-positions, as the 64 of the recipe is of its 128
    sizes = {"steps": 2, "batch-tokens": 32, "micro-batch": 2, "val-tokens": 32, "device": "cpu"}
    flags = [f"--{name}={value}" for name, value in (shape | sizes).items()]
    printed = both("gpt2", "train", "--recipe", "demo", "--directory", "data", *flags)
    assert Path(printed.strip()) == Path("runs/demo")
    generate = ("generate", "Permission", "--model", "runs/demo", "--max-new-tokens", "3")
    assert both("gpt2", *generate).startswith("Permission")
