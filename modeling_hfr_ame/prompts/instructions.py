"""The instruction that asks a model for hints, in English and Chinese, and the reading of its answer.

- Only what is really shown is asked about: no pictures, no question about the face.
- Hints, not verdicts: the model is asked for observable cues and told to give no score.
- With `paper_protocol` the instruction has a line for the label, as in the published practice: filled in for training
  samples, the word None for the others. That is another template with its own id, never a silent variant.

Source:
    The parts of the instruction (role, transcript and label, what to look at, output format): MMSLF's public code. The
    wording is ours; theirs is English for every corpus and has no section for sound.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Final

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.prompts.rows import CUE_NAMES, sha256_of

LABEL_WITHHELD: Final = "None"


@dataclass(frozen=True)
class InstructionTemplate:
    """Wording of an instruction.

    Attributes:
        template_id: Name and version; a change of wording raises the version.
        language: "en" or "zh".
        role: Who the model is and what for.
        transcript: Line with `{transcript}`.
        no_transcript: The same where there is none.
        pictures: Line with `{count}`, used where pictures are shown.
        sound: Line used where sound is shown.
        label: Line with `{label}`, `{low}` and `{high}`; None = labels are never shown.
        requests: What to look at, by cue.
        headings: Heading of each section of the answer, by cue.
        answer_format: Line before the list of headings.
        closing: What the answer must not contain.
    """

    template_id: str
    language: str
    role: str
    transcript: str
    no_transcript: str
    pictures: str
    sound: str
    label: str | None
    requests: dict[str, str]
    headings: dict[str, str]
    answer_format: str
    closing: str

    @property
    def sha256(self) -> str:
        """Hash of the wording."""
        return sha256_of(asdict(self))

    def render(
        self,
        transcript: str | None,
        *,
        num_pictures: int = 0,
        has_sound: bool = False,
        label: str | None = None,
        label_range: tuple[float, float] = (-3.0, 3.0),
    ) -> str:
        """Writes the instruction for one sample.

        Args:
            transcript: What is said; None = not known.
            num_pictures: Number of pictures that go with it.
            has_sound: Whether the sound goes with it.
            label: The label as text; None = not shown (`LABEL_WITHHELD` is written where the template has the line).
            label_range: Lowest and highest label.

        Returns:
            The text.

        Raises:
            ConfigError: A label is given to a template that has no place for one.
        """
        if label is not None and self.label is None:
            raise ConfigError(
                f"a label is shown under paper_protocol only, the template {self.template_id} has no line for one; "
                "use the template of the paper protocol"
            )
        low, high = (f"{value:g}" for value in label_range)
        lines = [self.role]
        lines.append(self.no_transcript if transcript is None else self.transcript.format(transcript=transcript))
        if num_pictures:
            lines.append(self.pictures.format(count=num_pictures))
        if has_sound:
            lines.append(self.sound)
        if self.label is not None:
            lines.append(self.label.format(label=LABEL_WITHHELD if label is None else label, low=low, high=high))
        shown = {"language": transcript is not None, "vision": num_pictures > 0, "audio": has_sound}
        asked = [name for name in CUE_NAMES if shown[name]]
        lines += [f"- {self.requests[name]}" for name in asked]
        lines.append(self.answer_format)
        lines += [f"{self.headings[name]}: …" for name in asked]
        return "\n".join([*lines, self.closing])


_ENGLISH = InstructionTemplate(
    template_id="hints-en/1",
    language="en",
    role=(
        "You study how speakers show what they feel about a subject. A small sentiment model will read your notes "
        "beside the words, the voice and the face of one short clip. Point out the signs that it should not miss."
    ),
    transcript='The speaker says: "{transcript}"',
    no_transcript="What the speaker says is not known.",
    pictures="The {count} pictures are taken from the clip in this order.",
    sound="The sound of the clip is attached.",
    label=None,
    requests={
        "language": (
            "Words: which expressions carry approval or disapproval, and what strengthens, weakens, negates or turns "
            "them around."
        ),
        "vision": "Face: what mouth, brows, eyes, gaze and head do, and how this changes from picture to picture.",
        "audio": "Voice: loudness, pitch, pace, pauses, laughter or sighs, and where they change.",
    },
    headings={"language": "Language", "vision": "Vision", "audio": "Audio"},
    answer_format="Answer in this form, with at most two sentences per line:",
    closing="Describe only what can be seen or heard. Give no score and no final judgement.",
)

_CHINESE = InstructionTemplate(
    template_id="hints-zh/1",
    language="zh",
    role=(
        "你研究说话人如何流露自己对某件事的感受。一个小型情感模型除了读取一段短视频的文字、声音和面部信息外，还会参考你的笔记。"
        "请指出它不应忽略的线索。"
    ),
    transcript="说话人说：“{transcript}”",
    no_transcript="说话内容未知。",
    pictures="这{count}张图片按时间顺序取自该视频。",
    sound="随附该视频的声音。",
    label=None,
    requests={
        "language": "措辞：哪些表达带有赞成或反对的意味，又有哪些成分使其加强、减弱、否定或反转。",
        "vision": "面部：嘴、眉、眼、视线和头部的动作，以及各图之间的变化。",
        "audio": "声音：音量、音高、语速、停顿、笑声或叹息，以及在何处变化。",
    },
    headings={"language": "语言", "vision": "视觉", "audio": "声音"},
    answer_format="请按以下格式回答，每行最多两句话：",
    closing="只描述能看到或听到的内容。不要给出分数，也不要下最终结论。",
)


def _with_label(template: InstructionTemplate, name: str, line: str) -> InstructionTemplate:
    return InstructionTemplate(**{**asdict(template), "template_id": name, "label": line})


_TEMPLATES: Final = {
    ("en", False): _ENGLISH,
    ("zh", False): _CHINESE,
    ("en", True): _with_label(
        _ENGLISH,
        "hints-label-en/1",
        "Rating by annotators, from {low} (most negative) to {high} (most positive): {label}",
    ),
    ("zh", True): _with_label(
        _CHINESE, "hints-label-zh/1", "标注者的评分，从{low}（最消极）到{high}（最积极）：{label}"
    ),
}
LANGUAGES: Final = ("en", "zh")


def instruction_template(language: str, paper_protocol: bool = False) -> InstructionTemplate:
    """Gives the instruction of a language.

    Args:
        language: "en" or "zh".
        paper_protocol: Whether the instruction has the line for the label.

    Returns:
        The template.

    Raises:
        ConfigError: There is no template in that language.
    """
    if language not in LANGUAGES:
        raise ConfigError(
            f"instructions exist in the languages {', '.join(LANGUAGES)}, asked for {language!r}; name one of them or "
            "pass an InstructionTemplate of your own"
        )
    return _TEMPLATES[language, paper_protocol]


_HEADING_WORDS: Final = {
    "language": ("language", "words", "wording", "text", "语言", "措辞", "文本"),
    "vision": ("vision", "visual", "face", "视觉", "面部"),
    "audio": ("audio", "voice", "sound", "声音", "语音", "音频"),
}
_CUE_OF_HEADING: Final = {word: name for name, words in _HEADING_WORDS.items() for word in words}
# Markdown marks, list marks and the word "cues" may stand around a heading.
_HEADING: Final = re.compile(
    rf"^[\s#*\-\d.]*({'|'.join(_CUE_OF_HEADING)})(?:\s+cues?|线索)?[\s*]*[:：][\s*]*", re.IGNORECASE | re.MULTILINE
)


def parse_cues(text: str) -> dict[str, str | None]:
    """Splits an answer into its sections.

    Args:
        text: What a model wrote.

    Returns:
        The text below each heading, None for a heading that isn't there. An answer without headings has no cues; its
        text is used as a whole all the same.
    """
    cues: dict[str, str | None] = dict.fromkeys(CUE_NAMES)
    found = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in found), len(text)][1:]
    for heading, end in zip(found, ends, strict=False):
        content = text[heading.end() : end].strip()
        name = _CUE_OF_HEADING[heading.group(1).lower()]
        if content and cues[name] is None:
            cues[name] = content
    return cues
