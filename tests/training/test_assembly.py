import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate import PartialState

from modeling_hfr_ame.data import load_stored_dataset, read_manifest, stored_rows, write_stored_dataset
from modeling_hfr_ame.data.clip_features import ClipFeatureSpec
from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import AUDIO_FEATURE_NAMES
from modeling_hfr_ame.training import assembly, main
from modeling_hfr_ame.training.arguments import DataArguments
from modeling_hfr_ame.training.assembly import provide_dataset
from modeling_hfr_ame.training.run_record import last_checkpoint, read_json, write_json
from tests.hub.run_making import make_processor
from tests.training.tiny_run import tiny_run_words


def test_dataset_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.json"):
        provide_dataset(str(tmp_path), tmp_path, PartialState())


def test_split_without_any_wanted_modality_is_refused(talkers: Path, tmp_path: Path) -> None:
    splits = {name: list(stored_rows(load_stored_dataset(talkers, name))) for name in ("train", "validation")}
    for row in splits["validation"]:
        row["audio"] = None
    manifest = {key: read_manifest(talkers)[key] for key in ("builder", "builder_version", "label_range")}
    folder = write_stored_dataset(tmp_path / "data", splits, manifest, feature_sizes={"audio": 12, "vision": 16})
    with pytest.raises(DataError, match="validation split needs rows with a modality out of 'a', but none of its 8"):
        main(tiny_run_words(folder, tmp_path / "runs", "--seeds", "1", "--modalities", "a"))


def test_json_writes_numbers_that_json_lacks_as_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": math.nan, "y": [math.inf, 1.5], "z": {"w": -math.inf}})
    content = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert content == {"x": None, "y": [None, 1.5], "z": {"w": None}}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_json_cut_off_or_missing_reads_as_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"x": 1', encoding="utf-8")
    assert read_json(tmp_path / "a.json") is None
    assert read_json(tmp_path / "b.json") is None


def test_last_checkpoint_is_the_highest_complete_step(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for step, state in ((9, "{}"), (10, "{}"), (11, '{"cut'), (12, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state, encoding="utf-8")
    (tmp_path / "checkpoint-best").mkdir()
    found = last_checkpoint(tmp_path)
    assert found is not None
    assert found.name == "checkpoint-10"


def test_processor_keeps_the_rates_and_the_backends_of_the_data() -> None:
    # Prediction follows the processor; with the default rates it would sample other features than training saw.
    source: Any = SimpleNamespace(tokenizer=make_processor().tokenizer, config=None)
    names = {"audio": list(AUDIO_FEATURE_NAMES), "vision": ["vision_0", "vision_1"]}
    manifest = {
        "feature_sizes": {"audio": len(names["audio"]), "vision": 2},
        "feature_names": names,
        "feature_spec": {
            "audio": {"extractor": "HfrAmeAudioFeatureExtractor", "sampling_rate": 16000, "frame_rate_hz": 20.0},
            "vision": {"frame_rate_hz": 2.5, "backend": "hf:some/model", "backend_sha256": "0" * 64},
        },
    }
    processor = assembly._build_processor(DataArguments(), manifest, source)
    spec = ClipFeatureSpec.of_processor(processor)
    assert (spec.audio_frame_rate_hz, spec.video_frame_rate_hz) == (20.0, 2.5)
    assert (spec.audio_backend, spec.vision_backend) == ("native", "hf:some/model")
    assert spec.vision_backend_sha256 == "0" * 64
    assert processor.vision_feature_extractor.accepts_raw_signal
