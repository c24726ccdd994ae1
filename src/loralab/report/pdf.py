"""The page on paper, printed by a browser that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from loralab.errors import UserError
from loralab.writing import whole_file

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
    # Where macOS and Windows keep them, none of which a PATH holds.
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
PATIENCE = 120  # seconds


def write_pdf(page: Path) -> Path:
    """Print the report `page` to a file beside it, and return that. Raises UserError where no browser can do it."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise UserError(f"--pdf: no browser was found; install Chromium, Chrome or Edge, or print {page} yourself")
    with whole_file(page.with_suffix(".pdf")) as draft, TemporaryDirectory() as profile:
        command = [
            *(
                browser,
                "--headless=new",
                "--disable-gpu",
                "--no-pdf-header-footer",
                "--window-size=1000,1400",
                f"--user-data-dir={profile}",
            ),
            *(["--no-sandbox"] if _is_root() else []),  # which Chromium refuses to run in its sandbox
            "--virtual-time-budget=10000",  # milliseconds for the page to draw its charts
            f"--print-to-pdf={draft.resolve()}",
            page.resolve().as_uri(),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            raise UserError(f"--pdf: {browser} did not print within {PATIENCE} s") from None
        if not draft.is_file():
            raise UserError(f"--pdf: {browser} printed nothing: {done.stderr.strip()[-500:]}")
    return page.with_suffix(".pdf")


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
