"""The WordPiece vocabulary learnt from texts."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modeling_hfr_ame.data.tokenizer_training import SPECIAL_TOKENS, train_wordpiece_tokenizer
from modeling_hfr_ame.errors import DataError

REPOSITORY = Path(__file__).resolve().parents[2]
TEXTS = ["The happy band played happily .", "happy happier happiest bands", "Unhappy BAND played [UNK] on"] * 3
CHILD = """
import hashlib, json
from modeling_hfr_ame.data.tokenizer_training import train_wordpiece_tokenizer
vocabulary = train_wordpiece_tokenizer(TEXTS, vocab_size=110).get_vocab()
print(hashlib.sha256(json.dumps(vocabulary, sort_keys=True).encode()).hexdigest())
"""


@pytest.mark.slow
def test_train_other_process_and_hash_seed_gives_the_same_vocabulary() -> None:
    vocabulary = train_wordpiece_tokenizer(TEXTS, vocab_size=110).get_vocab()
    expected = hashlib.sha256(json.dumps(vocabulary, sort_keys=True).encode()).hexdigest()
    environment = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": str(REPOSITORY)}
    code = CHILD.replace("TEXTS", repr(TEXTS[::-1]))
    child = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.strip() == expected


def test_train_order_of_texts_does_not_matter() -> None:
    forwards, backwards = (train_wordpiece_tokenizer(texts, vocab_size=110) for texts in (TEXTS, TEXTS[::-1]))
    assert forwards.get_vocab() == backwards.get_vocab()


def test_train_frequent_words_become_one_piece() -> None:
    tokenizer = train_wordpiece_tokenizer(TEXTS, vocab_size=200)
    assert tokenizer.tokenize("The happy band") == ["the", "happy", "band"]
    assert tokenizer.tokenize("happily")[0].startswith("happ")
    assert tokenizer.is_fast


def test_train_vocabulary_starts_with_special_tokens_and_respects_its_size() -> None:
    tokenizer = train_wordpiece_tokenizer(TEXTS, vocab_size=90)
    by_id = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    assert tuple(by_id[:5]) == SPECIAL_TOKENS
    assert len(by_id) == 90
    assert tokenizer.pad_token_id == 0


def test_train_unseen_word_with_a_typing_error_is_split_not_unknown() -> None:
    tokenizer = train_wordpiece_tokenizer(["alpha beta"] * 3)
    assert tokenizer.unk_token_id not in tokenizer("zqxj alhpa 42")["input_ids"]


def test_train_greedy_merges_follow_pair_counts() -> None:
    tokenizer = train_wordpiece_tokenizer(["ab ab ab cd cd"], vocab_size=5 + 72 + 1)
    assert "ab" in tokenizer.get_vocab()
    assert "cd" not in tokenizer.get_vocab()


def test_train_repeated_letters_terminates_and_covers_the_word() -> None:
    tokenizer = train_wordpiece_tokenizer(["aaaa aaaaa aa"] * 5, vocab_size=100)
    assert tokenizer.tokenize("aaaa") == ["aaaa"]


def test_train_cased_keeps_capitals() -> None:
    tokenizer = train_wordpiece_tokenizer(["Anna met ANNA"] * 3, vocab_size=300, lowercase=False)
    assert tokenizer.tokenize("Anna ANNA") == ["Anna", "ANNA"]


def test_train_no_word_raises() -> None:
    with pytest.raises(DataError, match="training texts with at least one word; found none"):
        train_wordpiece_tokenizer(["", "[UNK] [MASK]"])


def test_train_vocabulary_too_small_raises() -> None:
    with pytest.raises(DataError, match=r"special tokens and the alphabet, 77 entries here; found 20\. Raise it"):
        train_wordpiece_tokenizer(["a b"], vocab_size=20)
