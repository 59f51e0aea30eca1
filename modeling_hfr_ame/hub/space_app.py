"""The Space: the page of this package, with the model that `space.json` names, or the one in the folder `model`.

`write_space` copies this file into a Space as `app.py`, beside the package itself.
"""

import json
import os
from pathlib import Path

from modeling_hfr_ame.prediction import Predictor
from modeling_hfr_ame.widget import LOOPBACK, WidgetSettings, serve_widget

SPACE = Path(__file__).resolve().parent
MODEL_FOLDER = "model"


def main() -> None:
    """Loads the model and serves the page where the host asks for it."""
    source = json.loads((SPACE / "space.json").read_text(encoding="utf-8"))
    predictor = Predictor.from_pretrained(source["model"] or SPACE / MODEL_FOLDER, revision=source["revision"])
    port = os.environ.get("GRADIO_SERVER_PORT")
    # A Space's host sets the address; anywhere else the page stays on the machine.
    host = os.environ.get("GRADIO_SERVER_NAME", LOOPBACK)
    serve_widget(predictor, WidgetSettings(host=host, port=int(port) if port else None))


if __name__ == "__main__":
    main()
