"""From arguments to a processor, a model and datasets."""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from torch.utils.data import ConcatDataset, Dataset
from transformers import TrainerCallback, set_seed

from modeling_hfr_ame.corruption import TrainingMix
from modeling_hfr_ame.data import (
    SentimentCollator,
    SentimentDataset,
    load_stored_dataset,
    prepare_synthetic_talkers,
    read_manifest,
    stored_rows,
    training_vocabulary,
)
from modeling_hfr_ame.data.domains import Domain, find_setting, prepare_domains
from modeling_hfr_ame.data.manifest import MANIFEST_NAME, sha256_file
from modeling_hfr_ame.data.prompted_rows import PromptCollator, PromptedRows
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.evaluation.metrics import scheme_of_label_range
from modeling_hfr_ame.evaluation.runner import MODALITIES, row_modalities, select_rows
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor
from modeling_hfr_ame.feature_extraction_hfr_ame_vision import HfrAmeVisionFeatureExtractor
from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor
from modeling_hfr_ame.training.arguments import (
    ArgumentTriple,
    DataArguments,
    ModelArguments,
    SentimentTrainingArguments,
    parse_overrides,
)
from modeling_hfr_ame.training.companions import (
    CompanionCollator,
    CompanionDataset,
    CompanionRanking,
    companion_counts,
)
from modeling_hfr_ame.training.distillation import (
    TeacherGuidance,
    load_teacher,
    require_fitting_teacher,
    require_same_prompts,
)
from modeling_hfr_ame.training.frozen_states import CachedTextRows
from modeling_hfr_ame.training.optimization import find_text_model, freeze_text_encoder
from modeling_hfr_ame.training.prompts import encode_prompts, read_prompt_texts
from modeling_hfr_ame.training.recipes import ConfigInputs, Variant, find_recipe
from modeling_hfr_ame.training.selection import SELECTION_SEED, selection_dataset
from modeling_hfr_ame.training.text_encoders import TextEncoderSource, load_text_encoder, warm_start_text_encoder

logger = logging.getLogger(__name__)

SYNTHETIC_TALKERS = "synthetic_talkers"
# What a manifest says of the way from a recording to features, and the processor keeps.
_FEATURE_SETTINGS = ("frame_rate_hz", "backend", "backend_sha256")
DOMAINS_FOLDER = "domains"


@dataclass
class RunParts:
    """Everything a run trains with.

    Args:
        model: The model, warm-started and with frozen parts.
        processor: Tokenizer and fitted scalers.
        collator: Samples → batch.
        train: Training rows; takes `(epoch, index)`.
        selection: Validation rows, one copy per selection drop rate.
        scheme: `mosi` or `sims`.
        dataset_folder: Where the data lies.
        dataset_name: Its name.
        manifest_sha256: Hash of its manifest.
        num_rows: Rows used per split.
        num_left_out: Rows per split without any modality that the model reads.
        callbacks: What the model needs during training beside the callbacks of every run.
        guidance: Completes each training batch, as a teacher does. None: batches are complete.
        record: What `run.json` says about prompts and teacher.
    """

    model: nn.Module
    processor: HfrAmeProcessor
    collator: Any
    train: Dataset[dict[str, Any]]
    selection: ConcatDataset[dict[str, Any]]
    scheme: str
    dataset_folder: Path
    dataset_name: str
    manifest_sha256: str
    num_rows: dict[str, int]
    num_left_out: dict[str, int]
    callbacks: list[TrainerCallback] = field(default_factory=list)
    guidance: TeacherGuidance | None = None
    record: dict[str, Any] = field(default_factory=dict)


def with_variant_defaults(
    model_args: ModelArguments, data_args: DataArguments, training_args: SentimentTrainingArguments
) -> ArgumentTriple:
    """Fills in what the user left to the variant.

    Args:
        model_args: Model arguments.
        data_args: Data arguments; not changed.
        training_args: Training arguments; `selection_drop_rates` is filled in place.

    Returns:
        Arguments without None for variant, corruption, modalities and selection rates.

    Raises:
        ConfigError: If model or variant is unknown.
    """
    recipe = find_recipe(model_args.model)
    model_args = replace(model_args, variant=model_args.variant or recipe.default_variant)
    variant = recipe.variant(str(model_args.variant))
    data_args = replace(
        data_args,
        train_corruption=data_args.train_corruption or variant.train_corruption,
        modalities=data_args.modalities or variant.modalities,
    )
    if training_args.selection_drop_rates is None:
        training_args.selection_drop_rates = list(variant.selection_drop_rates)
    return model_args, data_args, training_args


