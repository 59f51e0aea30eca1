"""Example clips, drawn when the page starts: nobody was recorded."""

import json
from dataclasses import dataclass
from pathlib import Path

from modeling_hfr_ame.data.synthetic_clips import SyntheticClip, write_synthetic_clip

# Title, words, seed, talker. The seeds were picked by the generator's own label: high, low, and one that changes.
_DRAWN = (
    ("Bright talker", "bright_talker", 9, 4, 3),
    ("Gloomy talker", "gloomy_talker", 9, 21, 1),
    ("Longer talk", "longer_talk", 40, 24, 2),
)
EXAMPLE_TEXT = "the story is slow but the end is wonderful"


@dataclass(frozen=True)
class ExampleClip:
    """One drawn clip.

    Attributes:
        title: Name for its button.
        video: The file.
        transcript: Its made-up words with their times, as JSON.
    """

    title: str
    video: Path
    transcript: Path


def draw_example_clips(folder: Path) -> list[ExampleClip]:
    """Draws the examples.

    Args:
        folder: An existing folder.

    Raises:
        MediaError: PyAV or OpenCV is not installed.
    """
    examples = []
    for title, name, num_words, seed, talker in _DRAWN:
        clip = write_synthetic_clip(folder / f"{name}.mp4", num_words, seed=seed, talker=talker)
        transcript = folder / f"{name}.json"
        transcript.write_text(json.dumps({"words": _timed_words(clip)}) + "\n", encoding="utf-8")
        examples.append(ExampleClip(title, clip.path, transcript))
    return examples


def _timed_words(clip: SyntheticClip) -> list[dict[str, object]]:
    return [
        {"text": word, "start_s": round(index * clip.word_s, 3), "end_s": round((index + 1) * clip.word_s, 3)}
        for index, word in enumerate(clip.words)
    ]
