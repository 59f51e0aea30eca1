"""Headless Chromium with a log of everything that its network stack did, its own background requests included."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# What the browser would ask its maker for by itself, whatever page it shows, is switched off here and in the profile;
# the log would not tell it from what the page wants. Playwright switches off more.
_NOWHERE = "http://127.0.0.1:9/"
_FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    f"--gaia-url={_NOWHERE}",
    f"--gcm-checkin-url={_NOWHERE}",
    f"--gcm-registration-url={_NOWHERE}",
)
_PREFERENCES = {
    "autofill": {"enabled": False, "profile_enabled": False, "credit_card_enabled": False},
    "browser": {"enable_spellchecking": False},
    "credentials_enable_service": False,
    "signin": {"allowed": False, "allowed_on_next_startup": False},
    "spellcheck": {"dictionaries": [], "use_spelling_service": False},
}
_LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1"}


@contextmanager
def open_chromium(folder: Path, viewport: dict[str, int], color_scheme: str) -> Iterator[Any]:
    """Opens a page in a Chromium with a fresh profile; skips the test where it or Playwright is missing.

    After the block, every request of the browser must have stayed on this machine.

    Args:
        folder: A new folder for the profile and the log.
        viewport: `width` and `height` in pixels.
        color_scheme: `light` or `dark`.

    Yields:
        Playwright's page.
    """
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed; run `make browser`, or install hfr-ame[browser]"
    )
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"Chromium is not installed (looked for {', '.join(_NAMES)}); run `make browser`")
    profile, net_log = folder / "profile", folder / "net-log.json"
    (profile / "Default").mkdir(parents=True)
    (profile / "Default" / "Preferences").write_text(json.dumps(_PREFERENCES), encoding="utf-8")
    flags = [*_FLAGS, f"--log-net-log={net_log}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium refuses to sandbox for root
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            str(profile),
            executable_path=path,
            headless=True,
            args=flags,
            viewport=viewport,
            color_scheme=color_scheme,
        )
        try:
            yield context.pages[0]
        finally:
            context.close()
    requested = read_requests(net_log)
    assert requested, "the network log holds no request at all"
    assert [each for each in requested if urlsplit(each).hostname not in _LOCAL_HOSTS] == []


def read_requests(net_log: Path) -> list[str]:
    """Lists the addresses in Chromium's network log."""
    text = net_log.read_text(encoding="utf-8")
    try:
        log = json.loads(text)
    except json.JSONDecodeError:  # a browser that is ended leaves the list open
        log = json.loads(text.rstrip().rstrip(",") + "]}")
    parameters = (event.get("params") for event in log["events"])
    urls = (str(each.get("url", "")) for each in parameters if isinstance(each, dict))
    return sorted({url for url in urls if re.match(r"(?:https?|wss?):", url)})
