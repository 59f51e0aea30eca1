"""A small WordPiece vocabulary from the training texts, for runs without a pretrained text encoder.

The pair merging is our own: the trainer of the `tokenizers` library numbers its vocabulary in the order of a randomly
seeded hash map, so two runs give different ids and, where pair counts tie, may give different pieces. Here a tie goes
to the pair that sorts first.
"""

import heapq
import string
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import BertTokenizer

from ..errors import DataError

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_PREFIX = "##"
_MIN_PAIR_COUNT = 2

Pair = tuple[str, str]


def train_wordpiece_tokenizer(texts: Iterable[str], vocab_size: int = 2000, lowercase: bool = True) -> BertTokenizer:
    """Learns a WordPiece vocabulary; equal texts give an equal vocabulary in every process.

    Args:
        texts: Training texts. Words that are special tokens, such as `[UNK]`, are left out.
        vocab_size: Upper bound of the vocabulary, special tokens and alphabet included. Fewer texts give fewer pieces.
        lowercase: Whether to lower-case and strip accents.

    Returns:
        A fast `BertTokenizer`. Every ASCII letter and digit is in the vocabulary as a start and as a continuation, so a
        typing error splits a word and does not turn it into `[UNK]`.

    Raises:
        DataError: If the texts hold no word, or `vocab_size` can't hold special tokens and alphabet.
    """
    counts = _word_counts(texts, lowercase)
    if not counts:
        raise DataError(
            "a vocabulary needs training texts with at least one word; found none. Give the training split."
        )
    letters = string.digits + string.ascii_lowercase + ("" if lowercase else string.ascii_uppercase)
    alphabet = sorted(set(letters) | {letter for word in counts for letter in word})
    base = [*SPECIAL_TOKENS, *alphabet, *(_PREFIX + letter for letter in alphabet)]
    if vocab_size < len(base):
        raise DataError(
            f"vocab_size must hold the special tokens and the alphabet, {len(base)} entries here; found {vocab_size}. "
            "Raise it."
        )
    pieces = dict.fromkeys(base)
    for piece in _merge_pairs(counts, vocab_size - len(base)):
        pieces.setdefault(piece)
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    return BertTokenizer(vocab=vocabulary, do_lower_case=lowercase)


def _word_counts(texts: Iterable[str], lowercase: bool) -> Counter[str]:
    """Counts words as BERT splits them."""
    normalizer, splitter = BertNormalizer(lowercase=lowercase), BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        plain = " ".join(word for word in text.split() if word not in SPECIAL_TOKENS)
        counts.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(plain)))
    return counts


def _merge_pairs(counts: Counter[str], limit: int) -> list[str]:
    """Merges the most frequent adjacent pair again and again; at most `limit` new pieces, in order of discovery."""
    words = [[letter if i == 0 else _PREFIX + letter for i, letter in enumerate(word)] for word in sorted(counts)]
    weights = [counts[word] for word in sorted(counts)]
    pair_counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for index, word in enumerate(words):
        for pair in pairwise(word):
            pair_counts[pair] += weights[index]
            where[pair].add(index)
    # Stale entries stay in the heap and are recognised by their outdated count.
    heap = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(heap)
    merged: dict[str, None] = {}
    while heap and len(merged) < limit:
        count, pair = heapq.heappop(heap)
        if -count != pair_counts[pair] or -count < _MIN_PAIR_COUNT:
            continue
        piece = pair[0] + pair[1].removeprefix(_PREFIX)
        merged[piece] = None
        changed: set[Pair] = set()
        for index in where.pop(pair):
            old = words[index]
            words[index] = new = _merge_in(old, pair, piece)
            for gone in pairwise(old):
                pair_counts[gone] -= weights[index]
                changed.add(gone)
            for born in pairwise(new):
                pair_counts[born] += weights[index]
                where[born].add(index)
                changed.add(born)
        for each in changed - {pair}:
            heapq.heappush(heap, (-pair_counts[each], each))
    return list(merged)


def _merge_in(word: list[str], pair: Pair, piece: str) -> list[str]:
    """Returns the word with every occurrence of the pair replaced, left to right."""
    out: list[str] = []
    position = 0
    while position < len(word):
        if tuple(word[position : position + 2]) == pair:
            out.append(piece)
            position += 2
        else:
            out.append(word[position])
            position += 1
    return out
