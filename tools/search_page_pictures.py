# python tools/search_page_pictures.py            (two minutes on one core; needs Chromium)
"""Make the pictures of docs/search-page.md: simulate a log, train two models, serve them, open a browser."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from interactrank.runs.config import load_config
from interactrank.runs.export import export_trained
from interactrank.runs.workflow import run_models
from interactrank.server.app import make_app
from interactrank.server.settings import ServedModel, ServerSettings

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "interactrank" / "configs" / "demo.yaml"
SMALL = [
    *("simulate.requests=6000", "simulate.users=300", "simulate.items=800", "training.epochs=3"),
    *("training.validate_every=null", "training.tensorboard=false", "ranks=1", "evaluation.resamples=100"),
    "models=[interactrank,two_tower]",
]
SIZE = {"width": 1280, "height": 860}


def exports(folder: Path) -> dict[str, Path]:
    """Train both models on a simulated log and export them, unless the folder has them."""
    made = {name: folder / name for name in ("interactrank", "two_tower")}
    if not all((export / "current.json").exists() for export in made.values()):
        run_models(load_config(DEMO, SMALL), None, folder / "run")
        for name, export in made.items():
            export_trained(folder / "run" / name, export, browse="")
    return made


@contextmanager
def serving(made: dict[str, Path], events: Path) -> Iterator[str]:
    """Serve both on a free port, with a log of events; gives the address."""
    models = {
        "main": ServedModel(export=made["interactrank"]),
        "two_tower": ServedModel(export=made["two_tower"], share=0),
    }
    app = make_app(ServerSettings(models=models, events=str(events)))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


def search(page: Page, address: str) -> None:
    """Search for a frequent query of a user with a long sequence."""
    page.goto(address)
    page.wait_for_selector("#welcome button")
    names = page.locator("#welcome .chips")
    names.nth(1).locator("button").nth(1).click()
    names.nth(0).locator("button").nth(0).click()
    page.wait_for_selector(".column.model .result")


def keep(page: Page, path: Path) -> None:
    """Write a picture of the window with few colours, so that it is small."""
    page.screenshot(path=path)
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


def light(page: Page, address: str) -> None:
    """Open the numbers behind the first result."""
    search(page, address)
    page.locator(".column.model .open").first.click()


def dark(page: Page, address: str) -> None:
    """Click results until something has moved; the clicks are recorded."""
    search(page, address)
    for place in (5, 6, 7, 8, 9):
        before = page.locator("#status").inner_text()
        page.locator(".column.model .title").nth(place).click()
        page.wait_for_function("before => document.getElementById('status').innerText !== before", arg=before)
        if page.locator(".column.model .moved-mark").count():
            break
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(3000)  # the colour of what has moved fades


def main() -> None:
    """Make both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    parser.add_argument("--work", type=Path, help="keep runs and exports here, and use those that are there")
    options = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with (
        tempfile.TemporaryDirectory() as temporary,
        serving(exports(options.work or Path(temporary)), Path(temporary) / "events") as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for scheme, show, name in (("light", light, "search-page"), ("dark", dark, "search-page-dark")):
            page = browser.new_page(viewport=SIZE, color_scheme=scheme)
            show(page, address)
            page.mouse.move(0, 0)
            page.evaluate("scrollTo(0, 0)")
            keep(page, options.output / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
