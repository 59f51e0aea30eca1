"""A finished run folder without a training: a tiny model with moved weights, its processor, and a record with paths."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from transformers import BertTokenizer, PreTrainedModel

from modeling_hfr_ame import HfrAmeProcessor
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor
from modeling_hfr_ame.feature_extraction_hfr_ame_vision import HfrAmeVisionFeatureExtractor
from tests.models.model_fixtures import MODEL_BUILDERS, shake

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "end", "is", "wonderful", "slow", "/", "but"]
# What must not be found in anything that is published.
SECRET_FOLDER = "/home/somebody/studies"

RECORD: dict[str, Any] = {
    "format": "hfr-ame-run/1",
    "seed": 1111,
    "model": "hfr_ame",
    "variant": "full",
    "arguments": {
        "model": {"text_encoder": f"{SECRET_FOLDER}/encoders/small-bert", "config_overrides": ["hidden_size=16"]},
        "data": {"dataset": f"{SECRET_FOLDER}/my data/talkers"},
        "training": {"learning_rate": 0.005, "note": f"restarted from {SECRET_FOLDER}/old/checkpoint-8 by hand"},
        "launch": {"logging_dir": "C:\\Users\\somebody\\logs"},
    },
    "dataset_folder": f"{SECRET_FOLDER}/my data/talkers",
    "dataset_name": "talkers",
    "manifest_sha256": "0" * 64,
    "selected_validation": {"eval_mae": 0.75},
}


def make_processor(native: bool = False) -> HfrAmeProcessor:
    """A processor for five audio and seven vision features, or for the native ones; the scalers are fitted."""
    widths = (None, None) if native else (5, 7)
    processor = HfrAmeProcessor(
        HfrAmeAudioFeatureExtractor(widths[0]),
        HfrAmeVisionFeatureExtractor(widths[1]),
        BertTokenizer(vocab={piece: index for index, piece in enumerate(PIECES)}),
        max_text_length=16,
    )
    rng = np.random.default_rng(0)
    sizes = (processor.feature_extractor.feature_size, processor.vision_feature_extractor.feature_size)
    processor.fit_scalers([{"audio": rng.normal(3, 0.5, (50, sizes[0])), "vision": rng.normal(0, 2, (50, sizes[1]))}])
    return processor


def make_model(native: bool = False, name: str = "hfr_ame", **overrides: Any) -> PreTrainedModel:
    """A tiny model for `make_processor`, in eval mode, with no zero-initialised weight left."""
    if native:
        overrides |= {"audio_config": {"feature_size": 33}, "vision_config": {"feature_size": 46}}
    return shake(MODEL_BUILDERS[name](unk_token_id=1, **overrides)).eval()


def make_run(folder: Path, native: bool = False, name: str = "hfr_ame", **overrides: Any) -> Path:
    """Writes a run folder as training leaves it, machine paths included."""
    model = make_model(native, name, **overrides)
    model.config.text_config.name_or_path = f"{SECRET_FOLDER}/encoders/small-bert"
    model.save_pretrained(folder)
    make_processor(native).save_pretrained(folder)
    (folder / "run.json").write_text(json.dumps(RECORD | {"model": name}, indent=2), encoding="utf-8")
    (folder / "trainer_log.jsonl").write_text("{}\n", encoding="utf-8")
    return folder


def make_items(native: bool = False) -> list[dict[str, Any]]:
    """Items with all modalities, and with one missing each; raw frames."""
    processor = make_processor(native)
    rng = np.random.default_rng(5)
    sizes = (processor.feature_extractor.feature_size, processor.vision_feature_extractor.feature_size)
    audio = [rng.normal(3, 0.5, (length, sizes[0])).astype(np.float32) for length in (9, 4, 6)]
    vision = [rng.normal(0, 2, (length, sizes[1])).astype(np.float32) for length in (3, 8, 5)]
    return [
        {"text": "the end is wonderful", "audio": audio[0], "vision": vision[0]},
        {"text": "slow but wonderful", "audio": audio[1]},
        {"audio": audio[2], "vision": vision[2]},
        {"text": "the end", "vision": vision[1]},
    ]
