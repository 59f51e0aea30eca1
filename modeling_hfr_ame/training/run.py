"""One training run per seed, from arguments to a finished run folder."""

import copy
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import EarlyStoppingCallback

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.training.arguments import (
    ArgumentTriple,
    DataArguments,
    ModelArguments,
    SentimentTrainingArguments,
    parse_arguments,
)
from modeling_hfr_ame.training.assembly import (
    RunParts,
    assemble_run,
    provide_dataset,
    provide_domains,
    with_variant_defaults,
)
from modeling_hfr_ame.training.calibration import OutputCalibration, fit_calibration, fold_into_head, output_layer
from modeling_hfr_ame.training.callbacks import JsonLinesLog
from modeling_hfr_ame.training.optimization import parameter_counts
from modeling_hfr_ame.training.recipes import training_defaults
from modeling_hfr_ame.training.run_record import (
    ARGUMENTS_FILE,
    LOG_FILE,
    RUN_FILE,
    last_checkpoint,
    package_versions,
    read_json,
    recorded_arguments,
    remove_checkpoints,
    require_same_arguments,
    write_json,
)
from modeling_hfr_ame.training.selection import selection_metrics, selection_rule
from modeling_hfr_ame.training.trainer import SentimentTrainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSummary:
    """What one run came to.

    Args:
        folder: The run folder.
        seed: Its seed.
        status: `trained`; `resumed` from a checkpoint of an interrupted run; or `skipped`, as it was already finished.
        record: Content of `run.json`.
    """

    folder: Path
    seed: int
    status: str
    record: dict[str, Any]


class Adaptation(Protocol):
    """What stands between a run's model and its training: adapters, for instance."""

    def describe(self) -> dict[str, Any]:
        """Gives the arguments that `run.json` records; a run is only resumed with the same ones."""
        ...

    def prepare(self, model: Any, folder: Path | None) -> Any:
        """Gives what is trained instead of `model`; `folder` is the run folder, None on all but the main process."""
        ...

    def finish(self, model: Any, folder: Path) -> Any:
        """Gives the plain model that is saved in the run folder; called on the main process."""
        ...


def run_training(
    model_args: ModelArguments,
    data_args: DataArguments,
    training_args: SentimentTrainingArguments,
    adaptation: Adaptation | None = None,
) -> RunSummary:
    """Trains one seed into `output_dir/seed-<seed>`.

    A finished run is left as it is; an interrupted one goes on from its last checkpoint. All processes of a launch call
    this together; only the main one writes.

    Args:
        model_args: Model arguments.
        data_args: Data arguments.
        training_args: Training arguments; `seed` says which seed, `seeds` is not read, `output_dir` is the
            parent folder.
        adaptation: Changes the model before training and back after it. None: the model is trained as it is.

    Returns:
        The summary, the same on every process.

    Raises:
        ConfigError: If an argument doesn't fit, or the folder was begun with other arguments.
        DataError: If the dataset can't be used.
    """
    state = training_args.distributed_state
    parent = Path(training_args.output_dir)
    folder = parent / f"seed-{training_args.seed}"
    training_args = copy.copy(training_args)
    training_args.output_dir = str(folder)
    model_args, data_args, training_args = with_variant_defaults(model_args, data_args, training_args)
    arguments = recorded_arguments(model_args, data_args, training_args)
    if adaptation is not None:
        arguments["adapter"] = adaptation.describe()
        if data_args.cache_text_states:
            raise ConfigError("cache_text_states needs a frozen text encoder, but an adapter changes it; leave it out")
        if training_args.calibrate_output:
            raise ConfigError("calibrate_output changes the saved head, which an adapter leaves alone; leave it out")

    finished = None if training_args.overwrite else read_json(folder / RUN_FILE)
    begun = None if training_args.overwrite else read_json(folder / ARGUMENTS_FILE)
    for stored in (finished and finished.get("arguments", {}), begun):
        if stored is not None:
            require_same_arguments(folder, stored, arguments)
    if finished is not None:
        logger.warning("%s is finished and left as it is; --overwrite trains it again", folder)
        return RunSummary(folder, training_args.seed, "skipped", finished)
    checkpoint = None if begun is None else last_checkpoint(folder)
    state.wait_for_everyone()  # every process has looked before the main one changes the folder
    if state.is_main_process:
        _begin_folder(folder, arguments, keep_files=checkpoint is not None)
    data_folder = provide_domains(data_args, parent, state) or provide_dataset(data_args.dataset, parent, state)
    parts = assemble_run(model_args, data_args, training_args, data_folder)
    if adaptation is not None:
        parts.model = adaptation.prepare(parts.model, folder if state.is_main_process else None)
    if training_args.calibrate_output:
        output_layer(parts.model)  # refused before hours of training rather than after
    trainer, wall_time_s = _train(parts, training_args, folder, checkpoint)
    calibration = _calibrate(trainer, parts) if training_args.calibrate_output else None
    if state.is_main_process:
        num_parameters = parameter_counts(trainer.model)
        if adaptation is not None:
            parts.model = adaptation.finish(trainer.model, folder)
            num_parameters = parameter_counts(parts.model) | {"trainable": num_parameters["trainable"]}
        if calibration is not None:
            parts.record["output_calibration"] = asdict(calibration)
        _finish_folder(folder, trainer, parts, arguments, num_parameters, wall_time_s, resumed=checkpoint is not None)
    state.wait_for_everyone()
    record = read_json(folder / RUN_FILE)
    assert record is not None
    return RunSummary(folder, training_args.seed, "trained" if checkpoint is None else "resumed", record)


