"""Words that carry approval or disapproval, and what turns or scales them, in English and Chinese.

The lists were written for this project, with reviews of films and products in mind. They are small on purpose: the
`template` generator is a baseline whose every step can be read.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Final

from modeling_hfr_ame.prompts.rows import sha256_of

_NEGATION_REACH: Final = 3  # words back from a polar word; "not a very good film" has three between
_NEGATED_SHARE: Final = -0.6  # "not great" is less bad than "great" is good
_AFTER_CONTRAST: Final = 1.5  # what follows "but" is what the speaker means


@dataclass(frozen=True)
class PolarityLexicon:
    """Words by function.

    Attributes:
        language: "en" or "zh".
        polarity: Signed strength from −3 to 3 of each polar word or phrase.
        negators: Words that turn the polar word after them.
        strengtheners: Words that raise the strength of the polar word after them.
        weakeners: Words that lower it.
        contrasts: Words after which the wording counts more.
    """

    language: str
    polarity: dict[str, float]
    negators: frozenset[str]
    strengtheners: frozenset[str]
    weakeners: frozenset[str]
    contrasts: frozenset[str]

    @property
    def sha256(self) -> str:
        """Hash of all lists."""
        return sha256_of(
            {key: sorted(value) if isinstance(value, frozenset) else value for key, value in asdict(self).items()}
        )


@dataclass(frozen=True)
class PolarWord:
    """A polar word in its context.

    Attributes:
        word: As it stands in the lexicon.
        strength: Signed strength after negation and scaling.
        negated: Whether a negator stands before it.
        strengthened: Whether a strengthener stands before it.
        after_contrast: Whether a contrast word stands somewhere before it.
    """

    word: str
    strength: float
    negated: bool
    strengthened: bool
    after_contrast: bool


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _weighted(groups: dict[float, str]) -> dict[str, float]:
    return {word.replace("_", " "): weight for weight, words in groups.items() for word in words.split()}


ENGLISH: Final = PolarityLexicon(
    language="en",
    polarity=_weighted(
        {
            3.0: """amazing awesome brilliant excellent exceptional extraordinary fabulous fantastic flawless incredible
            magnificent marvelous marvellous masterpiece outstanding perfect perfectly phenomenal spectacular stunning
            superb terrific tremendous unbelievable wonderful wonderfully adore adored blown_away best breathtaking
            hilarious must_see unforgettable""",
            2.0: """beautiful beautifully captivating charming clever compelling delight delighted delightful enjoy
            enjoyed enjoying enjoyable entertaining entertained excited exciting fascinating favorite favourite fun
            funny gorgeous great happy heartwarming impressed impressive inspiring inspired love loved loves loving
            memorable moving powerful recommend recommended refreshing satisfying smart strong talented thrilled
            thrilling touching uplifting well_done witty worth worthwhile laughed glad gem genius highlight
            incredibly_good genuine engaging gripping joy joyful proud romantic sweet thank thanks win winner""",
            1.0: """accurate appealing appreciate appreciated better bright calm clean clear comfortable cool creative
            cute decent easy effective elegant fair fine fresh friendly good helpful honest hope hopeful interesting
            interested kind like liked likes lively lovely lucky neat nice nicely okay original pleasant polite
            promising pretty_good realistic relatable reliable safe sincere smooth solid successful support useful warm
            welcome well wise works laugh laughing laughs laughter smile smiled fan cheerful believable catchy improve
            improved convincing valuable benefit""",
            -1.0: """average awkward bland confused confusing concern concerned cheesy cliche cliched corny difficult
            doubt dull expensive flat forced forgettable generic hard lacking lacks less long mediocre meh mess messy
            odd overlong overrated predictable problem problems repetitive sad shallow silly slow strange tired
            uncomfortable uneven unfortunately unnecessary unoriginal unrealistic unsure weak weird wrong issue issues
            cold complain complaint missed miss skip cheap fake lost loud dumb tedious wooden rushed thin drag dragged
            drags stiff worry worried lame sorry shame""",
            -2.0: """annoying annoyed angry bad badly boring bored bother bothered disappointed disappointing
            disappointment disgusting dislike disliked fail failed fails failure flawed frustrated frustrating
            infuriating irritating mistake nonsense offensive painful pathetic poor poorly pointless ridiculous
            ruined stupid suck sucked sucks trash ugly unbearable unfunny unhappy unpleasant upset upsetting useless
            waste wasted worse depressing lazy insulting insult terrified disturbing regret rude unfair violent
            crap cringe idiotic hated_it""",
            -3.0: """abysmal appalling atrocious awful despise despised disaster disastrous dreadful garbage hate hated
            hates hateful horrendous horrible horribly horrid worst terrible terribly unwatchable miserable vile
            revolting""",
        }
    ),
    negators=_words("""not no never nothing nobody none neither nor without hardly barely scarcely cannot can't cant
        don't dont doesn't doesnt didn't didnt isn't isnt wasn't wasnt aren't arent weren't werent won't wont wouldn't
        wouldnt couldn't couldnt shouldn't shouldnt haven't havent hasn't hasnt hadn't hadnt ain't aint n't"""),
    strengtheners=_words("""very really so extremely absolutely totally completely incredibly truly super highly
        especially deeply utterly such seriously definitely damn particularly"""),
    weakeners=_words("""somewhat slightly fairly rather quite kinda sorta mildly partly almost mostly little bit kind
        sort relatively"""),
    contrasts=_words("but however although though yet except"),
)

