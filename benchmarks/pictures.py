"""Time and memory of each picture, and size and speed of the page in a browser.

python benchmarks/pictures.py [--model M] [--rounds 3] [--tokens 1024] [--moments 32]

The model is a random one of 124M weights unless another is given. A picture is made in a process of
its own, which has imported and loaded everything before the clock starts. The page is made with as
many moments as a run keeps, and opened in Chromium.
"""

import argparse
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import torch
from playwright.sync_api import Page, sync_playwright

from gpt2 import GPT2, GPT2Config
from gpt2.cli.main import main as gpt2
from gpt2.cli.model_flags import ModelName
from gpt2.visual.moments import MOST_TOKENS, observe, write_moment
from llm_tokenizer import Tokenizer

PICTURES = {
    "positions": ["positions"],
    "positions --similarity": ["positions", "--similarity"],
    "weights": ["weights"],
    "weights of wte, all": ["weights", "--tensor", "wte.weight", "--rows", ":", "--columns", ":"],
    "attention, a head": ["attention", "--block", "0", "--head", "0", "--text"],
    "attention, a block": ["attention", "--block", "0", "--text"],
    "attention, all": ["attention", "--text"],
    "tokens": ["tokens", "--text"],
    "next": ["next", "--text"],
    "lens": ["lens", "--text"],
    "embeddings": ["embeddings"],
    "norms": ["norms", "--text"],
    "flow": ["flow", "--text"],
}
FRAMES = """([act, count]) => new Promise((resolve) => {
    const step = new Function("i", act);
    const times = [];
    let i = 0;
    requestAnimationFrame(function frame(now) {
        times.push(now);
        if (i > count) resolve(times.slice(1).map((time, k) => time - times[k]));
        else { step(i++); requestAnimationFrame(frame); }
    });
})"""
SLIDE = """{
    const slider = [...document.querySelectorAll('input[type=range]')].at(WHICH);
    const [low, high] = [Number(slider.min), Number(slider.max)];
    slider.value = low + (i % 60) / 60 * (high - low);
    slider.dispatchEvent(new Event('input', { bubbles: true }));
}"""
POINT = """{
    const plane = document.querySelectorAll('.inside-part .plane')[0];
    const box = plane.getBoundingClientRect();
    plane.dispatchEvent(new PointerEvent('pointermove',
        { clientX: box.left + (i % 97) / 97 * box.width, clientY: box.top + box.height / 2 }));
}"""
ACTIONS = {
    "scrolling": "window.scrollBy(0, 40)",
    "pointing at heads": POINT,
    "the slider of temperature": SLIDE.replace("WHICH", "0"),
    "the slider over training": SLIDE.replace("WHICH", "-1"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a random one of 124M weights if not given")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is made (3)")
    parser.add_argument("--tokens", type=int, default=1024, help="of the text of pictures (1024)")
    parser.add_argument("--moments", type=int, default=32, help="of the page's run (32)")
    parser.add_argument("--picture", help=argparse.SUPPRESS)  # this process makes one
    options = parser.parse_args()
    if options.picture:
        make_picture(options.picture, options.model, options.tokens)
        return
    with tempfile.TemporaryDirectory() as place:
        model = options.model or random_model(Path(place) / "model")
        for name in PICTURES:
            command = [sys.executable, __file__, "--picture", name, "--model", model]
            command += ["--tokens", str(options.tokens)]
            rounds = [
                [float(figure) for figure in subprocess.check_output(command).split()]
                for _ in range(options.rounds)
            ]
            seconds, megabytes = map(statistics.median, zip(*rounds, strict=True))
            print(f"{name:24} {seconds:5.2f} s  {megabytes:5.0f} MB beyond the model", flush=True)
        measure_page(model, Path(place), options.moments)


def random_model(directory: Path) -> str:
    GPT2(GPT2Config(), tokenizer=Tokenizer.gpt2()).save_pretrained(directory)
    return str(directory)


def make_picture(name: str, path: str, tokens: int) -> None:
    """Make one picture, and print its seconds and the megabytes it took beyond the model."""
    from gpt2.visual import gallery  # noqa: F401 every module that draws

    model = GPT2.from_pretrained(path, dtype=torch.float32)
    ModelName.open = lambda *_: model  # type: ignore[method-assign]
    flags, tokenizer = PICTURES[name], model.require_tokenizer()
    if flags[-1] == "--text":
        count = min(tokens, model.config.n_positions)
        text = tokenizer.decode(tokenizer.encode("the cat sat, and so on; " * tokens)[:count])
        flags = [*flags, text]
    with tempfile.TemporaryDirectory() as place, redirect_stdout(io.StringIO()):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
        before, start = status("VmRSS"), time.perf_counter()
        assert gpt2(["plot", *flags, "--model", path, "--out", f"{place}/a.png"]) == 0
        seconds = time.perf_counter() - start
    print(seconds, status("VmHWM") - before)


def status(name: str) -> float:
    """Return a line of /proc/self/status, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(name))


def measure_page(path: str, place: Path, moments: int) -> None:
    """Write the page of a run, and print its size, its times and those of its frames."""
    model = GPT2.from_pretrained(path, dtype=torch.float32)
    run = place / "run"
    checkpoint = run / "checkpoints" / f"step_{moments:08d}"
    model.save_pretrained(checkpoint)
    tokenizer = model.require_tokenizer()
    ids = tokenizer.encode("the cat sat on the mat, and so on; " * 9)[:MOST_TOKENS]
    moment = observe(model, ids, step=0, tokens=0)
    for step in range(moments):
        write_moment(run, replace(moment, step=step, tokens=step))
    page = run / "gallery.html"
    start = time.perf_counter()
    assert gpt2(["gallery", "--model", str(run), "--out", str(page)]) == 0
    print(f"the page: {page.stat().st_size / 1e6:.1f} MB, {time.perf_counter() - start:.1f} s")
    program = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1280, "height": 800})
        start = time.perf_counter()
        shown.goto(page.as_uri())
        shown.locator(".inside-part").first.wait_for()
        print(f"opens in {time.perf_counter() - start:.2f} s")
        for name, act in ACTIONS.items():
            print(f"{name:26} {frames(shown, act)}")
        browser.close()


def frames(page: Page, act: str) -> str:
    times = sorted(page.evaluate(FRAMES, [act, 180]))
    median, late = statistics.median(times), times[int(0.95 * len(times))]
    return f"{median:.1f} ms a frame, 95 % within {late:.1f}"


if __name__ == "__main__":
    main()
