"""What can be known from the synthetic talkers: explained variance with simple regressors, never with our models.

Two questions. How much of the label do the true latents and each modality's hand-made summary explain? And how much of
one modality's clean frames can a linear map read from the others at the same relative time, per frequency band? Not
covered: what a nonlinear reader could add.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modeling_hfr_ame.data.synthetic_talkers import (
    CARRIER_MIN_FREQUENCY,
    LABEL_GAIN,
    LABEL_WEIGHTS,
    Utterance,
    draw_utterance,
    event_curve,
)
from modeling_hfr_ame.data.synthetic_words import effective_polarities

Array = NDArray[np.float64]
BAND_EDGES: Final = {"low": (0.0, 0.125), "mid": (0.125, 0.375), "high": (0.375, 1.0)}
LOWPASS_CUTOFF: Final = 0.375
_RIDGE = 1.0  # frames: tens of thousands of rows for at most 17 inputs, so any small value does
_RIDGE_CANDIDATES = (
    1.0,
    10.0,
    100.0,
    1e3,
    1e4,
)  # utterances: chosen by leave-one-out; 300 word counts need a strong one


@dataclass(frozen=True)
class LabelRow:
    """What one set of features explains on the test split.

    Attributes:
        features: Name of the features.
        label_r2: R² of a ridge regression of the label; ≤ 1.
        label_mae: Its mean absolute error, in label units.
        latent_r2: R² for P, M and H; None where the features are the latents themselves.
    """

    features: str
    label_r2: float
    label_mae: float
    latent_r2: tuple[float, float, float] | None


@dataclass(frozen=True)
class RecoveryRow:
    """How much of one modality's frames a linear map reads from others.

    Attributes:
        target: Modality that is predicted.
        sources: Modalities that it is predicted from.
        band_r2: R² per band, in the order of `BAND_EDGES`.
        total_r2: R² over all bands together.
        band_energy: Share of the target's energy in each band; sums to 1.
    """

    target: str
    sources: str
    band_r2: tuple[float, ...]
    total_r2: float
    band_energy: tuple[float, ...]


def explain_labels(train: Sequence[Utterance], test: Sequence[Utterance]) -> list[LabelRow]:
    """Fits one ridge regression per feature set on `train` and scores it on `test`.

    Args:
        train: Training utterances.
        test: Test utterances.

    Returns:
        One row per feature set, the true latents first.
    """
    train, test = _standardised(train, test)
    link = np.array([3.0 * np.tanh(LABEL_GAIN * np.dot(LABEL_WEIGHTS, latents)) for latents in _latents(test)])
    labels = [item.label for item in test]
    rows = [
        LabelRow(
            "true P, M, H through the true link",
            float(r2_score(labels, link)),
            float(mean_absolute_error(labels, link)),
            None,
        ),
        _label_row("true P, M, H", _latents(train), _latents(test), train, test, with_latents=False),
    ]
    for index, name in enumerate("PMH"):
        column = slice(index, index + 1)
        rows.append(
            _label_row(
                f"true {name}",
                _latents(train)[:, column],
                _latents(test)[:, column],
                train,
                test,
                with_latents=False,
            )
        )
    counts = CountVectorizer(token_pattern=r"\S+").fit(" ".join(item.words) for item in train)
    bag = [counts.transform([" ".join(item.words) for item in part]).toarray() for part in (train, test)]
    rows.append(_label_row("text: word counts", bag[0], bag[1], train, test))
    for name, modalities, lowpass in (
        ("text: polarity sum", "t", False),
        ("audio", "a", False),
        ("vision", "v", False),
        ("audio + vision", "av", False),
        ("text + audio + vision", "tav", False),
        ("audio, low-passed", "a", True),
        ("vision, low-passed", "v", True),
        ("text + audio + vision, both low-passed", "tav", True),
    ):
        summaries = [_summaries(part, modalities, lowpass=lowpass) for part in (train, test)]
        rows.append(_label_row(name, summaries[0], summaries[1], train, test))
    return rows


def explain_frames(train: Sequence[Utterance], test: Sequence[Utterance]) -> list[RecoveryRow]:
    """Predicts the clean frames of audio and vision from the other modalities.

    Frames are standardised and turned into DCT coefficients along the clip. Order k is the same curve in relative time
    in every modality, so one linear map per band between coefficients of equal order is an instantaneous linear map at
    equal relative time. Text enters as the curve of its words' polarities.

    Args:
        train: Training utterances.
        test: Test utterances.

    Returns:
        Three rows per target: each other modality alone, then both.
    """
    train, test = _standardised(train, test)
    rows = []
    for target, other in (("audio", "vision"), ("vision", "audio")):
        for sources in ((other,), ("text",), ("text", other)):
            residual, total = np.zeros(len(BAND_EDGES)), np.zeros(len(BAND_EDGES))
            spectra = [[_spectra(item, target, sources) for item in part] for part in (train, test)]
            for band, (low, high) in enumerate(BAND_EDGES.values()):
                (x, y), (x_test, y_test) = (_stack_band(part, low, high) for part in spectra)
                # Standardised channels have no mean to fit, and an order above zero can't have one.
                predicted = Ridge(alpha=_RIDGE, fit_intercept=False).fit(x, y).predict(x_test)
                residual[band] = np.square(y_test - predicted).sum()
                total[band] = np.square(y_test).sum()
            rows.append(
                RecoveryRow(
                    target,
                    " + ".join(sources),
                    tuple(float(value) for value in 1.0 - residual / total),
                    float(1.0 - residual.sum() / total.sum()),
                    tuple(float(value) for value in total / total.sum()),
                )
            )
    return rows


def report_synthetic_talkers(seed: int = 0, *, num_train: int = 2400, num_test: int = 400) -> str:
    """Measures the dataset.

    Args:
        seed: Seed of the dataset.
        num_train: Number of training utterances; the first of the default split.
        num_test: Number of test utterances.

    Returns:
        Two Markdown tables.
    """
    train = [draw_utterance("train", index, seed=seed) for index in range(num_train)]
    test = [draw_utterance("test", index, seed=seed) for index in range(num_test)]
    lines = ["| features | label R² | label MAE | P | M | H |", "| --- | --- | --- | --- | --- | --- |"]
    for label in explain_labels(train, test):
        latents = ["" if label.latent_r2 is None else f"{value:.2f}" for value in label.latent_r2 or (0.0,) * 3]
        lines.append(f"| {label.features} | {label.label_r2:.2f} | {label.label_mae:.2f} | {' | '.join(latents)} |")
    lines += ["", "| frames of | read from | low | mid | high | all |", "| --- | --- | --- | --- | --- | --- |"]
    for frames in explain_frames(train, test):
        if "+" not in frames.sources and frames.sources != "text":
            energy = " | ".join(f"{value:.2f}" for value in frames.band_energy)
            lines.append(f"| {frames.target} | share of its energy | {energy} | 1.00 |")
        values = " | ".join(f"{value:.2f}" for value in (*frames.band_r2, frames.total_r2))
        lines.append(f"| {frames.target} | {frames.sources} | {values} |")
    return "\n".join(lines)


def contrast_feature(frames: NDArray[np.float32], *, lowpass: bool = False) -> float:
    """Measures the high-band energy contrast between the two channel groups.

    Args:
        frames: (frames, channels) standardised frames.
        lowpass: Remove the frequencies from `LOWPASS_CUTOFF` up before measuring.

    Returns:
        Log ratio of the energies of the first and the second half of the channels above the carrier's lowest frequency.
    """
    spectrum = scipy.fft.dct(_lowpassed(frames) if lowpass else frames, norm="ortho", axis=0)
    energy = np.square(spectrum[np.arange(len(frames)) / len(frames) > CARRIER_MIN_FREQUENCY]).sum(axis=0)
    half = frames.shape[1] // 2
    return float(np.log((energy[:half].sum() + 1e-6) / (energy[half:].sum() + 1e-6)))


def _label_row(
    name: str,
    x_train: Array,
    x_test: Array,
    train: Sequence[Utterance],
    test: Sequence[Utterance],
    *,
    with_latents: bool = True,
) -> LabelRow:
    targets = [np.column_stack([[item.label for item in part], _latents(part)]) for part in (train, test)]
    predicted = (
        make_pipeline(StandardScaler(), RidgeCV(_RIDGE_CANDIDATES, alpha_per_target=True))
        .fit(x_train, targets[0])
        .predict(x_test)
    )
    scores = r2_score(targets[1], predicted, multioutput="raw_values")
    return LabelRow(
        name,
        float(scores[0]),
        float(mean_absolute_error(targets[1][:, 0], predicted[:, 0])),
        (float(scores[1]), float(scores[2]), float(scores[3])) if with_latents else None,
    )


def _latents(part: Sequence[Utterance]) -> Array:
    return np.array([(item.polarity, item.mood, item.contrast) for item in part])


def _summaries(part: Sequence[Utterance], modalities: str, *, lowpass: bool) -> Array:
    """Stacks hand-made features: the polarity sum of text; channel means and contrast of audio and vision."""
    rows = []
    for item in part:
        row: list[float] = []
        if "t" in modalities:
            row.append(float(effective_polarities(item.words).sum()) / len(item.words) ** 0.5)
        for letter, frames in (("a", item.audio), ("v", item.vision)):
            if letter in modalities:
                row += [*frames.mean(axis=0), contrast_feature(frames, lowpass=lowpass)]
        rows.append(row)
    return np.array(rows)


def _standardised(train: Sequence[Utterance], test: Sequence[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
    """Scales both parts with the frame statistics of `train`."""
    audio = StandardScaler().fit(np.concatenate([item.audio for item in train]))
    vision = StandardScaler().fit(np.concatenate([item.vision for item in train]))
    scaled = [
        [replace(item, audio=audio.transform(item.audio), vision=vision.transform(item.vision)) for item in part]
        for part in (train, test)
    ]
    return scaled[0], scaled[1]


def _lowpassed(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    spectrum = scipy.fft.dct(frames, norm="ortho", axis=0)
    spectrum[np.arange(len(frames)) / len(frames) >= LOWPASS_CUTOFF] = 0.0
    return scipy.fft.idct(spectrum, norm="ortho", axis=0)


def _spectra(item: Utterance, target: str, sources: tuple[str, ...]) -> tuple[Array, Array, Array]:
    """Gives frequencies (orders,), and coefficients (orders, channels) of the sources and of the target."""
    wanted = getattr(item, target)
    curves: dict[str, Any] = {
        "audio": item.audio,
        "vision": item.vision,
        "text": event_curve(effective_polarities(item.words), len(wanted))[:, None],
    }
    read = [curves[source] for source in sources]
    orders = min(len(wanted), *(len(frames) for frames in read))
    # Dividing by √length makes the coefficient of a curve independent of the number of frames that sample it.
    spectra = [scipy.fft.dct(frames, norm="ortho", axis=0)[:orders] / len(frames) ** 0.5 for frames in (*read, wanted)]
    return np.arange(orders) / len(wanted), np.concatenate(spectra[:-1], axis=1), spectra[-1]


def _stack_band(part: list[tuple[Array, Array, Array]], low: float, high: float) -> tuple[Array, Array]:
    chosen = [(x[(f >= low) & (f < high)], y[(f >= low) & (f < high)]) for f, x, y in part]
    return np.concatenate([x for x, _ in chosen]), np.concatenate([y for _, y in chosen])
