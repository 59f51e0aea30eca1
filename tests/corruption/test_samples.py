import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modeling_hfr_ame.corruption import (
    PROTOCOL_VERSION,
    CorruptedSample,
    CorruptionRecipe,
    SampleKey,
    TrainingMix,
    corrupt_frames,
    corrupt_sample,
    corrupt_words,
)
from modeling_hfr_ame.errors import DataError, InputError

HERE = Path(__file__).parent
WORDS = [f"word{index}" for index in range(12)]
MakeFrames = Callable[..., np.ndarray]


def corrupt(name: str, make_frames: MakeFrames, key: SampleKey) -> CorruptedSample:
    return corrupt_sample(WORDS, make_frames(20), make_frames(15, 3), CorruptionRecipe.from_name(name), key)


def test_corrupt_sample_clean_returns_copies(make_frames: MakeFrames, key: SampleKey) -> None:
    audio, vision = make_frames(20), make_frames(15, 3)
    sample = corrupt_sample(WORDS, audio, vision, CorruptionRecipe.from_name("clean"), key)
    assert sample.words == WORDS
    assert sample.source_index is not None
    assert sample.source_index.tolist() == list(range(12))
    for result, given in ((sample.audio, audio), (sample.vision, vision)):
        assert result is not None
        assert result.tobytes() == given.tobytes()
        assert not np.shares_memory(result, given)
    assert sample.severity.tolist() == [0.0, 0.0, 0.0]
    assert sample.present.tolist() == [True, True, True]


def test_corrupt_sample_equals_the_single_functions(make_frames: MakeFrames, key: SampleKey) -> None:
    sample = corrupt("drop-0.5", make_frames, key)
    drop = CorruptionRecipe.from_name("drop-0.5").corruption
    assert sample.words == corrupt_words(WORDS, drop, key)[0]
    np.testing.assert_array_equal(sample.audio, corrupt_frames(make_frames(20), drop, key, "audio"))
    np.testing.assert_array_equal(sample.vision, corrupt_frames(make_frames(15, 3), drop, key, "vision"))
    assert sample.severity.dtype == np.float32
    assert sample.severity.tolist() == [0.5, 0.5, 0.5]


def test_corrupt_sample_ladder_severity_is_level_over_five(make_frames: MakeFrames, key: SampleKey) -> None:
    severity = corrupt("noise-3-vision", make_frames, key).severity
    np.testing.assert_allclose(severity, [0.0, 0.0, 0.6])


def test_corrupt_sample_missing_modality_becomes_none(make_frames: MakeFrames, key: SampleKey) -> None:
    sample = corrupt("missing-text-vision", make_frames, key)
    assert (sample.words, sample.source_index, sample.vision) == (None, None, None)
    assert sample.audio is not None
    assert sample.severity.tolist() == [1.0, 0.0, 1.0]
    assert sample.present.tolist() == [False, True, False]


def test_corrupt_sample_absent_modality_stays_absent_unsevere(make_frames: MakeFrames, key: SampleKey) -> None:
    sample = corrupt_sample(None, make_frames(5), None, CorruptionRecipe.from_name("drop-0.5"), key)
    assert (sample.words, sample.vision) == (None, None)
    assert sample.severity.tolist() == [0.0, 0.5, 0.0]
    assert sample.present.tolist() == [False, True, False]


def test_corrupt_sample_last_modality_removed_is_kept_clean(make_frames: MakeFrames, key: SampleKey) -> None:
    sample = corrupt_sample(WORDS, None, None, CorruptionRecipe.from_name("missing-text"), key)
    assert sample.words == WORDS
    assert sample.severity.tolist() == [0.0, 0.0, 0.0]
    assert sample.present.tolist() == [True, False, False]


def test_corrupt_sample_training_mix_always_leaves_a_modality(make_frames: MakeFrames, key: SampleKey) -> None:
    audio, vision, mix = make_frames(6), make_frames(4, 3), TrainingMix("mix")
    present, kept_text = [], []
    for index in range(600):
        one = dataclasses.replace(key, sample_id=str(index), epoch=0)
        present.append(corrupt_sample(WORDS, audio, vision, mix, one, frozenset(WORDS)).present)
        kept_text.append(corrupt_sample(WORDS, None, None, mix, one, frozenset(WORDS)).present[0])
    assert np.array(present).any(axis=1).all()
    assert not np.array(present).all()
    assert all(kept_text)


def test_corrupt_sample_no_modality_raises(key: SampleKey) -> None:
    with pytest.raises(InputError, match="at least one of text, audio, vision, found none; leave it out"):
        corrupt_sample(None, None, None, TrainingMix("clean"), key)


def test_corrupt_sample_asr_without_vocabulary_raises(key: SampleKey) -> None:
    with pytest.raises(DataError, match="found vocabulary None"):
        corrupt_sample(WORDS, None, None, CorruptionRecipe.from_name("asr-0.3"), key)


def run_fingerprint(hash_seed: str, *arguments: str) -> dict:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(HERE.parent.parent)}
    command = [sys.executable, "-W", "error", str(HERE / "fingerprint.py"), *arguments]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


@pytest.fixture(scope="module")
def fingerprint() -> dict:
    return run_fingerprint("1")


def test_corruption_other_process_and_order_gives_same_bytes(fingerprint: dict) -> None:
    assert run_fingerprint("4242", "--reverse") == fingerprint


def test_corruption_bytes_match_the_pinned_hashes(fingerprint: dict) -> None:
    # a difference means other data for the same recipe name: raise PROTOCOL_VERSION first, then pin anew
    pinned = json.loads((HERE / "pinned_hashes.json").read_text())
    assert pinned["protocol_version"] == PROTOCOL_VERSION
    assert fingerprint["sha256"] == pinned["sha256"]


def test_corruption_recipes_have_hashes_of_their_own(fingerprint: dict) -> None:
    hashes = fingerprint["sha256"]
    assert len(set(hashes.values())) == len(hashes) > 20
