"""Small trees in each layout of published feature pickles."""

from collections import OrderedDict, defaultdict
from typing import Any

import numpy as np


def mmsa_tree() -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def split(num_rows: int) -> dict[str, Any]:
        audio = rng.standard_normal((num_rows, 6, 5))
        audio[0, 0, 0] = -np.inf
        return {
            "raw_text": [f"row {row} says “hm”" for row in range(num_rows)],
            "text": rng.standard_normal((num_rows, 4, 7)).astype(np.float32),
            "text_bert": rng.integers(0, 100, (num_rows, 3, 4)),
            "audio": audio,
            "vision": np.asfortranarray(rng.standard_normal((num_rows, 5, 3)).astype(">f4")),
            "audio_lengths": [6] * num_rows,
            "vision_lengths": np.full(num_rows, 5, np.int32),
            "id": np.array([f"video{row}$_${row}" for row in range(num_rows)]),
            "annotations": np.array(["Negative", None, "Positive"][:num_rows], dtype=object),
            "regression_labels": rng.uniform(-3, 3, num_rows),
            "classification_labels": [np.float64(1.0), np.int64(2), np.bool_(True)][:num_rows],
        }

    return {"train": split(3), "valid": split(1), "test": split(2)}


def mult_tree() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    split = {
        "text": rng.standard_normal((2, 4, 3)),
        "audio": rng.standard_normal((2, 4, 5)).astype(np.float32),
        "vision": rng.standard_normal((2, 4, 2)).transpose(1, 0, 2),
        "labels": rng.standard_normal((2, 1, 1)),
        "id": np.array([[b"v1", b"0.5", b"1.25"], [b"v2", b"1", b"2"]]),
    }
    return {"train": split, "valid": split, "test": dict(split)}


def misa_tree() -> list[Any]:
    rng = np.random.default_rng(2)
    words = np.array([5, 9, 2])
    return [
        (
            (words, rng.standard_normal((3, 47)), rng.standard_normal((3, 74)), ["one", "two", "one"]),
            np.array([[1.5]], np.float32),
            "video_3",
        )
    ] * 2


def mag_bert_tree() -> dict[str, list[Any]]:
    rng = np.random.default_rng(3)
    rows = [
        ((["so", "good"], rng.standard_normal((2, 47)), rng.standard_normal((2, 74))), 2.4, f"s{i}") for i in (1, 2)
    ]
    return {"train": rows, "dev": rows[:1], "test": []}


def assorted_tree() -> list[Any]:
    generator = np.random.default_rng(4)
    return [
        OrderedDict(b=1, a=[2]),
        defaultdict(list, {3: [4]}),
        {(1, ("x", frozenset([2]))): {5, 6}},
        bytearray(b"\x00\xff"),
        (b"", b"\x80", "", "é☃\U0001f600", "a\\b\nc"),
        [True, False, None, 0, 255, 256, 65535, 65536, -1, 2**31, -(2**63), 2**200, -(2**2000)],
        [0.0, -0.0, 1e308, float("inf"), float("-inf"), 3 - 4j],
        np.array(7.5),
        np.zeros((0, 4), np.int16),
        np.arange(5, dtype=np.uint8),
        np.array([True, False]),
        np.array([1 + 2j], np.complex64),
        np.array(["2020-01-02", "NaT"], "M8[D]"),
        np.array([5], "m8[25us]"),
        np.array([[1, [2]], [np.ones(2), "x"]], dtype=object, order="F"),
        generator.standard_normal((2, 3, 4)).transpose(2, 0, 1),
        generator.standard_normal((2, 6))[:, ::2],
        [
            np.float16(1.5),
            np.int8(-3),
            np.str_("né"),
            np.bytes_(b"ab\x00c"),
            np.complex128(1j),
            np.datetime64("2020", "Y"),
        ],
        generator.standard_normal(20_000),
        np.array(["word", "é" * 9] * 5000),
    ]


TREES = {
    "mmsa": mmsa_tree,
    "mult": mult_tree,
    "misa": misa_tree,
    "mag_bert": mag_bert_tree,
    "assorted": assorted_tree,
}