CHINESE: Final = PolarityLexicon(
    language="zh",
    polarity=_weighted(
        {
            3.0: "太棒 完美 精彩 绝妙 惊艳 震撼 杰作 极好 最好 了不起 无与伦比 热爱 超赞 幸福",
            2.0: """喜欢 喜爱 高兴 开心 快乐 感动 推荐 优秀 出色 好看 好听 好吃 漂亮 美丽 温暖 有趣 搞笑 幽默 聪明 满意
            成功 骄傲 自豪 感谢 谢谢 爱 棒 赞 佩服 欣赏 恭喜 期待 浪漫 甜蜜 厉害""",
            1.0: """好 不错 可以 舒服 轻松 方便 可爱 希望 愿意 同意 支持 放心 安全 清楚 真诚 认真 努力 值得 笑 微笑 帮助
            进步 健康 友好 合适 新鲜 顺利""",
            -1.0: """慢 难 贵 奇怪 尴尬 无奈 担心 害怕 紧张 累 麻烦 问题 一般 平淡 普通 冷 乱 可惜 遗憾 后悔 怀疑 压力
            孤独 着急 抱歉 对不起 哭 缺点 吵""",
            -2.0: """讨厌 生气 难过 伤心 失望 无聊 糟糕 差 坏 痛苦 失败 愚蠢 丢人 难看 难听 难吃 浪费 骗 烦 委屈 可怜 错
            过分 愤怒 恶心 倒霉 吵架 欺负 滚""",
            -3.0: "恨 最差 极差 可恶 绝望 崩溃 垃圾 该死 恶劣 可怕 灾难 混蛋",
        }
    ),
    negators=_words("不 没 没有 别 未 无 不是 并非 从不"),
    strengtheners=_words("很 非常 太 特别 真 十分 极 超 好 最 相当 实在 简直"),
    weakeners=_words("有点 稍微 比较 还算 略 有些 一点"),
    contrasts=_words("但 但是 可是 不过 然而 却 只是"),
)

LEXICONS: Final = {"en": ENGLISH, "zh": CHINESE}
_WORD: Final = re.compile(r"[a-z]+(?:['’][a-z]+)?")
_MAX_PHRASE: Final = 3


def find_polar_words(text: str, lexicon: PolarityLexicon) -> list[PolarWord]:
    """Finds the polar words of a text.

    Args:
        text: What is said.
        lexicon: In its language.

    Returns:
        The words in order, each with its strength in context.
    """
    tokens = _chinese_tokens(text, lexicon) if lexicon.language == "zh" else _english_tokens(text, lexicon)
    found: list[PolarWord] = []
    contrasted = False
    for place, token in enumerate(tokens):
        contrasted = contrasted or token in lexicon.contrasts
        if token not in lexicon.polarity:
            continue
        before = tokens[max(0, place - _NEGATION_REACH - 1) : place]
        # A polar word in between ends the reach: "not good, terrible" negates one of the two.
        last_polar = max((i for i, word in enumerate(before) if word in lexicon.polarity), default=-1)
        before = before[last_polar + 1 :]
        negated = any(word in lexicon.negators for word in before)
        nearest = before[-2:]
        strengthened = any(word in lexicon.strengtheners for word in nearest)
        weakened = any(word in lexicon.weakeners for word in nearest)
        strength = lexicon.polarity[token] * (1.5 if strengthened else 1.0) * (0.5 if weakened else 1.0)
        found.append(
            PolarWord(token, strength * (_NEGATED_SHARE if negated else 1.0), negated, strengthened, contrasted)
        )
    return found


def polarity_of(words: list[PolarWord]) -> float:
    """Gives the polarity of a text from its polar words: their weighted mean in [−3, 3]; 0 without any."""
    if not words:
        return 0.0
    weights = [_AFTER_CONTRAST if word.after_contrast else 1.0 for word in words]
    mean = sum(weight * word.strength for weight, word in zip(weights, words, strict=True)) / sum(weights)
    return max(-3.0, min(3.0, mean))


def _english_tokens(text: str, lexicon: PolarityLexicon) -> list[str]:
    words = [word.replace("’", "'") for word in _WORD.findall(text.lower())]
    tokens, place = [], 0
    while place < len(words):
        for length in range(_MAX_PHRASE, 0, -1):
            phrase = " ".join(words[place : place + length])
            if length == 1 or phrase in lexicon.polarity:
                tokens.append(phrase)
                place += len(phrase.split(" "))
                break
    return tokens


def _chinese_tokens(text: str, lexicon: PolarityLexicon) -> list[str]:
    """Splits a text without spaces: the longest known word at each place, else one character.

    Chinese strengtheners may be polar words as well (好 in 好喜欢); before another polar word they only strengthen it.
    """
    known = {
        *lexicon.polarity,
        *lexicon.negators,
        *lexicon.strengtheners,
        *lexicon.weakeners,
        *lexicon.contrasts,
    }
    longest = max(map(len, known))
    tokens, place = [], 0
    while place < len(text):
        word = next(
            (text[place : place + n] for n in range(longest, 1, -1) if text[place : place + n] in known), text[place]
        )
        tokens.append(word)
        place += len(word)
    return tokens
