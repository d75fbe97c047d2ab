"""Ctrl-C before a verb has started, while Python still imports."""

import subprocess
import sys
from pathlib import Path

import pytest

# Sends Ctrl-C to its own process when a module is imported.
HOOK = """
import builtins, signal, sys
real = builtins.__import__
def interrupted(name, *args, **kwargs):
    if name == {module!r}:
        signal.raise_signal(signal.SIGINT)
    return real(name, *args, **kwargs)
builtins.__import__ = interrupted
sys.argv = ["gpt2", "train", "--help"]
"""
ENTRIES = {
    "gpt2": "from gpt2.cli.main import main; sys.exit(main())",  # an installed console script
    "python -m gpt2": "import runpy; runpy.run_module('gpt2', run_name='__main__')",
}


@pytest.mark.parametrize(
    "module",
    ["gpt2.cli.verbs", "gpt2.errors", "gpt2.config", "gpt2.progress", "llm_tokenizer", "tyro"],
)
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_ctrl_c_during_imports_is_exit_code_130_and_no_traceback(module: str, entry: str) -> None:
    program = HOOK.format(module=module) + ENTRIES[entry]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_importing_the_package_imports_nothing_that_takes_time() -> None:
    program = (
        "import sys; before = set(sys.modules); import gpt2.cli.main; "
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "['gpt2', 'gpt2.cli', 'gpt2.cli.main']\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
def test_a_real_ctrl_c_while_a_verb_is_imported_ends_it(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(
        "import os, signal, sys, threading\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'gpt2.cli.generate': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from gpt2.cli.main import main\n"
        "sys.exit(main(['generate', 'a']))\n"
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "run.py"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "")
