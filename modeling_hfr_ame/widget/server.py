"""Starts the page so that it stays private: this machine alone, nothing fetched from elsewhere, nothing left behind.

Design choices:

- The page listens on the loopback interface unless a host is named. There is no tunnel: Gradio's `share` is never used.
- A content policy tells the browser to load from this server alone, so that no component can reach for a font, a script
  or a tracker elsewhere, whatever Gradio's version does.
- Every temporary file lies in one folder, which goes with the server.
"""

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.media import MediaLimits
from modeling_hfr_ame.prediction import Predictor
from modeling_hfr_ame.widget.clip_scorer import ClipScorer

LOOPBACK = "127.0.0.1"
_MEBIBYTE = 2**20
_CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)


@dataclass(frozen=True)
class WidgetSettings:
    """How the page is served.

    Attributes:
        host: Address to listen on. Another than the loopback address opens the page to others: there is no password.
        port: Port; None = the first free one from 7860 on.
        max_upload_mb: Largest upload in MiB.
        max_duration_s: Longest recording in seconds.
        with_examples: Whether example clips are drawn when the page starts, which takes some seconds.
    """

    host: str = LOOPBACK
    port: int | None = None
    max_upload_mb: int = 64
    max_duration_s: float = 120.0
    with_examples: bool = True

    def __post_init__(self) -> None:
        for name in ("max_upload_mb", "max_duration_s"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive, found {getattr(self, name)}; pass a larger number")

    def limit(self, limits: MediaLimits) -> MediaLimits:
        """Tightens the limits of decoding."""
        return replace(
            limits,
            max_file_bytes=min(limits.max_file_bytes, self.max_upload_mb * _MEBIBYTE),
            max_duration_s=min(limits.max_duration_s, self.max_duration_s),
        )


@contextmanager
def open_widget(predictor: Predictor, settings: WidgetSettings | None = None) -> Iterator[str]:
    """Serves the page while the block runs.

    Args:
        predictor: What scores; its limits are tightened to those of the settings.
        settings: How; None = the defaults.

    Yields:
        The page's address.

    Raises:
        ConfigError: Gradio is not installed, or the port is taken.
    """
    settings = settings or WidgetSettings()
    # Gradio reads these when it is imported, or when it makes a component; neither has a parameter for it.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    with tempfile.TemporaryDirectory(prefix="hfr-ame-widget-") as folder:
        uploads = Path(folder) / "uploads"
        uploads.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(uploads)
        try:
            page = _build(predictor, settings, Path(folder))
            try:
                yield _launch(page, settings)
            finally:
                page.close(verbose=False)
        finally:
            os.environ.pop("GRADIO_TEMP_DIR", None)


def serve_widget(predictor: Predictor, settings: WidgetSettings | None = None) -> None:
    """Serves the page until the process is told to stop (SIGINT or SIGTERM); see `open_widget`."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # by default the second one would leave the uploads behind
        signal.signal(number, lambda *_: stop.set())
    with open_widget(predictor, settings) as address:
        print(f"Open {address} in a browser; stop with Ctrl+C.", flush=True)  # noqa: T201  for the terminal
        stop.wait()


def _build(predictor: Predictor, settings: WidgetSettings, folder: Path) -> Any:
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ConfigError("the page needs Gradio, which is not installed; install hfr-ame[av,demo]") from error
    from modeling_hfr_ame.widget.example_clips import draw_example_clips
    from modeling_hfr_ame.widget.page import build_page

    predictor.limits = settings.limit(predictor.limits)
    drawn = folder / "examples"
    drawn.mkdir()
    examples = draw_example_clips(drawn) if settings.with_examples else []
    return build_page(ClipScorer(predictor), examples)


def _launch(page: Any, settings: WidgetSettings) -> str:
    from starlette.middleware import Middleware

    from modeling_hfr_ame.widget.appearance import STYLE, page_theme

    try:
        _, address, _ = page.launch(
            server_name=settings.host,
            server_port=settings.port,
            share=False,
            inbrowser=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=True,
            max_file_size=settings.max_upload_mb * _MEBIBYTE,
            footer_links=["api"],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            theme=page_theme(),
            css=STYLE,
            app_kwargs={"middleware": [Middleware(_ContentPolicy)]},
        )
    except OSError as error:
        raise ConfigError(f"the page needs a free port, {settings.port} is taken ({error}); pass another") from error
    return str(address)


class _ContentPolicy:
    """Adds the content policy to every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [
                    (b"content-security-policy", _CONTENT_POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                    (b"x-content-type-options", b"nosniff"),
                ]
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        await self.app(scope, receive, send_with_policy)
