"""How long does the first call in a new process take, with and without compiled code at hand?

python benchmarks/tokenizer_first_call.py [--rounds 3]

Each call runs in a new process: `encode_to_array` of 1 MiB of English, and `Tokenizer.train` on the
same text to 1,000 tokens. Loading Numba counts, `import llm_tokenizer` does not. First the folder
of Numba's cache is empty, so that the call compiles; then it holds what the first process compiled.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tokenizer_tables import print_table
from tokenizer_texts import english

CALLS = {
    "encode_to_array": "Tokenizer.gpt2().encode_to_array(text)",
    "train": "Tokenizer.train([text], 1000)",
}
# Numba loads what other packages register with it: here awkward, which only gigatoken needs.
PROCESS = """
import sys, time, types
sys.modules["awkward.numba"] = types.SimpleNamespace(_register=lambda: None)
from llm_tokenizer import Tokenizer
text = open(sys.argv[1], encoding="utf-8").read()
start = time.perf_counter()
{call}
print(time.perf_counter() - start)
"""
TEXT_CHARACTERS = 2**20  # the fewest with which `encode_to_array` loads compiled code


def main() -> None:
    """Print the seconds of each first call, with an empty cache and with a filled one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = [["first call, s", "empty cache", "filled cache"]]
    with tempfile.TemporaryDirectory() as directory:
        text = Path(directory) / "text"
        text.write_text(english()[:TEXT_CHARACTERS], encoding="utf-8")
        for name, call in CALLS.items():
            times = [first_calls(call, text) for _ in range(options.rounds)]
            medians = [statistics.median(found) for found in zip(*times, strict=True)]
            rows.append([name, *(f"{median:.2f}" for median in medians)])
    print_table(rows)


def first_calls(call: str, text: Path) -> tuple[float, float]:
    """Return the seconds of a call in a new process, with an empty cache and with a filled one."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        return run(call, text, environment), run(call, text, environment)


def run(call: str, text: Path, environment: Mapping[str, str]) -> float:
    """Return the seconds that a new process measures."""
    command = [sys.executable, "-c", PROCESS.format(call=call), str(text)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    main()
