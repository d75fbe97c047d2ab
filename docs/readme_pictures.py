"""Make the README's pictures from the demo's model, the page itself among them.

python docs/readme_pictures.py

It runs in the root of the repository, where `gpt2 demo` has made runs/demo. The screenshot needs
Chromium and the Python package playwright.
"""

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from gpt2.cli.main import main as gpt2

FIGURES = Path(__file__).parent / "figures"
TEXT = "The return value is a list of the names of the"
PLOTS = {
    "readme-loss": ["loss", "runs/demo"],
    "readme-positions": ["positions", "--model", "runs/demo", "--channels", "34,64,80,106"],
    "readme-attention": ["attention", "--model", "runs/demo", "--text", TEXT],
}
PAGE = Path("runs/readme-page.html")
SCREEN = {"width": 1200, "height": 760}  # pixels
COLORS = 128


def main() -> None:
    for name, flags in PLOTS.items():
        path = FIGURES / f"{name}.png"
        run(["plot", *flags, "--out", str(path), "--force"])
        save(Image.open(path), path)
    run(["gallery", "--model", "runs/demo", "--text", TEXT, "--out", str(PAGE), "--force"])
    browser_program = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_program, args=["--no-sandbox"])
        save(Image.open(io.BytesIO(screenshot(browser))), FIGURES / "readme-page.png")
        browser.close()


def save(image: Image.Image, path: Path) -> None:
    """Save an image with few colors, which look the same and take a third of the bytes."""
    image.convert("RGB").quantize(COLORS).save(path, optimize=True)


def run(args: list[str]) -> None:
    if code := gpt2(args):
        raise SystemExit(code)


def screenshot(browser: Browser) -> bytes:
    """Return the page where it shows the heads of a text, as a PNG."""
    page = browser.new_page(viewport=SCREEN)
    page.goto(PAGE.resolve().as_uri())
    part = page.locator(".inside-part", has_text="Each small map is a head")
    part.locator(".token").nth(6).hover()
    page.wait_for_timeout(500)
    part.evaluate("part => window.scrollTo(0, part.getBoundingClientRect().top + scrollY - 80)")
    page.wait_for_timeout(500)
    return page.screenshot()


if __name__ == "__main__":
    main()
