"""Features from Hub models: tiny random ones, made here, stand in for those that users name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from modeling_hfr_ame.data.clip_features import ClipFeatureSpec, extract_clip
from modeling_hfr_ame.data.synthetic_face import FaceLook, FacePose, draw_face
from modeling_hfr_ame.errors import ConfigError, InputError
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor
from modeling_hfr_ame.feature_extraction_hfr_ame_vision import HfrAmeVisionFeatureExtractor
from modeling_hfr_ame.hub_backbones import load_hub_model
from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor
from tests.hub.run_making import make_processor
from tests.media.clip_writing import even_times, tone, write_clip

pytest.importorskip("av", reason="decoding needs PyAV")

LOOK = FaceLook(skin=(224, 180, 150), hair=(60, 40, 30), half_width=52, half_height=66, centre=(160, 120))
PICTURES = np.stack([draw_face(LOOK, FacePose(0.0, m / 10, 0.0, 1.0, (0.0, 0.0))) for m in range(11)])


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=16
    )
    ViTModel(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return f"hf:{folder}"


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("wav2vec2")
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8, 8),
        conv_stride=(5, 8, 8),
        conv_kernel=(10, 8, 8),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return f"hf:{folder}"


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        vocab_size=50,
        num_mel_bins=80,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return f"hf:{folder}"


def test_vision_states_of_the_face_are_averaged_over_patches(vit: str) -> None:
    extractor = HfrAmeVisionFeatureExtractor(backend=vit)
    frames = extractor.extract(PICTURES, 5.0)
    assert frames.shape == (11, 12)
    assert extractor.feature_names[0] == "vision_0"
    assert not np.array_equal(frames[0], frames[10])
    stream = extractor.stream(5.0)
    for picture in PICTURES[:3]:
        stream.push(picture)
    # The track's running median sees a shorter clip, so only the first row has the same surroundings.
    np.testing.assert_array_equal(stream.finish()[0], frames[0])


def test_vision_without_a_face_is_an_exact_zero_row(vit: str) -> None:
    frames = HfrAmeVisionFeatureExtractor(backend=vit).extract(np.full((2, 240, 320, 3), 90, np.uint8))
    assert frames.shape == (2, 12)
    assert not frames.any()


@pytest.mark.parametrize("kind", ["clip", "resnet"])
def test_other_vision_models_give_states_of_their_width(tmp_path: Path, kind: str) -> None:
    if kind == "clip":
        sizes = {"image_size": 32, "patch_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        CLIPVisionModel(CLIPVisionConfig(hidden_size=8, intermediate_size=8, **sizes)).save_pretrained(tmp_path)
    else:
        ResNetModel(ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1])).save_pretrained(tmp_path)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    frames = HfrAmeVisionFeatureExtractor(backend=f"hf:{tmp_path}").extract(PICTURES[:2])
    assert frames.shape == (2, 8)
    assert np.isfinite(frames).all()


@pytest.mark.parametrize("model", ["wav2vec2", "whisper"])
def test_audio_states_follow_the_rate_and_the_pieces_do_not_matter(model: str, request: pytest.FixtureRequest) -> None:
    extractor = HfrAmeAudioFeatureExtractor(backend=request.getfixturevalue(model))
    wave = np.concatenate([tone(20.0, 200.0, rate=16000), tone(1.25, 300.0, rate=16000)])
    frames = extractor.extract(wave, 16000)
    assert frames.shape == (212, 16)
    assert np.isfinite(frames).all()
    stream = extractor.stream(16000)
    for piece in np.array_split(wave, 37):
        stream.push(piece)
    np.testing.assert_array_equal(stream.finish(), frames)


def test_audio_that_is_very_short_gives_one_frame(wav2vec2: str) -> None:
    extractor = HfrAmeAudioFeatureExtractor(backend=wav2vec2)
    assert extractor.extract(np.full(3, 0.1), 16000).shape == (1, 16)
    with pytest.raises(InputError, match="at least one sample"):
        extractor.stream(16000).finish()


def test_training_and_prediction_have_the_same_bits(vit: str, wav2vec2: str, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", even_times(1.0), tone(1.0), pictures=[PICTURES[i % 11] for i in range(25)])
    spec = ClipFeatureSpec(8.0, 5.0, audio_backend=wav2vec2, vision_backend=vit)
    stored = extract_clip(clip, spec, tmp_path).load()
    assert stored is not None
    assert stored.audio is not None
    assert stored.vision is not None
    assert stored.vision.any()
    processor = make_processor(native=True)
    tokenizer = processor.tokenizer
    saved = HfrAmeProcessor(spec.audio_extractor, spec.vision_extractor, tokenizer)
    saved.fit_scalers([{"audio": stored.audio, "vision": stored.vision}])
    saved.save_pretrained(tmp_path / "run")
    loaded = HfrAmeProcessor.from_pretrained(tmp_path / "run")
    again = ClipFeatureSpec.of_processor(loaded)
    (tmp_path / "other").mkdir()
    predicted = extract_clip(clip, again, tmp_path / "other").load()
    assert predicted is not None
    np.testing.assert_array_equal(predicted.audio, stored.audio)
    np.testing.assert_array_equal(predicted.vision, stored.vision)
    assert loaded.feature_extractor.accepts_raw_signal
    assert again.digest == spec.digest
    assert spec.digest != ClipFeatureSpec(8.0, 5.0).digest


def test_other_model_under_the_same_name_is_refused(tmp_path: Path) -> None:
    config = ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=32, patch_size=16
    )
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    ViTModel(config).save_pretrained(tmp_path)
    settings = HfrAmeVisionFeatureExtractor(backend=f"hf:{tmp_path}").to_dict()
    ViTModel(config).save_pretrained(tmp_path)
    load_hub_model.cache_clear()
    extractor = HfrAmeVisionFeatureExtractor.from_dict(settings)
    with pytest.raises(
        ConfigError, match=r"must be the model that the features were made with .*; restore it, or prep"
    ):
        extractor.stream(5.0)


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("clip", "a feature backend is 'native' or 'hf:<id or path>', found 'clip'; correct the name"),
        ("hf:", "a feature backend is"),
        ("hf:no/such-model", r"must name a vision model with preprocessing that transformers loads, found hf:no/such"),
    ],
)
def test_backend_that_can_not_be_used_is_named(backend: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HfrAmeVisionFeatureExtractor(backend=backend)


def test_audio_model_for_vision_is_refused(wav2vec2: str) -> None:
    with pytest.raises(ConfigError, match="vision_backend must"):
        HfrAmeVisionFeatureExtractor(backend=wav2vec2)
