"""Processes in which this package can't be imported: what a stranger has who only knows a model repository."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

# The package may be installed in the environment of the tests, so leaving it off the search path isn't enough.
_ABSENT = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "modeling_hfr_ame":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
task = json.load(open(sys.argv[1]))
report = {}
"""
_REPORT = """
print(json.dumps(report))
"""

# Loads each source in every way that a card shows. Frames come as lists of numbers.
LOAD = """
import numpy as np, torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForSequenceClassification
from transformers import AutoProcessor, pipeline

def items():
    return [{k: v if k == "text" else np.asarray(v, np.float32) for k, v in item.items()} for item in task["items"]]

columns = {name: [item.get(name) for item in items()] for name in ("text", "audio", "vision")}
for name, (source, options) in task["sources"].items():
    options["trust_remote_code"] = True
    found = report[name] = {"logits": {}, "keys": {}, "classes": []}
    processor = AutoProcessor.from_pretrained(source, **options)
    batch = processor(**columns)
    for auto in (AutoModel, AutoModelForSequenceClassification):
        model, info = auto.from_pretrained(source, output_loading_info=True, **options)
        with torch.no_grad():
            found["logits"][auto.__name__] = model(**batch).logits.numpy().tobytes().hex()
        found["keys"][auto.__name__] = sum(map(list, info.values()), [])
    config = AutoConfig.from_pretrained(source, **options)
    extractor = AutoFeatureExtractor.from_pretrained(source, **options)
    pipe = pipeline(task["task"], model=source, device="cpu", **options)
    found["results"] = pipe(items())
    found["modules"] = [type(x).__module__ for x in (model, processor, config, extractor, pipe)]
    found["classes"] = [type(x).__name__ for x in (model, processor, config, extractor, pipe)]
    if "again" in task:
        pipe.save_pretrained(task["again"])
        found["again"] = pipeline(model=task["again"], device="cpu", trust_remote_code=True)(items())
"""

# As the toolkit of Inference Endpoints does it: the folder first on the search path, the file as a module `handler`.
HANDLE = """
import importlib.util, os
folder = task["folder"]
spec = importlib.util.spec_from_file_location("handler", os.path.join(folder, "handler.py"))
sys.path.insert(0, folder)
handler = importlib.util.module_from_spec(spec)
sys.modules["handler"] = handler
spec.loader.exec_module(handler)
endpoint = handler.EndpointHandler(folder)
for name, limits, body in task["requests"]:
    kept = {limit: getattr(handler, limit) for limit in limits}
    vars(handler).update(limits)
    report[name] = json.loads(json.dumps(endpoint(json.loads(json.dumps(body))), allow_nan=False))
    vars(handler).update(kept)
"""


def run_in_clean_room(code: str, home: Path, task: dict[str, Any], **environment: str) -> tuple[dict[str, Any], str]:
    """Runs code without the package, with closed input, in a folder and with caches of its own.

    Args:
        code: Reads `task`, fills `report`.
        home: Folder for all that; caches stay there for the next call.
        task: JSON.
        **environment: Added to an environment that is empty but for the search path. Offline unless it says otherwise.

    Returns:
        `report`, and what was written to stderr.
    """
    elsewhere = home / "elsewhere"
    elsewhere.mkdir(parents=True, exist_ok=True)
    task_file = home / "task.json"
    task_file.write_text(json.dumps(task), encoding="utf-8")
    surroundings = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(home),
        "HF_HOME": str(home / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    # -I ignores the folder that the program starts in, and every variable that names another place for modules.
    done = subprocess.run(
        [sys.executable, "-I", "-c", _ABSENT + code + _REPORT, str(task_file)],
        cwd=elsewhere,
        env=surroundings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report, done.stderr


def as_lists(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Makes items JSON; float32 survives the way through decimal digits."""
    return [
        {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in item.items()}
        for item in items
    ]


def logits_of(model: torch.nn.Module, processor: Any, items: list[dict[str, Any]]) -> str:
    """The scores of one batch, bit by bit."""
    columns = {name: [item.get(name) for item in items] for name in ("text", "audio", "vision")}
    with torch.no_grad():
        return model(**processor(**columns)).logits.numpy().tobytes().hex()