def provide_domains(data_args: DataArguments, output_dir: Path, state: Any) -> Path | None:
    """Finds or writes the dataset of a domain-generalisation setting, and prints how it was harmonised.

    Args:
        data_args: Data arguments.
        output_dir: Parent of the run folders; the dataset becomes its folder `domains`.
        state: Accelerate's state of the processes; the main one writes, the others wait.

    Returns:
        The dataset's folder; None where no setting is asked for.

    Raises:
        ConfigError: Sources come without a target or the other way round, or the folder holds another setting.
        DataError: A dataset can't be used in its role.
    """
    if bool(data_args.sources) != bool(data_args.target):
        raise ConfigError(
            f"domain generalisation needs sources and a target, but found sources {data_args.sources} and target "
            f"{data_args.target}; pass both"
        )
    if data_args.sources and data_args.domain_setting:
        raise ConfigError("domain_setting names sources and target itself; leave --sources and --target out")
    if data_args.domain_setting:
        sources, target = find_setting(data_args.domain_setting, data_args.domain_root)
    elif data_args.target:
        sources, target = [Domain.parse(text) for text in data_args.sources], Domain.parse(data_args.target)
    else:
        return None
    folder = output_dir / DOMAINS_FOLDER
    modes: Any = {"features": data_args.feature_harmonisation, "selection": data_args.domain_selection}
    with state.main_process_first():
        if not (folder / MANIFEST_NAME).is_file():
            prepare_domains(sources, target, folder, **modes)
    found = read_manifest(folder)["domains"]
    wanted = {
        "sources": [source.describe(("train", "validation")) for source in sources],
        "target": target.describe(tuple(found["target"]["splits"])),
        **modes,
    }
    if {name: found[name] for name in wanted} != wanted:
        raise ConfigError(
            f"{DOMAINS_FOLDER} beside the runs holds {found['setting']!r} of other data or other modes; choose another "
            "--output_dir"
        )
    if state.is_main_process:
        for note in found["notes"]:
            logger.warning("%s: %s", found["setting"], note)
    return folder


def provide_dataset(dataset: str, output_dir: Path, state: Any) -> Path:
    """Finds the dataset, or generates it beside the runs.

    Args:
        dataset: A stored dataset's folder, or `synthetic_talkers`.
        output_dir: Parent of the run folders.
        state: Accelerate's state of the processes; the main one generates, the others wait.

    Returns:
        The dataset's folder.

    Raises:
        DataError: If there is no stored dataset.
    """
    if dataset != SYNTHETIC_TALKERS or Path(dataset).is_dir():
        read_manifest(dataset)
        return Path(dataset)
    folder = output_dir / SYNTHETIC_TALKERS
    with state.main_process_first():
        # The folder appears in one step, so its manifest says that it is complete.
        if not (folder / MANIFEST_NAME).is_file():
            prepare_synthetic_talkers(folder)
    return folder


def assemble_run(
    model_args: ModelArguments,
    data_args: DataArguments,
    training_args: SentimentTrainingArguments,
    dataset_folder: Path,
) -> RunParts:
    """Builds processor, datasets and model of one run.

    Args:
        model_args: Model arguments.
        data_args: Data arguments with the variant's defaults filled in.
        training_args: Training arguments, likewise; `seed` seeds weights and corruption.
        dataset_folder: The stored dataset.

    Returns:
        The parts.

    Raises:
        ConfigError: If an argument doesn't fit the model or the encoder.
        DataError: If the dataset lacks a split, or no row has a modality that the model reads.
    """
    variant = find_recipe(model_args.model).variant(str(model_args.variant))
    _require_sources(variant, model_args, data_args)
    manifest = read_manifest(dataset_folder)
    modalities = data_args.modalities or "tav"
    rows, left_out = {}, {}
    for split in ("train", "validation"):
        rows[split], left_out[split] = _usable_rows(load_stored_dataset(dataset_folder, split), modalities, split)
    texts = [text for text in rows["train"].with_format(None)[:]["text"] if text]
    source = load_text_encoder(model_args.text_encoder, texts, lowercase=model_args.lowercase_text)
    processor = _build_processor(data_args, manifest, source)
    processor.fit_scalers(stored_rows(rows["train"]))

    set_seed(training_args.seed)
    model = _build_model(model_args, data_args, training_args, manifest, source, processor)
    if training_args.freeze_text_encoder or training_args.freeze_text_layers:
        freeze_text_encoder(
            model, num_layers=None if training_args.freeze_text_encoder else training_args.freeze_text_layers
        )
    name = str(manifest["dataset_name"])
    low, high = (float(value) for value in manifest["label_range"])
    shared: dict[str, Any] = {"dataset_name": name, "modalities": modalities, "label_range": (low, high)}
    train: Any = SentimentDataset(
        rows["train"],
        processor,
        split="train",
        corruption=TrainingMix(data_args.train_corruption or "mix"),
        seed=training_args.seed,
        with_clean=bool(getattr(model.config, "needs_clean_twin", False)),
        vocabulary=training_vocabulary(rows["train"]),
        with_domains=bool(getattr(model.config, "reads_domains", False)),
        **shared,
    )
    validation: Any = SentimentDataset(rows["validation"], processor, split="validation", seed=SELECTION_SEED, **shared)
    plain = train
    if data_args.cache_text_states:
        _require_constant_texts(model, data_args, training_args)
        train, validation = CachedTextRows.encode(
            find_text_model(model), [train, validation], Path(data_args.text_cache) if data_args.text_cache else None
        )
    parts = RunParts(
        model=model,
        processor=processor,
        collator=SentimentCollator(processor),
        train=train,
        selection=selection_dataset(validation, training_args.selection_drop_rates or (0.0,)),
        scheme=scheme_of_label_range((low, high)),
        dataset_folder=dataset_folder,
        dataset_name=name,
        manifest_sha256=sha256_file(dataset_folder / MANIFEST_NAME),
        num_rows={split: len(table) for split, table in rows.items()},
        num_left_out=left_out,
    )
    if "domains" in manifest:
        parts.record["domains"] = manifest["domains"]
    if variant.companions is not None:
        _add_companions(parts, plain, training_args.seed, as_published=variant.companions == "published")
    if variant.reads_prompts:
        _add_prompts(parts, rows, validation, data_args, training_args)
    if variant.learns_from_teacher:
        _add_teacher(parts, rows, model_args, data_args, training_args)
    return parts


