"""The drawn examples."""

from pathlib import Path

import pytest

from modeling_hfr_ame.media import read_transcript
from modeling_hfr_ame.widget import ClipScorer
from modeling_hfr_ame.widget.example_clips import draw_example_clips


def test_examples_are_readable_clips_with_timed_words(scorer: ClipScorer, tmp_path: Path) -> None:
    examples = draw_example_clips(tmp_path)
    assert len({each.title for each in examples}) == len(examples) == 3
    assert [len(read_transcript(each.transcript)) for each in examples] == [9, 9, 40]
    clip = scorer.read(examples[0].video, transcript=examples[0].transcript)
    assert clip.states == {"text": "features", "audio": "features", "vision": "features"}
    assert clip.words is not None
    assert clip.words[-1].end_s == pytest.approx(clip.duration_s, abs=0.25)
