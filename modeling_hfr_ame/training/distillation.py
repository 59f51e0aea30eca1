"""A student that learns from a finished teacher, and both trained one after the other."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from modeling_hfr_ame.data.manifest import sha256_file
from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.evaluation.run_folders import SavedRun, find_runs, load_run
from modeling_hfr_ame.training.arguments import DataArguments, parse_arguments
from modeling_hfr_ame.training.frozen_states import encoder_fingerprint
from modeling_hfr_ame.training.prompts import PromptTexts
from modeling_hfr_ame.training.recipes import training_defaults

_PROMPT_PREFIX = "prompt_"


class TeacherGuidance:
    """Adds to each training batch what a teacher makes of its rows, and takes the hints out of it.

    The teacher is in eval mode, gets no gradient, and is no part of the student, so it is saved nowhere with it.

    Args:
        model: The teacher.
        tokenizer: Its tokenizer.
        run: Its run.
        distill_map: The student's `MmslfConfig.distill_map`.
    """

    def __init__(self, model: Any, tokenizer: Any, run: SavedRun, distill_map: str) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.run = run
        self.distill_map = distill_map

    @property
    def record(self) -> dict[str, Any]:
        """What the student's `run.json` says about the teacher."""
        weights = sha256_file(self.run.folder / "model.safetensors")
        return {"seed": self.run.seed, "weights_sha256": weights, "prompts": self.run.record["prompts"]}

    @property
    def prompt_encoder(self) -> Any:
        """The encoder of its hints, frozen now in any case."""
        own = self.model.prompts.text_model
        return self.model.text_model if own is None else own

    def with_recorded_prompts(self, data_args: DataArguments) -> DataArguments:
        """Fills in the prompt store that the teacher was trained with, where the student's arguments name none."""
        recorded = self.run.record["arguments"]["data"]
        data_args = replace(data_args, max_prompt_length=recorded["max_prompt_length"])
        if data_args.prompts:
            return data_args
        store = {name: recorded[name] for name in ("prompt_store", "min_prompt_coverage")}
        return replace(data_args, prompts=self.run.record["prompts"]["folder"], **store)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Gives the student's batch.

        Args:
            batch: The batch contract with the hints that the teacher reads.
        """
        given = {name: value for name, value in batch.items() if isinstance(value, torch.Tensor)}
        device = next(iter(given.values())).device
        if self.model.device != device:
            self.model.to(device)
        guided = {name: value for name, value in batch.items() if not name.startswith(_PROMPT_PREFIX)}
        return guided | {"teacher": self.model.teach(self.distill_map, **given)}


def load_teacher(folder: str, seed: int, manifest_sha256: str, distill_map: str) -> TeacherGuidance:
    """Loads a finished teacher.

    Args:
        folder: Its run folder, or the parent of `seed-*` runs, of which that with the student's seed is taken.
        seed: The student's seed.
        manifest_sha256: Of the student's dataset.
        distill_map: The student's `MmslfConfig.distill_map`.

    Raises:
        DataError: There is no finished run.
        ConfigError: The run is no teacher, none has the student's seed, or it saw another dataset.
    """
    runs = find_runs(folder)
    fitting = runs if len(runs) == 1 else [run for run in runs if run.seed == seed]
    if not fitting:
        raise ConfigError(
            f"a student learns from the teacher of its own seed, but {folder} has seeds "
            f"{', '.join(str(run.seed) for run in runs)} and not {seed}; train that teacher, or pass one run's folder"
        )
    run = fitting[0]
    model, processor = load_run(run)
    if not getattr(model.config, "is_teacher", False) or not isinstance(run.record.get("prompts"), dict):
        raise ConfigError(
            f"--teacher must be the run of a teacher that read prompts, but {run.folder} is the run of "
            f"{run.record.get('model')}, variant {run.record.get('variant')}; train one with --variant teacher"
        )
    if run.record.get("manifest_sha256") != manifest_sha256:
        raise ConfigError(
            f"teacher and student must see the same dataset, but {run.folder} was trained on another one; train the "
            "teacher on the student's"
        )
    return TeacherGuidance(model, processor.tokenizer, run, distill_map)


def require_fitting_teacher(
    guidance: TeacherGuidance, student: Any, tokenizer: Any, *, shares_text_states: bool
) -> None:
    """Refuses a teacher whose maps or tokens the student can't learn.

    Args:
        guidance: The teacher.
        student: The student.
        tokenizer: The student's tokenizer.
        shares_text_states: Whether both read the same cached states of one text encoder.

    Raises:
        ConfigError: They differ in a size, in the tokenizer, or in the text encoder whose states are cached.
    """
    own = student.config
    config = guidance.model.config
    names = ("hidden_size", "num_aligner_heads", "num_fusion_tokens", "max_text_length", "absent_source", "label_range")
    differing = [
        f"{name} {getattr(config, name)!r} and {getattr(own, name)!r}"
        for name in names
        if _plain(getattr(config, name)) != _plain(getattr(own, name))
    ]
    if tokenizer.get_vocab() != guidance.tokenizer.get_vocab():
        differing.append("their tokenizers")
    if shares_text_states and encoder_fingerprint(guidance.model.text_model) != encoder_fingerprint(student.text_model):
        differing.append("the weights of the text encoder whose states are cached")
    if differing:
        raise ConfigError(
            f"teacher and student must agree in what is distilled; they differ in {'; '.join(differing)}; train both "
            "with the same text encoder, lengths and these fields"
        )


def require_same_prompts(guidance: TeacherGuidance, texts: PromptTexts) -> None:
    """Refuses other hints than the teacher was trained with.

    Raises:
        ConfigError: The store's content differs.
    """
    known = guidance.run.record["prompts"]["content_sha256"]
    if texts.content_sha256 != known:
        raise ConfigError(
            f"a teacher must read the hints that it was trained with, whose content is {known[:12]}, but the store "
            f"{texts.record['name']} now holds {texts.content_sha256[:12]}; train the teacher again, or pass its store"
        )


def _plain(value: Any) -> Any:
    return [float(item) for item in value] if isinstance(value, list | tuple) else value


def train_teacher_and_student(argv: Sequence[str] | None = None) -> dict[str, list[Any]]:
    """Trains a teacher for each seed, then a student from each teacher.

    Args:
        argv: As for `training.main`, without `--model`, `--variant` and `--teacher`; two YAML files at the start are
            the teacher's and the student's, one is both's. None: `sys.argv[1:]`. The runs lie in `teacher` and
            `student` of `--output_dir`.

    Returns:
        Role → one summary per seed.

    Raises:
        ConfigError: An argument is set that is set here, or doesn't fit.
    """
    from modeling_hfr_ame.training.run import run_all_seeds

    words = list(sys.argv[1:] if argv is None else argv)
    files = [words.pop(0) for _ in range(2) if words and words[0].endswith((".yaml", ".yml"))]
    taken = [word for word in words if word.partition("=")[0] in ("--model", "--variant", "--teacher")]
    if taken:
        raise ConfigError(
            f"model, variant and teacher are set for both runs, but found {', '.join(taken)}; leave them out, or train "
            "the two runs one by one with examples/train.py"
        )
    summaries = {}
    teacher_folder = None
    for role, file in (("teacher", files[:1]), ("student", files[-1:])):
        model_args, data_args, training_args = parse_arguments(
            [*file, *words, "--model", "mmslf", "--variant", role], recipe_defaults=training_defaults()
        )
        folder = Path(training_args.output_dir) / role
        training_args.output_dir = str(folder)
        if role == "teacher":
            teacher_folder = folder
        else:
            model_args = replace(model_args, teacher=str(teacher_folder))
            data_args = replace(data_args, prompts=None)
        summaries[role] = run_all_seeds((model_args, data_args, training_args))
    return summaries