def _require_sources(variant: Variant, model_args: ModelArguments, data_args: DataArguments) -> None:
    """Refuses a prompt store or a teacher that is missing, or that the variant doesn't read."""
    needs_prompts, needs_teacher = variant.reads_prompts, variant.learns_from_teacher
    if needs_prompts and not data_args.prompts:
        raise ConfigError(
            f"variant {model_args.variant!r} reads hints out of a prompt store, but prompts is not set; make one with "
            "`hfr-ame prompts` and pass --prompts FOLDER"
        )
    if needs_teacher and not model_args.teacher:
        raise ConfigError(
            f"variant {model_args.variant!r} learns from a teacher, but teacher is not set; pass --teacher RUN, or "
            "train variant student_alone"
        )
    unread = [
        name
        for name, given, read in (
            ("prompts", data_args.prompts, needs_prompts or needs_teacher),
            ("teacher", model_args.teacher, needs_teacher),
        )
        if given and not read
    ]
    if unread:
        raise ConfigError(
            f"variant {model_args.variant!r} of {model_args.model} doesn't read {' or '.join(unread)}; leave it out"
        )


def _require_constant_texts(model: Any, data_args: DataArguments, training_args: SentimentTrainingArguments) -> None:
    """Refuses to cache states of texts, or of an encoder, that change."""
    changing = [
        words
        for words, changes in (
            ("a text encoder that is trained", not training_args.freeze_text_encoder),
            (f"train_corruption {data_args.train_corruption}", data_args.train_corruption != "clean"),
            ("selection_drop_rates above 0", any(training_args.selection_drop_rates or ())),
            ("a model that is trained on a clean twin", bool(getattr(model.config, "needs_clean_twin", False))),
        )
        if changes
    ]
    if changing:
        raise ConfigError(
            f"cache_text_states needs the same text states in every epoch, but found {', '.join(changing)}; pass "
            "--freeze_text_encoder, --train_corruption clean and --selection_drop_rates 0, or leave it out"
        )


def _cache_folder(data_args: DataArguments, training_args: SentimentTrainingArguments) -> Path:
    if data_args.prompt_cache is not None:
        return Path(data_args.prompt_cache)
    # The run's own folder holds nothing that isn't saved with the model.
    return Path(str(training_args.output_dir)).parent / "prompt_states"


def _add_prompts(
    parts: RunParts,
    rows: dict[str, Any],
    validation: Any,
    data_args: DataArguments,
    training_args: SentimentTrainingArguments,
) -> None:
    model: Any = parts.model
    texts = read_prompt_texts(data_args, rows, parts.dataset_name, ("train", "validation"))
    encoder = model.prompts.text_model
    if encoder is None and training_args.freeze_text_encoder:
        encoder = model.text_model
    tokenizer, limit = parts.processor.tokenizer, model.config.max_prompt_length
    with training_args.main_process_first(desc="encoding prompts"):
        prompts = encode_prompts(texts, tokenizer, limit, encoder, _cache_folder(data_args, training_args))
    parts.train = PromptedRows(parts.train, prompts)
    parts.selection = selection_dataset(PromptedRows(validation, prompts), training_args.selection_drop_rates or (0.0,))
    parts.collator = PromptCollator(parts.collator, tokenizer.pad_token_id)
    parts.record["prompts"] = texts.record


