"""What a run leaves on disk: its record, its arguments while it runs, its checkpoints.

`run.json` is written last and in one step, so a folder with it is finished. `arguments.json` lies there while the run
is unfinished, so that only a run with the same arguments takes its checkpoints up.
"""

import json
import os
import platform
import shutil
from dataclasses import MISSING, asdict, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.training.arguments import DataArguments, ModelArguments, SentimentTrainingArguments
from modeling_hfr_ame.training.callbacks import finite_or_none

RUN_FILE = "run.json"
ARGUMENTS_FILE = "arguments.json"
LOG_FILE = "trainer_log.jsonl"
_STATE_FILE = "trainer_state.json"

_PACKAGES = ("hfr-ame", "torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy", "safetensors", "peft")

# They change how a run is launched or watched, not what it computes; a restart may differ in them.
_LAUNCH_ARGUMENTS = frozenset(
    {
        "dataloader_num_workers",
        "dataloader_persistent_workers",
        "dataloader_pin_memory",
        "dataloader_prefetch_factor",
        "disable_tqdm",
        "eval_accumulation_steps",
        "expect_world_size",
        "gradient_accumulation_steps",
        "keep_checkpoints",
        "label_names",
        "log_level",
        "log_level_replica",
        "logging_dir",
        "logging_first_step",
        "logging_steps",
        "logging_strategy",
        "overwrite",
        "per_device_eval_batch_size",
        "per_device_train_batch_size",
        "report_to",
        "resume_from_checkpoint",
        "run_name",
        "save_total_limit",
        "seeds",
        "use_cpu",
    }
)


# Derived by the library, secret, or a folder of this machine.
_UNRECORDED_ARGUMENTS = frozenset({"accelerator_config", "do_eval", "hub_token", "output_dir"})


def recorded_arguments(
    model_args: ModelArguments, data_args: DataArguments, training_args: SentimentTrainingArguments
) -> dict[str, dict[str, Any]]:
    """Lists the arguments of a run as plain JSON values.

    Args:
        model_args: Model arguments.
        data_args: Data arguments.
        training_args: Training arguments; of those that `transformers` declares, only what this package or the user
            changed is listed.

    Returns:
        The groups `model`, `data` and `training`, and `launch` for what doesn't change the result.
    """
    library_defaults = {f.name: f.default for f in fields(TrainingArguments)}
    own = set(SentimentTrainingArguments.__annotations__)
    training: dict[str, Any] = {}
    launch: dict[str, Any] = {}
    for name, value in training_args.to_dict().items():
        default = library_defaults.get(name)
        changed = value != default and bool(value) | (default not in (None, MISSING))
        if name not in _UNRECORDED_ARGUMENTS and (name in own or changed):
            (launch if name in _LAUNCH_ARGUMENTS else training)[name] = value
    groups = {"model": asdict(model_args), "data": asdict(data_args), "training": training, "launch": launch}
    plain: dict[str, dict[str, Any]] = json.loads(json.dumps(finite_or_none(groups), default=str))
    return plain


def require_same_arguments(folder: Path, stored: dict[str, Any], current: dict[str, Any]) -> None:
    """Refuses to go on with a run under other arguments than it began with.

    Args:
        folder: The run folder.
        stored: What its record says.
        current: What is asked for now.

    Raises:
        ConfigError: If a model, data, training or adapter argument differs.
    """
    differing = [
        f"{name} {stored.get(group, {}).get(name)!r} -> {current.get(group, {}).get(name)!r}"
        for group in ("model", "data", "training", "adapter")
        for name in sorted({*stored.get(group, {}), *current.get(group, {})})
        if stored.get(group, {}).get(name) != current.get(group, {}).get(name)
    ]
    if differing:
        raise ConfigError(
            f"a run folder belongs to one set of arguments, but {folder} was begun with others "
            f"({'; '.join(differing)}); "
            "choose another --output_dir, or --overwrite to throw the old run away"
        )


def read_json(path: Path) -> dict[str, Any] | None:
    """Reads a JSON object.

    Args:
        path: The file.

    Returns:
        The object; None if the file is missing or was cut off.
    """
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON object in one step: the file is there with all its content or not at all.

    Args:
        path: The file.
        content: Plain values; NaN and infinities become null.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(finite_or_none(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def last_checkpoint(folder: Path) -> Path | None:
    """Finds the newest complete checkpoint.

    Args:
        folder: The run folder.

    Returns:
        Its folder; None if there is none. A checkpoint counts once its `trainer_state.json`, which is written last, can
        be read.
    """
    found = {
        int(path.name.rpartition("-")[2]): path
        for path in folder.glob("checkpoint-*")
        if path.name.rpartition("-")[2].isdigit() and read_json(path / _STATE_FILE) is not None
    }
    return found[max(found)] if found else None


def remove_checkpoints(folder: Path) -> None:
    """Deletes all checkpoints of a run.

    Args:
        folder: The run folder.
    """
    for path in folder.glob("checkpoint-*"):
        shutil.rmtree(path)


def package_versions() -> dict[str, str]:
    """Gives the versions of Python and of the packages that decide numbers; `unknown` for one that isn't installed."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions
