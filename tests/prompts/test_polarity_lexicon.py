import pytest

from modeling_hfr_ame.prompts.polarity_lexicon import CHINESE, ENGLISH, LEXICONS, find_polar_words, polarity_of


def polarity(text: str, language: str = "en") -> float:
    return polarity_of(find_polar_words(text, LEXICONS[language]))


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("i hated it", "i loved it"),
        ("a bad film", "a good film"),
        ("it was not good", "it was good"),
        ("it was bad", "it was not bad"),
        ("good", "very good"),
        ("somewhat good", "good"),
        ("a good cast but a terrible plot", "a terrible plot but a good cast"),
        ("It’s not great", "It's great"),
        ("NOT GOOD, TERRIBLE", "NOT GOOD"),
    ],
)
def test_english_polarity_is_ordered(lower: str, higher: str) -> None:
    assert polarity(lower) < polarity(higher)


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("我讨厌这个", "我喜欢这个"),
        ("我不喜欢这个", "我喜欢这个"),
        ("我喜欢", "我非常喜欢"),
        ("很好但是结局太差", "结局太差但是很好"),
    ],
)
def test_chinese_polarity_is_ordered(lower: str, higher: str) -> None:
    assert polarity(lower, "zh") < polarity(higher, "zh")


def test_text_without_polar_words_is_neutral() -> None:
    assert polarity("i saw it on monday") == polarity("") == polarity("今天星期一", "zh") == 0.0


def test_polarity_stays_in_the_range() -> None:
    assert polarity("absolutely amazing") == 3.0
    assert polarity("very terrible") == -3.0


def test_negation_does_not_reach_past_a_polar_word_or_four_words() -> None:
    good, terrible = find_polar_words("not good and terrible", ENGLISH)
    assert good.negated
    assert not terrible.negated
    assert not find_polar_words("not that i would ever call it good", ENGLISH)[0].negated


def test_phrases_are_found_before_their_words() -> None:
    assert [word.word for word in find_polar_words("i was blown away", ENGLISH)] == ["blown away"]
    assert [word.word for word in find_polar_words("最好", CHINESE)] == ["最好"]


@pytest.mark.parametrize("lexicon", LEXICONS.values(), ids=LEXICONS)
def test_lexicon_has_both_signs_and_no_word_of_two_functions(lexicon) -> None:  # type: ignore[no-untyped-def]
    strengths = set(lexicon.polarity.values())
    assert strengths == {-3.0, -2.0, -1.0, 1.0, 2.0, 3.0}
    assert not lexicon.negators & (lexicon.strengtheners | lexicon.weakeners | lexicon.contrasts)
    assert not lexicon.strengtheners & lexicon.weakeners
    assert not lexicon.polarity.keys() & (lexicon.negators | lexicon.contrasts)
