"""Hints without a model: sentences from a polarity lexicon and from feature columns with a known meaning.

This is the honest baseline for the question whether a large model's hints are needed, and what tests use. It is
deterministic, reads no label unless `paper_protocol` shows one, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.prompts.feature_descriptions import (
    ColumnScale,
    Deviation,
    NamedColumn,
    find_deviations,
    find_named_columns,
    fit_scales,
)
from modeling_hfr_ame.prompts.generator import Answer, PromptGenerator, PromptRequest
from modeling_hfr_ame.prompts.polarity_lexicon import LEXICONS, PolarWord, find_polar_words, polarity_of
from modeling_hfr_ame.prompts.rows import TRAINING_SPLIT, sha256_of

_REVISION: Final = "1"
_MAX_WORDS: Final = 5
_DEGREES: Final = (2.0, 1.0, 0.25)

_SENTENCES: Final[dict[str, dict[str, str]]] = {
    "en": {
        "heading_language": "Language: ",
        "heading_vision": "Vision: ",
        "heading_audio": "Audio: ",
        "overall": "the wording is {degree}.",
        "signs": " Words that carry it: {words}.",
        "negated": "not {word}",
        "strengthened": "very {word}",
        "mixed": " Approval and disapproval both occur.",
        "contrast": " After a contrast the wording is {degree}.",
        "no_signs": "the wording has no word of clear approval or disapproval.",
        "no_words": "what is said is not known.",
        "no_deviation": "nothing differs from the usual.",
        "label": "\nThe annotated rating is {label}.",
        "joint": ", ",
        "end": ".",
        "degree_3": "strongly {side}",
        "degree_2": "{side}",
        "degree_1": "slightly {side}",
        "degree_0": "balanced",
        "positive": "positive",
        "negative": "negative",
        "level_2": "{what} clearly higher than usual",
        "level_1": "{what} higher than usual",
        "level_-1": "{what} lower than usual",
        "level_-2": "{what} clearly lower than usual",
        "pitch": "pitch",
        "pitch_movement": "pitch movement",
        "loudness": "loudness",
        "loudness_changes": "changes of loudness",
        "voiced_share": "share of voiced sound",
        "brightness": "brightness of the voice",
        "liveliness": "liveliness of the sound",
        "jitter": "roughness of the pitch",
        "shimmer": "roughness of the loudness",
        "inner_brow_raise": "raising of the inner brows",
        "outer_brow_raise": "raising of the outer brows",
        "brow_lowering": "lowering of the brows",
        "cheek_raise": "raising of the cheeks",
        "lid_tightening": "tightening of the eyelids",
        "nose_wrinkle": "wrinkling of the nose",
        "upper_lip_raise": "raising of the upper lip",
        "smile": "smiling",
        "dimpler": "pressing of the mouth corners",
        "mouth_corners_down": "pulling down of the mouth corners",
        "chin_raise": "raising of the chin",
        "lip_stretch": "stretching of the lips",
        "lip_tightening": "tightening of the lips",
        "lips_apart": "parting of the lips",
        "jaw_drop": "opening of the mouth",
        "blink": "blinking",
        "face_motion": "movement of the face",
        "closeness": "closeness to the camera",
    },
    "zh": {
        "heading_language": "语言：",
        "heading_vision": "视觉：",
        "heading_audio": "声音：",
        "overall": "措辞{degree}。",
        "signs": "体现这一点的词语：{words}。",
        "negated": "不{word}",
        "strengthened": "很{word}",
        "mixed": "赞成与反对的词语都有。",
        "contrast": "转折之后措辞{degree}。",
        "no_signs": "措辞中没有明显的赞成或反对。",
        "no_words": "说话内容未知。",
        "no_deviation": "与平常没有差别。",
        "label": "\n标注评分为{label}。",
        "joint": "，",
        "end": "。",
        "degree_3": "强烈{side}",
        "degree_2": "{side}",
        "degree_1": "略微{side}",
        "degree_0": "中性",
        "positive": "积极",
        "negative": "消极",
        "level_2": "{what}明显高于平常",
        "level_1": "{what}高于平常",
        "level_-1": "{what}低于平常",
        "level_-2": "{what}明显低于平常",
        "pitch": "音高",
        "pitch_movement": "音高变化",
        "loudness": "音量",
        "loudness_changes": "音量变化",
        "voiced_share": "有声部分的比例",
        "brightness": "音色亮度",
        "liveliness": "声音的活跃程度",
        "jitter": "音高的不稳定",
        "shimmer": "音量的不稳定",
        "inner_brow_raise": "眉头上抬",
        "outer_brow_raise": "眉尾上抬",
        "brow_lowering": "皱眉",
        "cheek_raise": "脸颊上抬",
        "lid_tightening": "眼睑收紧",
        "nose_wrinkle": "皱鼻",
        "upper_lip_raise": "上唇上抬",
        "smile": "微笑",
        "dimpler": "嘴角收紧",
        "mouth_corners_down": "嘴角下拉",
        "chin_raise": "下巴上抬",
        "lip_stretch": "嘴唇拉伸",
        "lip_tightening": "嘴唇收紧",
        "lips_apart": "双唇分开",
        "jaw_drop": "张嘴",
        "blink": "眨眼",
        "face_motion": "面部动作",
        "closeness": "与镜头的接近程度",
    },
}


class TemplateGenerator(PromptGenerator):
    """Writes hints from rules; see the module.

    Each sample gets one line per modality: the language line always, the others where the manifest names columns that
    the generator knows and the sample has the modality. What is usual is fitted on the training split.
    """

    kind = "template"
    model_id = "hfr-ame/template"
    model_revision = _REVISION

    def __init__(self) -> None:
        self.decoding = {}
        self._language = "en"
        self._columns: list[NamedColumn] = []
        self._scales: dict[str, ColumnScale] = {}

    def prepare(self, dataset: Path, manifest: dict[str, Any], language: str) -> None:
        """Takes the language, and fits what is usual for the named columns.

        Args:
            dataset: Folder of the stored dataset.
            manifest: Its manifest.
            language: "en" or "zh".

        Raises:
            ConfigError: There are no sentences in that language.
        """
        if language not in LEXICONS:
            raise ConfigError(
                f"the template generator writes {' and '.join(LEXICONS)}, asked for {language!r}; name one of them or "
                "use a generator with a model"
            )
        self._language = language
        wording = [_SENTENCES[language], LEXICONS[language].sha256, _DEGREES, _MAX_WORDS]
        self.wording = (f"lexicon-{language}/{_REVISION}", sha256_of(wording))
        self._columns = find_named_columns(manifest.get("feature_names") or {})
        self._scales = _fit(dataset, manifest, self._columns) if self._columns else {}
        self._columns = [column for column in self._columns if column.meaning in self._scales]
        self.reads_features = bool(self._columns)
        used = [[asdict(column), asdict(self._scales[column.meaning])] for column in self._columns]
        self.decoding = {"columns_sha": sha256_of(used)} if used else {}

    def answer(self, requests: Iterable[PromptRequest]) -> Iterator[tuple[PromptRequest, Answer]]:
        """Answers one request after the other."""
        for request in requests:
            yield request, Answer(text=self.write(request), finish="stop")

    def write(self, request: PromptRequest) -> str:
        """Writes the hint of one sample."""
        say = _SENTENCES[self._language]
        lines = [say["heading_language"] + self._describe_words(request.transcript)]
        deviations = find_deviations(request.features, self._columns, self._scales)
        for modality in ("vision", "audio"):
            if modality in request.features and any(column.modality == modality for column in self._columns):
                lines.append(say[f"heading_{modality}"] + self._describe_features(deviations, modality))
        text = "\n".join(lines)
        return text if request.label is None else text + say["label"].format(label=request.label)

    def _describe_words(self, transcript: str | None) -> str:
        say = _SENTENCES[self._language]
        if transcript is None:
            return say["no_words"]
        words = find_polar_words(transcript, LEXICONS[self._language])
        if not words:
            return say["no_signs"]
        shown = list(dict.fromkeys(self._quote(word) for word in words))[:_MAX_WORDS]
        text = say["overall"].format(degree=self._degree(words)) + say["signs"].format(words=say["joint"].join(shown))
        if min(word.strength for word in words) < 0 < max(word.strength for word in words):
            text += say["mixed"]
        after = [word for word in words if word.after_contrast]
        if after and len(after) < len(words):
            text += say["contrast"].format(degree=self._degree(after))
        return text

    def _describe_features(self, deviations: list[Deviation], modality: str) -> str:
        say = _SENTENCES[self._language]
        parts = [
            say[f"level_{each.level}"].format(what=say[each.meaning])
            for each in deviations
            if each.modality == modality
        ]
        return say["joint"].join(parts) + say["end"] if parts else say["no_deviation"]

    def _quote(self, word: PolarWord) -> str:
        say = _SENTENCES[self._language]
        text = say["strengthened"].format(word=word.word) if word.strengthened else word.word
        return say["negated"].format(word=text) if word.negated else text

    def _degree(self, words: list[PolarWord]) -> str:
        say, polarity = _SENTENCES[self._language], polarity_of(words)
        side = say["positive"] if polarity > 0 else say["negative"]
        for degree, bound in zip((3, 2, 1), _DEGREES, strict=True):
            if abs(polarity) >= bound:
                return say[f"degree_{degree}"].format(side=side)
        return say["degree_0"]


def _fit(dataset: Path, manifest: dict[str, Any], columns: list[NamedColumn]) -> dict[str, ColumnScale]:
    from modeling_hfr_ame.data.stored import load_stored_dataset, stored_rows

    modalities = sorted({column.modality for column in columns})
    splits = [TRAINING_SPLIT] if TRAINING_SPLIT in manifest["counts"] else list(manifest["counts"])
    samples = [
        {name: row[name] for name in modalities if row[name] is not None}
        for split in splits
        for row in stored_rows(load_stored_dataset(dataset, split).select_columns(modalities))
    ]
    return fit_scales(samples, columns)
