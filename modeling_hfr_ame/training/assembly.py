"""From arguments to a processor, a model and datasets."""

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
from modeling_hfr_ame.data.manifest import MANIFEST_NAME, sha256_file
from modeling_hfr_ame.errors import DataError
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
from modeling_hfr_ame.training.optimization import freeze_text_encoder
from modeling_hfr_ame.training.recipes import ConfigInputs, find_recipe
from modeling_hfr_ame.training.selection import SELECTION_SEED, selection_dataset
from modeling_hfr_ame.training.text_encoders import TextEncoderSource, load_text_encoder, warm_start_text_encoder

SYNTHETIC_TALKERS = "synthetic_talkers"


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
    model = _build_model(model_args, modalities, manifest, source, processor)
    if training_args.freeze_text_encoder or training_args.freeze_text_layers:
        freeze_text_encoder(
            model, num_layers=None if training_args.freeze_text_encoder else training_args.freeze_text_layers
        )
    name = str(manifest["dataset_name"])
    low, high = (float(value) for value in manifest["label_range"])
    shared: dict[str, Any] = {"dataset_name": name, "modalities": modalities, "label_range": (low, high)}
    train = SentimentDataset(
        rows["train"],
        processor,
        split="train",
        corruption=TrainingMix(data_args.train_corruption or "mix"),
        seed=training_args.seed,
        with_clean=bool(getattr(model.config, "needs_clean_twin", False)),
        vocabulary=training_vocabulary(rows["train"]),
        **shared,
    )
    companions = find_recipe(model_args.model).variant(str(model_args.variant)).companions
    validation = SentimentDataset(rows["validation"], processor, split="validation", seed=SELECTION_SEED, **shared)
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
    if companions is not None:
        _add_companions(parts, train, training_args.seed, as_published=companions == "published")
    return parts


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
        # Native features can be computed from raw signals at prediction; other ones only by whoever made them.
        is_native = list(names.get(name, ())) == native
        extractors[name] = (
            extractor_class() if is_native else extractor_class(feature_size=sizes[name], feature_names=names.get(name))
        )
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
    modalities: str,
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
        max_lengths={name: getattr(processor, f"max_{name}_length") for name in MODALITIES},
    )
    model = recipe.model_class(recipe.config_of(inputs, model_args.variant or recipe.default_variant, modalities))
    warm_start_text_encoder(model, source)
    return model
