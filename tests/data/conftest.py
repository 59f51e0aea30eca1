"""Small generated rows and a processor fitted on them."""

from typing import Any

import pytest

from modeling_hfr_ame.data import generate_synthetic_talkers
from modeling_hfr_ame.data.synthetic_talkers import MODALITY_SIZES
from modeling_hfr_ame.data.tokenizer_training import train_wordpiece_tokenizer
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor
from modeling_hfr_ame.feature_extraction_hfr_ame_vision import HfrAmeVisionFeatureExtractor
from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor


@pytest.fixture(scope="session")
def talker_rows() -> list[dict[str, Any]]:
    return generate_synthetic_talkers(num_train=24, num_validation=1, num_test=1)["train"]


@pytest.fixture(scope="session")
def talker_processor(talker_rows: list[dict[str, Any]]) -> HfrAmeProcessor:
    processor = HfrAmeProcessor(
        HfrAmeAudioFeatureExtractor(feature_size=MODALITY_SIZES["audio"]),
        HfrAmeVisionFeatureExtractor(feature_size=MODALITY_SIZES["vision"]),
        train_wordpiece_tokenizer([row["text"] for row in talker_rows], vocab_size=400),
    )
    processor.fit_scalers(talker_rows)
    return processor
