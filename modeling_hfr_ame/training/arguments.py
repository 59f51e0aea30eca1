"""The arguments of a training run: three dataclasses, read from the command line, from one YAML file, or from both.

`train.py config.yaml --learning_rate 1e-3` takes the YAML's values and lets the command line win.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser, TrainingArguments

from modeling_hfr_ame.errors import ConfigError

DEFAULT_SEED = 1111


@dataclass
class ModelArguments:
    """Which model is trained.

    Args:
        model: Name of a recipe.
        variant: Of HFR-AME: `full`; `coarse`, without FM-UNets, or `control`, without any restoration, both with as
            many parameters; or `text_only`, a clean text fine-tune of the same encoder. Of LNLN, HME, CyIN and
            DashFusion: `repaired` or `reference`; of DashFusion also `companions`, which draws those of each row
            out of the training split. Of MMSLF: `student`, `teacher`, `student_alone` (without a teacher),
            `reference_student`, `reference_teacher`. Of MIDG: `full`, `erm` (without its parts), or `no_adapters`,
            `no_disentanglement`, `no_ood_view` and `no_experts`, which leave a part out. None: the first that is
            named.
        text_encoder: `small` (a small BERT from scratch, with a tokenizer trained on the training texts), `minilm` (the
            weights of an installed package), a Hub id, or a local folder.
        lowercase_text: Whether the tokenizer lower-cases. None: as it was made; that of `small` does.
        config_overrides: Fields of the model's configuration as `key=value`, the value in YAML. A key may reach into
            the text encoder's configuration: `text_config.hidden_dropout_prob=0`.
        teacher: For MMSLF's student: its teacher's run folder, or the parent of `seed-*` runs, of which that with the
            student's seed is taken.
    """

    model: str = field(default="hfr_ame", metadata={"help": "Name of a recipe."})
    variant: str | None = field(
        default=None,
        metadata={
            "help": "hfr_ame: full, coarse (equal size, no FM-UNets), control (equal size, no restoration), text_only. "
            "lnln, hme, cyin, dashfusion: repaired, reference; dashfusion also companions. mmslf: student, teacher, "
            "student_alone, reference_student, reference_teacher. midg: full, erm, no_adapters, "
            "no_disentanglement, no_ood_view, no_experts. Default: the first."
        },
    )
    text_encoder: str = field(
        default="small", metadata={"help": "small (trained from scratch), minilm, a Hub id, or a local folder."}
    )
    lowercase_text: bool | None = field(default=None, metadata={"help": "Lower-case texts; default: the tokenizer's."})
    config_overrides: list[str] = field(
        default_factory=list, metadata={"help": "Model configuration fields as key=value, the value in YAML."}
    )
    teacher: str | None = field(
        default=None, metadata={"help": "Run folder of an MMSLF student's teacher, or the parent of its seed-* runs."}
    )


@dataclass
class DataArguments:
    """What is trained on.

    Args:
        dataset: A stored dataset's folder, or `synthetic_talkers`, which is generated beside the runs.
        sources: Stored datasets to train on and select with, instead of `dataset`; `FOLDER` or
            `FOLDER:train=SPLIT,validation=SPLIT`.
        target: The unseen stored dataset whose test split evaluation uses.
        domain_setting: Name of a benchmark setting, such as `mosi_to_mosei`, instead of sources and target.
        domain_root: Folder that holds the datasets of a benchmark setting.
        feature_harmonisation: `strict`, one width and recipe for all; or `project`, a learned input projection per
            feature space.
        domain_selection: `source_valid`; or `oracle`, which selects on the target and is cheating.
        train_corruption: `mix`, `lnln` or `clean`. None: the variant's own.
        modalities: Letters of the modalities that reach the model (`tav`, `ta`, …). None: the variant's own.
        max_text_length: Longest text in tokens.
        max_audio_length: Longest audio in frames.
        max_vision_length: Longest vision in frames.
        prompts: Folder of prompt stores with hints about the rows, for MMSLF's teacher. None: none; a student then
            takes that of its teacher.
        prompt_store: Name of the store in that folder. None: the only one for the dataset.
        min_prompt_coverage: Share of the rows of each split that must have a hint; the others get an empty one.
        max_prompt_length: Longest hint in tokens.
        prompt_cache: Folder in which a frozen encoder's states of hints are kept. None: `prompt_states` beside the
            runs.
        cache_text_states: Whether the states of a frozen text encoder are computed once, which needs training and
            selection without corruption. Its dropout is then off in training.
        text_cache: Folder in which these states are kept for other runs, in half precision. None: each run computes
            them.
    """

    dataset: str = field(default="synthetic_talkers", metadata={"help": "A stored dataset, or synthetic_talkers."})
    sources: list[str] = field(default_factory=list, metadata={"help": "Stored datasets to train on, as sources."})
    target: str | None = field(default=None, metadata={"help": "Stored dataset that is never seen in training."})
    domain_setting: str | None = field(default=None, metadata={"help": "Benchmark setting, such as mosi_to_mosei."})
    domain_root: str = field(default="prepared", metadata={"help": "Folder of the benchmark setting's datasets."})
    feature_harmonisation: str = field(default="strict", metadata={"help": "strict or project."})
    domain_selection: str = field(default="source_valid", metadata={"help": "source_valid, or oracle (cheating)."})
    train_corruption: str | None = field(default=None, metadata={"help": "mix, lnln or clean; default: the variant's."})
    modalities: str | None = field(default=None, metadata={"help": "Letters out of tav; default: the variant's."})
    max_text_length: int = field(default=64, metadata={"help": "Longest text in tokens."})
    max_audio_length: int = field(default=512, metadata={"help": "Longest audio in frames."})
    max_vision_length: int = field(default=512, metadata={"help": "Longest vision in frames."})
    prompts: str | None = field(default=None, metadata={"help": "Folder of prompt stores, for MMSLF."})
    prompt_store: str | None = field(default=None, metadata={"help": "Name of the store; default: the fitting one."})
    min_prompt_coverage: float = field(default=1.0, metadata={"help": "Share of each split that must have a hint."})
    max_prompt_length: int = field(default=128, metadata={"help": "Longest hint in tokens."})
    prompt_cache: str | None = field(
        default=None, metadata={"help": "Folder for cached states of hints; default: prompt_states beside the runs."}
    )
    cache_text_states: bool = field(
        default=False, metadata={"help": "Compute a frozen text encoder's states once; without corruption only."}
    )
    text_cache: str | None = field(default=None, metadata={"help": "Folder that keeps these states for other runs."})


@dataclass
class SentimentTrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` with this package's defaults and a few fields more.

    The batch size is stated for all processes together, so that the number of processes doesn't change the training:
    `per_device_train_batch_size` follows from `global_batch_size`.

    Args:
        global_batch_size: Rows per optimiser step over all processes and accumulation steps.
        text_learning_rate: Peak learning rate of the text encoder; `learning_rate` is that of everything else.
        average_weights: Decay of a running average of the weights, in (0, 1), which is then what is scored, selected
            and saved. It looks back over about `1 / (1 - average_weights)` optimiser steps. None: no averaging.
        calibrate_output: Whether the scores of the selected weights are scaled and shifted at the end so that their MAE
            on the selecting validation set is smallest; two numbers, folded into the last layer.
        seeds: One run per seed, each in `output_dir/seed-<seed>`.
        max_grad_value: Largest absolute value of any element of a gradient. None: no such limit. Independent of
            `max_grad_norm`, which 0 switches off.
        selection_drop_rates: Drop rates of the validation sets whose mean MAE selects the checkpoint. None: the
            variant's own.
        early_stopping_patience: Evaluations without a better selection value before training stops. None: never.
        freeze_text_encoder: Whether the text encoder keeps its weights.
        freeze_text_layers: Freezes the text encoder's embeddings and its first N layers.
        keep_checkpoints: Whether the checkpoints stay after the run.
        overwrite: Whether what is in a seed's run folder is thrown away first.
        expect_world_size: Number of processes the run must have. None: any. Guards against launchers that silently
            start one process, or several independent ones.

    Raises:
        ConfigError: If the batch can't be divided, the number of processes isn't the expected one, `max_grad_value`
            isn't positive or comes with `fp16`, or `average_weights` isn't between 0 and 1.
    """

    output_dir: str = field(default="runs/hfr_ame", metadata={"help": "Parent of the seed-<seed> run folders."})
    num_train_epochs: float = field(default=60.0, metadata={"help": "Epochs, if early stopping doesn't end it."})
    learning_rate: float = field(default=5e-4, metadata={"help": "Peak rate of all but the text encoder."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "Schedule after the warm-up."})
    warmup_steps: float = field(default=0.1, metadata={"help": "Warm-up steps; below 1 a share of all steps."})
    weight_decay: float = field(default=0.01, metadata={"help": "Decay of matrices; not of biases, norms, embeddings."})
    max_grad_norm: float = field(default=1.0, metadata={"help": "Gradient norm limit."})
    per_device_train_batch_size: int | None = field(
        default=None, metadata={"help": "Follows from global_batch_size; leave it out."}
    )
    per_device_eval_batch_size: int = field(default=64, metadata={"help": "Rows per process in evaluation."})
    logging_strategy: str = field(default="epoch", metadata={"help": "When training losses are logged."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When the validation set is scored."})
    save_strategy: str = field(default="epoch", metadata={"help": "When a checkpoint is written."})
    save_total_limit: int | None = field(default=1, metadata={"help": "Checkpoints kept beside the best one."})
    load_best_model_at_end: bool = field(
        default=True, metadata={"help": "Whether the selected weights are the result."}
    )
    metric_for_best_model: str | None = field(default="mae", metadata={"help": "Validation metric that selects."})
    greater_is_better: bool | None = field(default=False, metadata={"help": "Whether that metric is to be large."})
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "Whether a resumed run remembers its early-stopping count."}
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "Must stay False: rows are no table columns."})
    label_names: list[str] | None = field(default_factory=lambda: ["labels"], metadata={"help": "Name of the targets."})
    report_to: list[str] = field(
        default_factory=lambda: ["none"], metadata={"help": "Trackers beside trainer_log.jsonl."}
    )
    seed: int = field(default=DEFAULT_SEED, metadata={"help": "Set by each run from seeds; leave it out."})

    global_batch_size: int = field(default=64, metadata={"help": "Rows per optimiser step over all processes."})
    text_learning_rate: float = field(default=3e-5, metadata={"help": "Peak rate of the text encoder."})
    max_grad_value: float | None = field(
        default=None, metadata={"help": "Limit of each gradient element; default: none."}
    )
    average_weights: float | None = field(
        default=None, metadata={"help": "Decay of the weight average that is scored and saved; default: none."}
    )
    calibrate_output: bool = field(
        default=False, metadata={"help": "Scale and shift the scores on the validation set after training."}
    )
    seeds: list[int] = field(default_factory=lambda: [DEFAULT_SEED], metadata={"help": "One run per seed."})
    selection_drop_rates: list[float] | None = field(
        default=None, metadata={"help": "Drop rates of the selecting validation sets; default: the variant's."}
    )
    early_stopping_patience: int | None = field(default=15, metadata={"help": "Evaluations without improvement."})
    freeze_text_encoder: bool = field(default=False, metadata={"help": "Keep the text encoder's weights."})
    freeze_text_layers: int = field(default=0, metadata={"help": "Freeze embeddings and the first N text layers."})
    keep_checkpoints: bool = field(default=False, metadata={"help": "Keep checkpoints after the run."})
    overwrite: bool = field(default=False, metadata={"help": "Throw away what is in the run folders."})
    expect_world_size: int | None = field(default=None, metadata={"help": "Fail unless this many processes run."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.expect_world_size is not None and self.world_size != self.expect_world_size:
            raise ConfigError(
                f"this run must have {self.expect_world_size} processes (expect_world_size), but has "
                f"{self.world_size}; see docs/training.md for the launch command"
            )
        if self.max_grad_value is not None and (self.max_grad_value <= 0 or self.fp16):
            raise ConfigError(
                f"max_grad_value must be positive and can't be used with fp16, whose gradients are scaled; found "
                f"{self.max_grad_value} with fp16={self.fp16}; leave it out, or train in bf16"
            )
        if self.average_weights is not None and not 0 < self.average_weights < 1:
            raise ConfigError(
                f"average_weights must be between 0 and 1, but is {self.average_weights:g}; 0.99 looks back over about "
                "100 steps"
            )
        # torch.nn.DataParallel, which Trainer would use for several visible GPUs in one process, splits batches in a
        # way that none of our guarantees covers. `accelerate launch` uses them all.
        self._n_gpu: int = min(self.n_gpu, 1)
        share, rest = divmod(self.global_batch_size, self.world_size * self.gradient_accumulation_steps)
        if rest or share < 1:
            raise ConfigError(
                f"global_batch_size must be a multiple of processes x gradient_accumulation_steps "
                f"({self.world_size} x {self.gradient_accumulation_steps}), but is {self.global_batch_size}; change one"
            )
        if self.per_device_train_batch_size not in (None, share):
            raise ConfigError(
                f"per_device_train_batch_size follows from global_batch_size and would be {share}, but "
                f"{self.per_device_train_batch_size} was given; leave it out and set --global_batch_size"
            )
        self.per_device_train_batch_size = share


ArgumentTriple = tuple[ModelArguments, DataArguments, SentimentTrainingArguments]
_ARGUMENT_CLASSES = (ModelArguments, DataArguments, SentimentTrainingArguments)


def parse_arguments(
    argv: Sequence[str] | None = None, *, recipe_defaults: Mapping[str, Mapping[str, Any]] | None = None
) -> ArgumentTriple:
    """Reads the arguments of a run.

    Args:
        argv: Command line without the program's name; its first word may be a `.yaml` file whose values it overrides.
            None: `sys.argv[1:]`.
        recipe_defaults: Model name → defaults that are weaker than YAML and command line; `model/variant` → further
            ones of one variant.

    Returns:
        Model, data and training arguments.

    Raises:
        ConfigError: If the YAML file is missing, isn't a mapping, or holds an unknown key, or if an argument of the
            command line is unknown.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = HfArgumentParser(_ARGUMENT_CLASSES, allow_abbrev=False)
    from_file = _read_yaml(Path(words.pop(0))) if words and words[0].endswith((".yaml", ".yml")) else {}
    known = {f.name for cls in _ARGUMENT_CLASSES for f in fields(cls) if f.init}
    unknown = sorted(set(from_file) - known)
    if unknown:
        raise ConfigError(
            f"a YAML key must be a training argument, but found {', '.join(unknown)}; see train.py --help"
        )
    parser.set_defaults(**from_file)
    chosen, rest = parser.parse_known_args(words)
    if rest:
        raise ConfigError(f"every argument must be known, but found {' '.join(rest)}; see train.py --help")
    known_defaults = recipe_defaults or {}
    of_recipe = [known_defaults.get(name, {}) for name in (chosen.model, f"{chosen.model}/{chosen.variant}")]
    parser.set_defaults(**{**of_recipe[0], **of_recipe[1], **from_file})
    triple: ArgumentTriple = parser.parse_args_into_dataclasses(words, look_for_args_file=False)
    return triple


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"a training configuration must be a file, but {path} is none; check the path")
    try:
        loaded = _plain_yaml(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name} must be YAML, but can't be read ({error}); correct the file") from error
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"{path.name} must hold `argument: value` lines, but holds {type(loaded).__name__}; rewrite it"
        )
    overrides = loaded.get("config_overrides")
    if isinstance(overrides, dict):
        # JSON is YAML, so a nested value survives the round trip through `key=value`.
        loaded["config_overrides"] = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    return loaded


def parse_overrides(assignments: Sequence[str]) -> dict[str, Any]:
    """Reads configuration overrides.

    Args:
        assignments: `key=value` strings; the value is YAML, with `1e-3` read as a number.

    Returns:
        Key → value, in the given order.

    Raises:
        ConfigError: If a string has no `=`, an empty key, or a value that isn't YAML.
    """
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"a configuration override must read key=value, but found {assignment!r}; add the value")
        try:
            overrides[key.strip()] = _plain_yaml(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"the value of override {key!r} must be YAML, but found {text!r}; quote it") from error
    return overrides


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without two surprises of version 1.1: `off` is a word here (`band_loss: off`), `1e-3` a number."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false|True|False)$"), list("tfTF"))
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$"),
    list("-+.0123456789"),
)


def _plain_yaml(text: str) -> Any:
    loader = _PlainLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
