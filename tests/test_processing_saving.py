"""Save and load: through the Auto classes, and as remote code where the package is not installed."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoConfig, AutoFeatureExtractor, AutoProcessor, BertTokenizer, PreTrainedConfig

from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor
from modeling_hfr_ame.feature_extraction_hfr_ame_vision import HfrAmeVisionFeatureExtractor
from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "movie"]

# The finder makes the package absent even where it is installed.
REMOTE_CHILD = """
import hashlib, json, sys
import numpy as np

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "modeling_hfr_ame":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from transformers import AutoProcessor
folder, again = sys.argv[1:]
frames = np.load(folder + "/frames.npy")
digests = []
for source in (folder, again):
    processor = AutoProcessor.from_pretrained(source, trust_remote_code=True)
    batch = processor(text=["good movie", None], audio=[frames[:, :33], frames[:2, :33]], vision=[None, frames])
    digests.append(hashlib.sha256(b"".join(batch[k].numpy().tobytes() for k in sorted(batch))).hexdigest())
    wave = processor(audio=np.zeros(1600), sampling_rate=16000)
    assert wave["audio_values"].shape == (1, 1, 33)
    try:
        processor(text=" ")
    except ValueError as error:
        assert type(error).__name__ == "InputError", type(error)
    if source == folder:
        processor.save_pretrained(again)
print(json.dumps(digests))
"""


class StandInConfig(PreTrainedConfig):
    model_type = "hfr_ame_processor_test"


def _processor() -> HfrAmeProcessor:
    processor = HfrAmeProcessor(
        tokenizer=BertTokenizer(vocab={piece: index for index, piece in enumerate(PIECES)}),
        max_text_length=12,
        max_audio_length=34,
        max_vision_length=56,
    )
    rng = np.random.default_rng(0)
    processor.fit_scalers([{"audio": rng.normal(3, 1 / 3, (50, 33)), "vision": rng.normal(0, 1e-3, (50, 46))}])
    return processor


@pytest.fixture
def registered() -> None:
    """Registers the classes for a stand-in model type, as the package does for its own configuration."""
    AutoConfig.register(StandInConfig.model_type, StandInConfig, exist_ok=True)
    AutoProcessor.register(StandInConfig, HfrAmeProcessor, exist_ok=True)
    AutoFeatureExtractor.register(StandInConfig, HfrAmeAudioFeatureExtractor, exist_ok=True)


@pytest.mark.usefixtures("registered")
def test_auto_processor_round_trip_is_bit_exact(tmp_path: Path) -> None:
    processor = _processor()
    processor.save_pretrained(tmp_path)
    StandInConfig().save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is HfrAmeProcessor
    assert type(loaded.vision_feature_extractor) is HfrAmeVisionFeatureExtractor
    assert (loaded.max_text_length, loaded.max_audio_length, loaded.max_vision_length) == (12, 34, 56)
    assert loaded.to_dict() == processor.to_dict()
    frames = np.random.default_rng(1).normal(size=(40, 46))
    ours, theirs = (p(text="good", audio=frames[:, :33], vision=frames) for p in (processor, loaded))
    for name in ours:
        assert ours[name].numpy().tobytes() == theirs[name].numpy().tobytes(), name
    assert theirs["audio_values"].shape[1] == 34


@pytest.mark.usefixtures("registered")
def test_own_class_from_pretrained_equals_auto(tmp_path: Path) -> None:
    _processor().save_pretrained(tmp_path)
    assert HfrAmeProcessor.from_pretrained(tmp_path).to_dict() == _processor().to_dict()


def test_each_extractor_loads_alone_from_a_processors_folder(tmp_path: Path) -> None:
    processor = _processor()
    processor.save_pretrained(tmp_path)
    audio = HfrAmeAudioFeatureExtractor.from_pretrained(tmp_path)
    vision = HfrAmeVisionFeatureExtractor.from_pretrained(tmp_path, clip_value=2.0)
    assert audio.to_dict() == processor.feature_extractor.to_dict()
    assert vision.to_dict() == processor.vision_feature_extractor.to_dict() | {"clip_value": 2.0}


def test_vision_extractor_saved_alone_loads_again(tmp_path: Path) -> None:
    extractor = _processor().vision_feature_extractor
    extractor.save_pretrained(tmp_path)
    assert HfrAmeVisionFeatureExtractor.from_pretrained(tmp_path).to_dict() == extractor.to_dict()


def test_save_writes_one_processor_file_without_paths(tmp_path: Path) -> None:
    _processor().save_pretrained(tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["processor_config.json", "tokenizer.json", "tokenizer_config.json"]
    text = (tmp_path / "processor_config.json").read_text()
    assert str(tmp_path) not in text
    saved = json.loads(text)
    assert saved["processor_class"] == "HfrAmeProcessor"
    assert len(saved["feature_extractor"]["feature_mean"]) == 33


@pytest.mark.slow
def test_remote_code_without_the_package_gives_the_same_batch_and_saves_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, again, elsewhere = tmp_path / "model", tmp_path / "again", tmp_path / "elsewhere"
    for cls in (HfrAmeProcessor, HfrAmeAudioFeatureExtractor, HfrAmeVisionFeatureExtractor):
        monkeypatch.setattr(cls, "_auto_class", None)
    HfrAmeProcessor.register_for_auto_class()
    processor = _processor()
    processor.save_pretrained(folder)
    elsewhere.mkdir()
    frames = np.random.default_rng(1).normal(size=(5, 46))
    np.save(folder / "frames.npy", frames)
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    child = subprocess.run(
        [sys.executable, "-P", "-c", REMOTE_CHILD, str(folder), str(again)],
        cwd=elsewhere,
        env=inherited | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr
    batch = processor(text=["good movie", None], audio=[frames[:, :33], frames[:2, :33]], vision=[None, frames])
    expected = hashlib.sha256(b"".join(batch[k].numpy().tobytes() for k in sorted(batch))).hexdigest()
    assert json.loads(child.stdout.splitlines()[-1]) == [expected, expected]
    assert {path.name for path in again.glob("*.py")} == {path.name for path in folder.glob("*.py")}
