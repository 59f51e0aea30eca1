"""A small stored dataset, its processor, and trained-looking run folders."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from modeling_hfr_ame import (
    HfrAmeAudioFeatureExtractor,
    HfrAmeConfig,
    HfrAmeForSentiment,
    HfrAmeProcessor,
    HfrAmeVisionFeatureExtractor,
    SentimentOutput,
)
from modeling_hfr_ame.data import load_stored_dataset, write_stored_dataset
from modeling_hfr_ame.data.tokenizer_training import train_wordpiece_tokenizer

WORDS = ("good", "bad", "fine", "awful", "the", "plot", "was", "really", "not", "quite")
AUDIO_SIZE, VISION_SIZE = 3, 4


def make_rows(split: str, num_rows: int, seed: int) -> list[dict]:
    """Rows of varying length; rows 3 and 4 of every split lack audio and text."""
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(num_rows):
        num_words, num_audio, num_vision = generator.integers((2, 3, 1), (9, 15, 8))
        audio = generator.normal(1.0, 2.0, (num_audio, AUDIO_SIZE)).astype(np.float32)
        vision = generator.normal(-1.0, 0.5, (num_vision, VISION_SIZE)).astype(np.float32)
        rows.append(
            {
                "id": f"{split}{seed}$_${index}",
                "video_id": f"{split}{seed}",
                "clip_id": str(index),
                "text": None if index == 4 else " ".join(generator.choice(WORDS, num_words)),
                "audio": None if index == 3 else audio,
                "vision": vision,
                "label": float(np.round(generator.uniform(-3, 3), 1)),
            }
        )
    return rows


class MeanAudio(nn.Module):
    """Predicts the mean of the first audio feature over valid frames, so that a test can compute it by hand."""

    def __init__(self, *, with_severity: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.with_severity = with_severity
        self.dropout = nn.Dropout(0.5)  # shows whether eval mode was entered
        self.received: set[str] = set()
        self.batch_sizes: list[int] = []

    def forward(self, audio_values, audio_mask, modality_mask, **inputs):
        self.received |= {"audio_values", "audio_mask", "modality_mask", *inputs}
        self.batch_sizes.append(len(audio_values))
        total = (audio_values[..., 0] * audio_mask).sum(-1)
        logits = self.dropout(total / audio_mask.sum(-1).clamp(min=1))[:, None] * self.scale
        severity = torch.tensor([0.1, 0.2, 0.3]).expand(len(logits), 3) if self.with_severity else None
        return SentimentOutput(logits=logits, severity=severity)


@pytest.fixture(scope="session")
def stored_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "tiny"
    splits = {"train": make_rows("train", 12, 0), "test": make_rows("test", 11, 1)}
    manifest = {"dataset_name": "tiny", "builder": "tests", "builder_version": "1", "label_range": [-3.0, 3.0]}
    return write_stored_dataset(folder, splits, manifest, feature_sizes={"audio": AUDIO_SIZE, "vision": VISION_SIZE})


@pytest.fixture(scope="session")
def test_rows() -> list[dict]:
    return make_rows("test", 11, 1)


@pytest.fixture(scope="session")
def stored_rows(stored_folder: Path):
    return load_stored_dataset(stored_folder, "test")


@pytest.fixture(scope="session")
def processor() -> HfrAmeProcessor:
    made = HfrAmeProcessor(
        HfrAmeAudioFeatureExtractor(feature_size=AUDIO_SIZE),
        HfrAmeVisionFeatureExtractor(feature_size=VISION_SIZE),
        train_wordpiece_tokenizer([" ".join(WORDS)], vocab_size=80),
    )
    made.fit_scalers(make_rows("train", 12, 0))
    return made


@pytest.fixture(scope="session")
def mean_audio() -> Callable[..., MeanAudio]:
    return MeanAudio


@pytest.fixture(scope="session")
def make_model(processor: HfrAmeProcessor) -> Callable[..., HfrAmeForSentiment]:
    def make(seed: int, **options) -> HfrAmeForSentiment:
        torch.manual_seed(seed)
        text = {"model_type": "bert", "vocab_size": len(processor.tokenizer), "hidden_size": 8}
        text |= {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        config = HfrAmeConfig(
            text_config=text,
            audio_config={"feature_size": AUDIO_SIZE},
            vision_config={"feature_size": VISION_SIZE},
            unk_token_id=processor.tokenizer.unk_token_id,
            **({"hidden_size": 8, "condition_size": 8, "unet_channels": [8], "num_attention_heads": 2} | options),
        )
        return HfrAmeForSentiment(config).eval()

    return make


@pytest.fixture(scope="session")
def make_run(make_model, processor, stored_folder) -> Callable[..., Path]:
    """Writes run folders the way training does: `parent/seed-<seed>` with model, processor and run.json."""

    def make(parent: Path, seed: int, *, record: dict | None = None, **options) -> Path:
        folder = parent / f"seed-{seed}"
        make_model(seed, **options).save_pretrained(folder)
        processor.save_pretrained(folder)
        content = {"seed": seed, "dataset_folder": str(stored_folder), "selection_rule": "lowest validation MAE"}
        (folder / "run.json").write_text(json.dumps(content | (record or {})))
        return folder

    return make
