"""A finished run → a complete model repository that runs without this package.

Design choices:

- What is written is what was loaded and checked, not a copy of the run folder: nothing that lies there by accident
  travels.
- The code files are found by the library's own scanner, since the same scanner decides what a stranger's machine loads.
- The folder is built beside its place and moved there last, after its weights were read back and compared bit by bit.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from modeling_hfr_ame.data.stored import writing_beside
from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.evaluation.run_folders import RUN_RECORD, SavedRun, find_runs, load_run
from modeling_hfr_ame.hub import endpoint_handler
from modeling_hfr_ame.hub.example_inputs import example_item, write_example_inputs
from modeling_hfr_ame.hub.record_publishing import find_paths, publishable_record, without_paths
from modeling_hfr_ame.pipeline_sentiment import TASK, MultimodalSentimentPipeline

REQUIREMENTS = (
    "torch>=2.6,<3",
    "transformers>=5.20,<6",
    "huggingface-hub>=1.31,<3",
    "numpy>=2,<3",
    "safetensors>=0.6,<1",
)
# Only a model that computes its features from recordings has a use for them.
MEDIA_REQUIREMENTS = ("av>=14,<19", "opencv-python-headless>=4.10,<5")
# How the run was loaded here, which the tokenizer remembers; it says nothing about the published one.
_LOADING_KEYS = ("is_local", "local_files_only")


def export_run(run_folder: str | Path, out: str | Path, *, card: str | None = None, overwrite: bool = False) -> Path:
    """Writes a model repository for one finished run.

    The folder holds config, weights (safetensors), processor and tokenizer, the code files that they need, `handler.py`
    and `requirements.txt` for Inference Endpoints, `example_inputs/`, and `run.json` without the machine's folders.

    Args:
        run_folder: A run folder, or a parent that holds exactly one `seed-*` run.
        out: Folder to make. It appears complete or not at all.
        card: Text of `README.md`. None: no card is written.
        overwrite: Whether an earlier export at `out` may be replaced; nothing else ever is.

    Returns:
        `out`.

    Raises:
        DataError: The run is unfinished or one of several, files are missing or damaged, weights aren't finite or don't
            fit the configuration, or `out` is taken.
    """
    run = _only_run(run_folder)
    target = Path(out)
    _check_target(target, overwrite)
    model, processor = load_run(run)
    with writing_beside(target) as folder:
        pipe = MultimodalSentimentPipeline(model=model, processor=processor, task=TASK, device=torch.device("cpu"))
        pipe.save_pretrained(folder)
        clean_configuration(folder)
        _write_endpoint(folder, processor)
        item = example_item(model.config, processor)
        write_example_inputs(folder / "example_inputs", item, pipe(item))
        _write_json(folder / RUN_RECORD, publishable_record(run.record))
        if card is not None:
            (folder / "README.md").write_text(card, encoding="utf-8")
        _check_export(folder, model)
    return target


def _only_run(folder: str | Path) -> SavedRun:
    runs = find_runs(folder)
    if len(runs) > 1:
        raise DataError(
            f"a repository holds one model, found runs with the seeds {', '.join(str(run.seed) for run in runs)}; "
            "pass the folder of one of them"
        )
    return runs[0]


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / "config.json").is_file() or not (target / "handler.py").is_file():
        raise DataError(
            f"only an exported repository is replaced, found something else at {target.name}; choose another folder"
        )
    if not overwrite:
        raise DataError(f"the folder must be new, found an exported repository at {target.name}; allow overwriting it")


def clean_configuration(folder: Path) -> None:
    """Takes the machine's folders out of the saved configurations of a model and its processor."""
    for name in ("config.json", "processor_config.json", "tokenizer_config.json"):
        path = folder / name
        # A nested configuration keeps the folder that it was loaded from as its name.
        content = without_paths(json.loads(path.read_text(encoding="utf-8")))
        for key in _LOADING_KEYS:
            content.pop(key, None)
        _write_json(path, content)


def _write_endpoint(folder: Path, processor: Any) -> None:
    shutil.copyfile(endpoint_handler.__file__, folder / "handler.py")
    extractors = (processor.feature_extractor, processor.vision_feature_extractor)
    takes_recordings = any(extractor.accepts_raw_signal for extractor in extractors)
    lines = (*REQUIREMENTS, *(MEDIA_REQUIREMENTS if takes_recordings else ()))
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _check_export(folder: Path, model: Any) -> None:
    for name, found in find_paths(folder):
        raise DataError(f"a published file must not name a folder of this machine, {name} holds {found}; report this")
    written = type(model).from_pretrained(folder).state_dict()
    differing = [name for name, value in model.state_dict().items() if not torch.equal(value, written[name])]
    if differing:
        raise DataError(
            f"exported weights must equal the run's, {differing[0]} differs; check the disk and export again"
        )
