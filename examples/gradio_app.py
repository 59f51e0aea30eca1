"""Serves the web page for a trained model: upload or record a clip, damage it with a slider, watch the score.

    python examples/gradio_app.py --model runs/mosi/seed-1111
    python examples/gradio_app.py --model owner/name --port 7861

It needs the extras `av` and `demo`. The page listens on this machine alone; `hfr-ame space` writes one to publish.
"""

from dataclasses import dataclass, field

from transformers import HfArgumentParser

from modeling_hfr_ame import HfrAmeError
from modeling_hfr_ame.prediction import Predictor
from modeling_hfr_ame.widget import LOOPBACK, WidgetSettings, serve_widget


@dataclass
class PageArguments:
    """Which model, and where."""

    model: str = field(metadata={"help": "Run folder, exported folder, or OWNER/NAME on the Hub."})
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of a repository."})
    device: str | None = field(default=None, metadata={"help": "Where the model runs; left out: the CPU."})
    host: str = field(default=LOOPBACK, metadata={"help": "Another address opens the page to others, unprotected."})
    port: int | None = field(default=None, metadata={"help": "Left out: the first free one from 7860 on."})
    max_upload_mb: int = field(default=64, metadata={"help": "Largest upload in MiB."})
    max_duration_s: float = field(default=120.0, metadata={"help": "Longest recording in seconds."})
    no_examples: bool = field(default=False, metadata={"help": "Start without drawing example clips."})


def main() -> None:
    """Reads the command line and serves the page."""
    (arguments,) = HfArgumentParser(PageArguments).parse_args_into_dataclasses()
    try:
        settings = WidgetSettings(
            host=arguments.host,
            port=arguments.port,
            max_upload_mb=arguments.max_upload_mb,
            max_duration_s=arguments.max_duration_s,
            with_examples=not arguments.no_examples,
        )
        predictor = Predictor.from_pretrained(arguments.model, device=arguments.device, revision=arguments.revision)
        serve_widget(predictor, settings)
    except HfrAmeError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
