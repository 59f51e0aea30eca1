"""Small files in the layouts that the field's pickles have, made of random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

AUDIO, VISION, STEPS = 5, 20, 8


def mmsa_split(num_rows: int, *, seed: int, aligned: bool, prefix: str = "vid", sims: bool = False) -> dict[str, Any]:
    """One split of an MMSA pickle; row i has i % 4 + 2 words."""
    draws = np.random.default_rng(seed)
    words = [index % 4 + 2 for index in range(num_rows)]
    text_bert = np.zeros((num_rows, 3, STEPS), dtype=np.int64)
    audio_length, vision_length = (STEPS, STEPS) if aligned else (12, 15)
    audio = np.zeros((num_rows, audio_length, AUDIO), dtype=np.float32)
    vision = np.zeros((num_rows, vision_length, VISION), dtype=np.float32)
    audio_lengths, vision_lengths = [], []
    for index, number in enumerate(words):
        text_bert[index, 0, : number + 2] = [101, *range(1000, 1000 + number), 102]
        text_bert[index, 1, : number + 2] = 1
        first = 1 if aligned else 0
        audio_lengths.append(number if aligned else number + 3)
        vision_lengths.append(number if aligned else number + 5)
        audio[index, first : first + audio_lengths[-1]] = draws.normal(size=(audio_lengths[-1], AUDIO))
        vision[index, first : first + vision_lengths[-1]] = draws.normal(size=(vision_lengths[-1], VISION))
    scale = 1.0 if sims else 3.0
    labels = np.round(draws.uniform(-scale, scale, num_rows), 1).astype(np.float32)
    labels[0] = scale
    split: dict[str, Any] = {
        "raw_text": np.array([" ".join(["word"] * number) for number in words]),
        "text": draws.normal(size=(num_rows, STEPS, 6)).astype(np.float32),
        "text_bert": text_bert,
        "audio": audio,
        "vision": vision,
        "id": np.array([f"{prefix}{index // 3}$_${index % 3 + 1}" for index in range(num_rows)]),
        "annotations": ["Positive" if label > 0 else "Negative" for label in labels],
        "classification_labels": [int(label > 0) * 2 for label in labels],
        "regression_labels": labels,
    }
    if not aligned:
        split |= {"audio_lengths": audio_lengths, "vision_lengths": vision_lengths}
    if sims:
        for letter in "TAV":
            split[f"regression_labels_{letter}"] = np.round(draws.uniform(-1, 1, num_rows), 1).astype(np.float32)
    return split


def mmsa_tree(*, aligned: bool = False, sims: bool = False) -> dict[str, Any]:
    """A whole MMSA pickle with 9, 3 and 5 rows."""
    return {
        name: mmsa_split(rows, seed=rows, aligned=aligned, prefix=name, sims=sims)
        for name, rows in (("train", 9), ("valid", 3), ("test", 5))
    }


def mult_tree(*, aligned: bool = True) -> dict[str, Any]:
    """A MulT pickle: front padding, no words."""
    tree = {}
    for name, rows in (("train", 6), ("valid", 2), ("test", 3)):
        draws = np.random.default_rng(rows)
        lengths = {"text": STEPS, "audio": STEPS if aligned else 12, "vision": STEPS if aligned else 15}
        widths = {"text": 7, "audio": AUDIO, "vision": VISION}
        split: dict[str, Any] = {
            key: np.zeros((rows, lengths[key], widths[key]), dtype=np.float32) for key in ("text", "audio", "vision")
        }
        for index in range(rows):
            valid = index % 3 + 2
            for key in split:
                split[key][index, -valid:] = draws.normal(size=(valid, widths[key]))
        split["labels"] = draws.uniform(-3, 3, (rows, 1, 1)).astype(np.float32)
        split["id"] = np.array([[f"{name}{index}".encode(), b"1.5", b"3.25"] for index in range(rows)])
        tree[name] = split
    return tree


def sample_list(num_rows: int, name: str, *, misa: bool) -> list[Any]:
    """One split of MISA (`misa`) or MAG-BERT."""
    draws = np.random.default_rng(num_rows)
    samples = []
    for index in range(num_rows):
        words = ["so", "good", "really", "bad"][: index % 3 + 2]
        vision = draws.normal(size=(len(words), 47)).astype(np.float32)
        audio = draws.normal(size=(len(words), 74)).astype(np.float32)
        label = np.array([[round(draws.uniform(-3, 3), 1)]], dtype=np.float32)
        content = (np.arange(len(words)), vision, audio, words) if misa else (words, vision, audio)
        samples.append((content, label, f"{name}{index // 2}[{index % 2}]"))
    return samples