def _add_teacher(
    parts: RunParts,
    rows: dict[str, Any],
    model_args: ModelArguments,
    data_args: DataArguments,
    training_args: SentimentTrainingArguments,
) -> None:
    student: Any = parts.model
    guidance = load_teacher(
        str(model_args.teacher), training_args.seed, parts.manifest_sha256, student.config.distill_map
    )
    tokenizer = parts.processor.tokenizer
    require_fitting_teacher(guidance, student, tokenizer, shares_text_states=data_args.cache_text_states)
    data_args = guidance.with_recorded_prompts(data_args)
    texts = read_prompt_texts(data_args, rows, parts.dataset_name, ("train",))
    require_same_prompts(guidance, texts)
    limit = guidance.model.config.max_prompt_length
    with training_args.main_process_first(desc="encoding prompts"):
        folder = _cache_folder(data_args, training_args)
        prompts = encode_prompts(texts, tokenizer, limit, guidance.prompt_encoder, folder)
    parts.train = PromptedRows(parts.train, prompts)
    parts.collator = PromptCollator(parts.collator, tokenizer.pad_token_id)
    parts.guidance = guidance
    parts.record["teacher"] = guidance.record


def _add_companions(parts: RunParts, rows: SentimentDataset, seed: int, *, as_published: bool) -> None:
    dataset = CompanionDataset(rows, companion_counts(parts.model.config), seed)
    parts.callbacks.append(CompanionRanking(dataset, parts.collator, as_published=as_published))
    parts.train, parts.collator = dataset, CompanionCollator(parts.collator)


def _usable_rows(rows: Any, modalities: str, split: str) -> tuple[Any, int]:
    """Leaves out rows that hold nothing the model reads, and counts them."""
    read = [name[0] in modalities for name in MODALITIES]
    usable = row_modalities(rows)[:, read].any(axis=1)
    if not usable.any():
        raise DataError(
            f"the {split} split needs rows with a modality out of {modalities!r}, but none of its {len(rows)} rows has "
            "one; choose other --modalities or another dataset"
        )
    return select_rows(rows, np.flatnonzero(usable)), int((~usable).sum())


def _build_processor(data_args: DataArguments, manifest: dict[str, Any], source: TextEncoderSource) -> HfrAmeProcessor:
    sizes, names = manifest["feature_sizes"], manifest.get("feature_names", {})
    extractors = {}
    for name, extractor_class in (("audio", HfrAmeAudioFeatureExtractor), ("vision", HfrAmeVisionFeatureExtractor)):
        native = list(extractor_class.native_feature_names)
        spec = manifest.get("feature_spec", {}).get(name, {})
        settings = {key: spec[key] for key in _FEATURE_SETTINGS if key in spec}
        # Native features and a Hub model's can be computed from raw signals at prediction, at the rate of the data;
        # other ones only by whoever made them.
        if list(names.get(name, ())) != native:
            settings |= {"feature_size": sizes[name], "feature_names": names.get(name)}
        extractors[name] = extractor_class(**settings)
    longest_text = min(data_args.max_text_length, _encoder_limit(source))
    return HfrAmeProcessor(
        extractors["audio"],
        extractors["vision"],
        source.tokenizer,
        max_text_length=longest_text,
        max_audio_length=data_args.max_audio_length,
        max_vision_length=data_args.max_vision_length,
    )


def _encoder_limit(source: TextEncoderSource) -> int:
    # Two positions less: encoders of the RoBERTa family count positions from the padding id on.
    return int(getattr(source.config, "max_position_embeddings", 10**6)) - 2


def _build_model(
    model_args: ModelArguments,
    data_args: DataArguments,
    training_args: SentimentTrainingArguments,
    manifest: dict[str, Any],
    source: TextEncoderSource,
    processor: HfrAmeProcessor,
) -> nn.Module:
    recipe = find_recipe(model_args.model)
    low, high = (float(value) for value in manifest["label_range"])
    inputs = ConfigInputs(
        text_config=source.config,
        feature_sizes=manifest["feature_sizes"],
        label_range=(low, high),
        metric_scheme=scheme_of_label_range((low, high)),
        unk_token_id=source.tokenizer.unk_token_id,
        overrides=parse_overrides(model_args.config_overrides),
        max_lengths={
            **{name: getattr(processor, f"max_{name}_length") for name in MODALITIES},
            "prompt": min(data_args.max_prompt_length, _encoder_limit(source)),
        },
        # A frozen copy is worth its memory only where there is something pretrained in it that training would change.
        prompt_encoder="shared" if source.weights is None or training_args.freeze_text_encoder else "own",
    )
    variant_name, modalities = model_args.variant or recipe.default_variant, data_args.modalities or "tav"
    model: Any = recipe.model_class(recipe.config_of(inputs, variant_name, modalities))
    warm_start_text_encoder(model, source)
    if hasattr(model, "copy_text_encoder_to_prompts"):
        model.copy_text_encoder_to_prompts()
    return model