def _begin_folder(folder: Path, arguments: dict[str, Any], *, keep_files: bool) -> None:
    if not keep_files and folder.exists():
        known = {RUN_FILE, ARGUMENTS_FILE, LOG_FILE}
        strangers = [p.name for p in folder.iterdir() if p.name not in known and not p.name.startswith("checkpoint-")]
        if strangers and not (folder / RUN_FILE).exists() and not (folder / ARGUMENTS_FILE).exists():
            raise ConfigError(
                f"a run folder must be new or a run's own, but {folder} holds {', '.join(sorted(strangers)[:3])}; "
                "choose another --output_dir"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / ARGUMENTS_FILE, arguments)


def _train(
    parts: RunParts, args: SentimentTrainingArguments, folder: Path, checkpoint: Path | None
) -> tuple[SentimentTrainer, float]:
    callbacks: list[Any] = [JsonLinesLog(folder / LOG_FILE), *parts.callbacks]
    if args.early_stopping_patience is not None and args.load_best_model_at_end:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=args.early_stopping_patience))
    trainer = SentimentTrainer(
        parts.model,
        args,
        parts.collator,
        parts.train,
        eval_dataset=parts.selection,
        processing_class=parts.processor,
        compute_metrics=selection_metrics(parts.scheme, args.selection_drop_rates or (0.0,)),
        callbacks=callbacks,
        guidance=parts.guidance,
    )
    start = time.perf_counter()
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return trainer, time.perf_counter() - start


def _calibrate(trainer: SentimentTrainer, parts: RunParts) -> OutputCalibration:
    """Calibrates the selected weights on the selecting set; every process gets the same predictions and numbers."""
    found = trainer.predict(parts.selection)
    calibration = fit_calibration(found.predictions, found.label_ids)
    fold_into_head(parts.model, calibration)
    return calibration


def _finish_folder(
    folder: Path,
    trainer: SentimentTrainer,
    parts: RunParts,
    arguments: dict[str, Any],
    num_parameters: dict[str, int],
    wall_time_s: float,
    *,
    resumed: bool,
) -> None:
    args = trainer.args
    model: Any = parts.model
    model.save_pretrained(folder)
    parts.processor.save_pretrained(folder)
    history = [entry for entry in trainer.state.log_history if f"eval_{args.metric_for_best_model}" in entry]
    rule = selection_rule(
        str(args.metric_for_best_model), args.selection_drop_rates or (0.0,), parts.record.get("domains")
    )
    selected_step = trainer.state.best_global_step if args.load_best_model_at_end else trainer.state.global_step
    selected = next((entry for entry in history if entry["step"] == selected_step), None)
    record = {
        "format": "hfr-ame-run/1",
        "seed": args.seed,
        "model": arguments["model"]["model"],
        "variant": arguments["model"]["variant"],
        "arguments": arguments,
        "dataset_folder": str(parts.dataset_folder.resolve()),
        "dataset_name": parts.dataset_name,
        "manifest_sha256": parts.manifest_sha256,
        **parts.record,
        "num_rows": parts.num_rows,
        "num_rows_left_out": parts.num_left_out,
        "num_parameters": num_parameters,
        "selection_rule": f"{rule}; scores scaled and shifted on it" if args.calibrate_output else rule,
        "selected_epoch": None if selected is None else selected["epoch"],
        "selected_validation": selected,
        "validation_history": history,
        "num_steps": trainer.state.global_step,
        "wall_time_s": round(wall_time_s, 3),
        "resumed": resumed,
        "world_size": args.world_size,
        "device": torch.cuda.get_device_name() if args.device.type == "cuda" else args.device.type,
        "mixed_precision": trainer.accelerator.mixed_precision,
        "versions": package_versions(),
    }
    if not args.keep_checkpoints:
        remove_checkpoints(folder)
    (folder / ARGUMENTS_FILE).unlink(missing_ok=True)
    write_json(folder / RUN_FILE, record)


def run_all_seeds(arguments: ArgumentTriple, adaptation: Adaptation | None = None) -> list[RunSummary]:
    """Trains one run per seed, one after another.

    Args:
        arguments: Model, data and training arguments; `training_args.seeds` says which seeds.
        adaptation: As for `run_training`.

    Returns:
        One summary per seed, in that order.

    Raises:
        ConfigError: If a seed is listed twice.
    """
    model_args, data_args, training_args = arguments
    if len(set(training_args.seeds)) != len(training_args.seeds):
        raise ConfigError(f"each seed makes one run, but seeds are {training_args.seeds}; list each seed once")
    summaries = []
    for seed in training_args.seeds:
        seed_args = copy.copy(training_args)
        seed_args.seed = seed
        summaries.append(run_training(model_args, data_args, seed_args, adaptation))
    return summaries


def main(argv: Sequence[str] | None = None, adaptation: Adaptation | None = None) -> list[RunSummary]:
    """Runs a training from the command line.

    Args:
        argv: Arguments without the program's name; None: `sys.argv[1:]`.
        adaptation: As for `run_training`.

    Returns:
        One summary per seed.
    """
    return run_all_seeds(parse_arguments(argv, recipe_defaults=training_defaults()), adaptation)
