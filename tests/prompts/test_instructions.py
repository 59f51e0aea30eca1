import pytest

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.prompts.instructions import LANGUAGES, instruction_template, parse_cues


@pytest.mark.parametrize("language", LANGUAGES)
def test_instruction_asks_only_about_what_is_shown(language: str) -> None:
    template = instruction_template(language)
    words = template.render("it was fine {really}")
    assert "it was fine {really}" in words
    assert template.headings["language"] in words
    assert template.requests["vision"] not in words
    assert template.requests["audio"] not in words
    everything = template.render("fine", num_pictures=3, has_sound=True)
    assert all(request in everything for request in template.requests.values())
    assert "3" in everything
    assert template.requests["language"] not in template.render(None, num_pictures=1)


@pytest.mark.parametrize("language", LANGUAGES)
def test_label_is_in_the_paper_protocol_only(language: str) -> None:
    plain, paper = instruction_template(language), instruction_template(language, paper_protocol=True)
    assert plain.template_id != paper.template_id
    assert plain.sha256 != paper.sha256
    shown = paper.render("fine", label="+1.80", label_range=(-1.0, 1.0))
    withheld = paper.render("fine")
    assert "+1.80" in shown
    assert "-1" in shown
    assert shown.replace("+1.80", "None").replace("-1", "-3").replace("1（", "3（") != plain.render("fine")
    assert withheld.rstrip().count("None") == 1
    assert "None" not in plain.render("fine")
    with pytest.raises(ConfigError, match=f"the template {plain.template_id} has no line for one"):
        plain.render("fine", label="+1.80")


def test_languages_without_instruction_are_refused() -> None:
    with pytest.raises(ConfigError, match="exist in the languages en, zh, asked for 'de'"):
        instruction_template("de")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Language: warm words.\nVision: a smile.\nAudio: loud.", ("warm words.", "a smile.", "loud.")),
        (
            "## Visual cues:\nA smile,\nthen a frown.\n\n**Language cues:** warm",
            ("warm", "A smile,\nthen a frown.", None),
        ),
        ("- **Language**: warm\n- **Voice**: calm", ("warm", None, "calm")),
        ("1. Language: warm\n2. Face: still", ("warm", "still", None)),
        ("语言：热情。\n视觉线索：微笑\n声音: 响亮", ("热情。", "微笑", "响亮")),
        ("The speaker likes it.", (None, None, None)),
        ("Language: warm\nLanguage: again", ("warm", None, None)),
        ("Language:\nVision: x", (None, "x", None)),
        ("", (None, None, None)),
    ],
)
def test_answer_is_split_at_its_headings(text: str, expected: tuple[str | None, ...]) -> None:
    assert tuple(parse_cues(text).values()) == expected


@pytest.mark.parametrize("language", LANGUAGES)
def test_answer_in_the_asked_form_is_read(language: str) -> None:
    headings = instruction_template(language).headings
    text = "\n".join(f"{heading}: about {name}" for name, heading in headings.items())
    assert parse_cues(text) == {name: f"about {name}" for name in headings}
