"""Audio features against signals whose properties are known and against computations that are not ours."""

import time

import numpy as np
import pytest
import scipy.signal
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from modeling_hfr_ame import feature_extraction_hfr_ame_audio as audio_module
from modeling_hfr_ame.errors import ConfigError, InputError
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import (
    AUDIO_FEATURE_NAMES,
    NUM_MEL_BANDS,
    HfrAmeAudioFeatureExtractor,
    is_silent,
)

RATE = 16000
EXTRACTOR = HfrAmeAudioFeatureExtractor()


def _time(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * RATE)) / RATE


def _harmonic(f0: float, seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    t = _time(seconds)
    return sum(level / k * np.sin(2 * np.pi * f0 * k * t + k) for k in range(1, 8))


def _feature(frames: np.ndarray, name: str) -> np.ndarray:
    return frames[:, AUDIO_FEATURE_NAMES.index(name)]


@pytest.mark.parametrize("f0", [70.0, 123.4, 200.0, 390.0])
@pytest.mark.parametrize("shape", ["sine", "harmonic", "square"])
def test_pitch_periodic_signal_is_found_within_two_percent(f0: float, shape: str) -> None:
    sine = 0.2 * np.sin(2 * np.pi * f0 * _time(1.0))
    wave = {"sine": sine, "harmonic": _harmonic(f0), "square": 0.1 * scipy.signal.square(2 * np.pi * f0 * _time(1.0))}
    frames = EXTRACTOR.extract(wave[shape], RATE)
    np.testing.assert_allclose(np.exp(_feature(frames, "log_f0_mean")[1:-1]), f0, rtol=0.02)
    assert (_feature(frames, "voiced_fraction")[1:-1] == 1).all()
    assert (_feature(frames, "log_f0_std")[1:-1] < 0.02).all()


def test_pitch_chirp_is_followed() -> None:
    t = _time(2.0)
    wave = 0.3 * scipy.signal.chirp(t, f0=100, t1=2.0, f1=300)
    pitch = np.exp(_feature(EXTRACTOR.extract(wave, RATE), "log_f0_mean"))
    centres = 0.05 + 0.1 * np.arange(20)
    np.testing.assert_allclose(pitch[1:-1], (100 + 100 * centres)[1:-1], rtol=0.03)


def test_pitch_noise_is_unvoiced_with_log_f0_zero() -> None:
    frames = EXTRACTOR.extract(np.random.default_rng(0).normal(0, 0.1, RATE * 5), RATE)
    assert _feature(frames, "voiced_fraction").mean() < 0.02
    assert not _feature(frames, "log_f0_mean")[_feature(frames, "voiced_fraction") == 0].any()


@pytest.mark.parametrize("frequency", [500.0, 1500.0, 4000.0, 7000.0])
def test_log_mel_tone_peaks_in_its_band(frequency: float) -> None:
    frames = EXTRACTOR.extract(0.3 * np.sin(2 * np.pi * frequency * _time(0.5)), RATE)
    filters = mel_filter_bank(257, NUM_MEL_BANDS, 0.0, RATE / 2, RATE)
    expected = filters[round(frequency / RATE * 512)].argmax()
    assert (frames[1:-1, :NUM_MEL_BANDS].argmax(axis=1) == expected).all()
    np.testing.assert_allclose(_feature(frames, "spectral_centroid_khz")[1:-1], frequency / 1000, rtol=0.02)
    np.testing.assert_allclose(_feature(frames, "zero_crossing_rate")[1:-1], 2 * frequency / RATE, rtol=0.02)


def test_log_mel_noise_equals_transformers_spectrogram() -> None:
    wave = np.random.default_rng(1).normal(0, 0.1, RATE)
    oracle = spectrogram(
        wave[4 * 160 + 80 - 200 :],  # the first window of the oracle is then our sub-frame number 4
        window_function(400, "hann"),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        mel_filters=mel_filter_bank(257, NUM_MEL_BANDS, 0.0, RATE / 2, RATE),
        log_mel="log",
    )
    ours = EXTRACTOR.extract(wave, RATE)[1, :NUM_MEL_BANDS]
    np.testing.assert_allclose(ours, oracle[:, 6:16].mean(axis=1), rtol=1e-5, atol=1e-5)


def test_energy_steps_follow_the_amplitude() -> None:
    wave = np.random.default_rng(2).normal(0, 0.01, RATE)
    wave[RATE // 2 :] *= 10
    energy = _feature(EXTRACTOR.extract(wave, RATE), "log_energy_mean")
    assert np.median(energy[6:]) - np.median(energy[:4]) == pytest.approx(np.log(100), abs=0.1)
    assert energy[1] == pytest.approx(np.log(np.mean(wave[1600:3200] ** 2)), abs=0.2)


@pytest.mark.parametrize("num_samples", [1, 2, 79, 81, 161, 1599])
def test_extract_very_short_waveform_gives_one_finite_frame(num_samples: int) -> None:
    frames = EXTRACTOR.extract(np.full(num_samples, 0.1), RATE)
    assert frames.shape == (1, len(AUDIO_FEATURE_NAMES))
    assert np.isfinite(frames).all()


@pytest.mark.parametrize(
    ("seconds", "rate_hz", "expected"), [(1.0, 10, 10), (1.06, 10, 11), (2.0, 25, 50), (1.0, 3, 3)]
)
def test_extract_number_of_frames_follows_the_rate(seconds: float, rate_hz: float, expected: int) -> None:
    extractor = HfrAmeAudioFeatureExtractor(frame_rate_hz=rate_hz)
    assert extractor.extract(_harmonic(150, seconds), RATE).shape == (expected, 33)


def test_extract_digital_silence_is_finite_unvoiced_and_marked() -> None:
    silence = np.zeros(RATE)
    frames = EXTRACTOR.extract(silence, RATE)
    assert np.isfinite(frames).all()
    assert frames.any(axis=1).all()
    for name in ("voiced_fraction", "voicing_strength", "zero_crossing_rate", "log_energy_std", "spectral_flux"):
        np.testing.assert_allclose(_feature(frames, name), 0.0, atol=1e-12)
    assert is_silent(silence)


def test_extract_all_zero_but_one_step_of_16_bits_is_finite() -> None:
    wave = np.zeros(RATE)
    wave[5000] = 1 / 32768
    assert np.isfinite(EXTRACTOR.extract(wave, RATE)).all()


def test_extract_long_waveform_does_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = _harmonic(180, 3.0) + np.random.default_rng(4).normal(0, 0.01, 3 * RATE)
    whole = EXTRACTOR.extract(wave, RATE)
    monkeypatch.setattr(audio_module, "_CHUNK", 37)
    np.testing.assert_allclose(EXTRACTOR.extract(wave, RATE), whole, rtol=1e-6, atol=1e-6)


def test_extract_int16_and_torch_equal_float_numpy() -> None:
    pcm = (_harmonic(150) * 20000).astype(np.int16)
    expected = EXTRACTOR.extract(pcm / 32768, RATE)
    np.testing.assert_array_equal(EXTRACTOR.extract(pcm, RATE), expected)
    np.testing.assert_array_equal(EXTRACTOR.extract(torch.from_numpy(pcm / 32768), RATE), expected)


def test_extract_precomputed_frames_pass_through() -> None:
    frames = np.random.default_rng(0).normal(size=(7, 74))
    result = HfrAmeAudioFeatureExtractor(feature_size=74).extract(frames)
    np.testing.assert_array_equal(result, frames.astype(np.float32))


def test_extract_one_core_is_much_faster_than_real_time() -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 20 * RATE)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        EXTRACTOR.extract(wave, RATE)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 20 / 50


@pytest.mark.parametrize(
    ("wave", "expected"),
    [(np.zeros(0), True), (np.full(9, 1 / 32768), True), (np.full(9, 2 / 32768), False), (np.int16([0, 1, 0]), True)],
)
def test_is_silent_around_one_step_of_16_bits(wave: np.ndarray, expected: bool) -> None:
    assert is_silent(wave) is expected


@pytest.mark.parametrize(
    ("wave", "rate", "message"),
    [
        (np.zeros(100), None, "a waveform needs sampling_rate=16000; found None. State the rate"),
        (np.zeros(100), 44100, "found 44100. State the rate, and resample"),
        (
            np.array([0.0, np.nan, np.inf, 0.1]),
            RATE,
            "must be finite; found 2 NaN or infinite of 4. Decode the file again",
        ),
        (np.zeros(0), RATE, r"at least one sample; found shape \(0,\)"),
        (np.array([32000.0, -5.0]), RATE, r"about \[-1, 1\]; found 3.2e\+04. Divide 16-bit samples by 32768"),
        (np.array(["a"]), RATE, "1-D float or signed integer array"),
        (np.zeros((100, 2)), RATE, "audio feature width 2 does not match the model's 33"),
    ],
)
def test_extract_bad_waveform_raises(wave: np.ndarray, rate: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        EXTRACTOR.extract(wave, rate)


def test_extract_waveform_for_precomputed_model_raises() -> None:
    with pytest.raises(InputError, match="takes 33 precomputed audio features and can't compute them from a waveform"):
        HfrAmeAudioFeatureExtractor(feature_size=33).extract(np.zeros(100), RATE)


@pytest.mark.parametrize("settings", [{"sampling_rate": 4000}, {"frame_rate_hz": 200.0}])
def test_config_rate_out_of_range_raises(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="sampling_rate must be at least 8000 Hz and frame_rate_hz at most 100"):
        HfrAmeAudioFeatureExtractor(**settings)  # type: ignore[arg-type]
