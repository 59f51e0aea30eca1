"""Words of a recording from a speech recognition model that the user names; nothing is downloaded unless it is named.

- Only stretches with sound reach the model: recognisers invent words where nothing is said. The gate is one of level,
  not of speech, so music passes it.
- Words carry times: of each word where the model gives them (CTC; Whisper with alignment heads), else of the phrase or
  the stretch, shared among its words by letters.
- A confidence is kept where the model's output has one: for CTC the mean probability of the best symbol over the word.

What is heard is not what was said: a recogniser damages text as the `asr` corruption imitates.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from modeling_hfr_ame.errors import ConfigError, DataError, InputError
from modeling_hfr_ame.media.transcripts import TimedWord, share_span

_FRAME_S = 0.02
_LOWEST_DB, _BELOW_PEAK_DB = -55.0, 35.0
_MIN_SOUND_S, _MIN_PAUSE_S, _MARGIN_S = 0.15, 0.6, 0.2
_MAX_STRETCH_S = 28.0  # Whisper reads 30 s at a time


def find_sound(waveform: np.ndarray, sampling_rate: int) -> list[tuple[float, float]]:
    """Finds the stretches of a recording that aren't quiet.

    Args:
        waveform: (n,) float mono samples in about [-1, 1].
        sampling_rate: Samples per second.

    Returns:
        Start and end in seconds, ascending, each at most 28 s long. Quiet is what lies below −55 dB of full scale or
        35 dB below the loudest frame of 20 ms; pauses below 0.6 s are bridged, and 0.2 s are kept on either side.
    """
    size = max(1, round(_FRAME_S * sampling_rate))
    frames = waveform[: len(waveform) // size * size].reshape(-1, size).astype(np.float64)
    if not len(frames):
        return []
    level_db = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    edges = np.diff((level_db > max(_LOWEST_DB, level_db.max() - _BELOW_PEAK_DB)).astype(int), prepend=0, append=0)
    runs: list[list[int]] = []
    for start, end in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
        if runs and (start - runs[-1][1]) * _FRAME_S < _MIN_PAUSE_S:
            runs[-1][1] = end
        else:
            runs.append([start, end])
    margin, length_s = round(_MARGIN_S / _FRAME_S), len(waveform) / sampling_rate
    stretches = []
    for start, end in runs:
        if (end - start) * _FRAME_S >= _MIN_SOUND_S:
            for first, last in _split(level_db, max(0, start - margin), min(len(frames), end + margin)):
                stretches.append((first * _FRAME_S, min(last * _FRAME_S, length_s)))
    return stretches


def _split(level_db: np.ndarray, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cuts what is too long where it is quietest."""
    longest = int(_MAX_STRETCH_S / _FRAME_S)
    while end - start > longest:
        middle = start + longest // 2
        cut = middle + int(np.argmin(level_db[middle : start + longest]))
        yield start, cut
        start = cut
    yield start, end


class SpeechRecogniser:
    """Hears words with transformers' pipeline.

    Args:
        model: Folder or Hub id of a speech recognition model, or a pipeline `automatic-speech-recognition`.
        device: Where to run; None = the CPU.

    Raises:
        DataError: No such model can be loaded.
    """

    def __init__(self, model: Any, device: Any = None) -> None:
        self.name = str(model) if isinstance(model, str | Path) else type(getattr(model, "model", model)).__name__
        self._pipeline = _load(str(model), device) if isinstance(model, str | Path) else model
        self._kind: str = getattr(self._pipeline, "type", "")
        self._logits: Any = None

    @property
    def sampling_rate(self) -> int:
        """Samples per second that the model takes."""
        return int(self._pipeline.feature_extractor.sampling_rate)

    def words(self, waveform: np.ndarray, sampling_rate: int) -> tuple[TimedWord, ...]:
        """Hears a recording.

        Args:
            waveform: (n,) float mono samples.
            sampling_rate: Must be the model's.

        Returns:
            The words, in order; empty where nothing but quiet is there.

        Raises:
            ConfigError: The rate is another one.
            InputError: The model fails on the recording.
        """
        if sampling_rate != self.sampling_rate:
            raise ConfigError(
                f"the recogniser {self.name} takes {self.sampling_rate} samples per second, found {sampling_rate}; "
                "resample the waveform"
            )
        words: list[TimedWord] = []
        for start_s, end_s in find_sound(waveform, sampling_rate):
            samples = waveform[round(start_s * sampling_rate) : round(end_s * sampling_rate)]
            words.extend(self._hear(np.ascontiguousarray(samples, dtype=np.float32), start_s, end_s))
        return tuple(words)

    def _hear(self, samples: np.ndarray, start_s: float, end_s: float) -> Iterator[TimedWord]:
        options = {} if (stamps := self._stamps()) is None else {"return_timestamps": stamps}
        hook = self._watch_logits()
        try:
            heard = self._pipeline({"raw": samples, "sampling_rate": self.sampling_rate}, **options)
        except (ValueError, RuntimeError, IndexError) as error:
            raise InputError(
                f"the recogniser {self.name} must take {end_s - start_s:.1f} s of sound, it failed: {error!r:.200}; "
                "use another model, or give a transcript"
            ) from error
        finally:
            if hook is not None:
                hook.remove()
        chunks = heard.get("chunks") or [{"text": heard["text"], "timestamp": (0.0, end_s - start_s)}]
        for chunk in chunks:
            first, last = chunk["timestamp"]
            from_s = min(start_s + max(float(first or 0.0), 0.0), end_s)
            until_s = end_s if last is None else min(max(start_s + float(last), from_s), end_s)
            confidence = self._confidence(
                (from_s - start_s) / (end_s - start_s), (until_s - start_s) / (end_s - start_s)
            )
            for word in share_span(chunk["text"], from_s, until_s):
                yield replace(word, confidence=confidence)

    def _stamps(self) -> str | bool | None:
        """The finest times that the model has."""
        if self._kind in ("ctc", "ctc_with_lm"):
            return "word"
        if self._kind != "seq2seq_whisper":
            return None
        settings = getattr(getattr(self._pipeline, "model", None), "generation_config", None)
        return "word" if getattr(settings, "alignment_heads", None) else True

    def _watch_logits(self) -> Any:
        """Keeps the logits of a CTC model, which the pipeline throws away."""
        self._logits = None
        if self._kind != "ctc":
            return None

        def keep(module: Any, inputs: Any, output: Any) -> None:
            self._logits = output.logits[0].detach().float().cpu()

        return self._pipeline.model.register_forward_hook(keep)

    def _confidence(self, first: float, last: float) -> float | None:
        """Mean probability of the best symbol between two shares of the stretch."""
        if self._logits is None:
            return None
        best = self._logits.softmax(-1).amax(-1)
        start = min(int(first * len(best)), len(best) - 1)
        return float(best[start : max(start + 1, round(last * len(best)))].mean())


def _load(name: str, device: Any) -> Any:
    from transformers import pipeline

    try:
        return pipeline("automatic-speech-recognition", model=name, device=device or "cpu")
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise DataError(
            f"a speech recogniser must be a model that transformers' pipeline loads, {name} is not: {error!r:.300}; "
            "pass a folder or a Hub id such as a Whisper or Wav2Vec2 model"
        ) from error
