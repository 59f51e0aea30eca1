"""Damaged files end in a PickleError or in plain data, quickly and in little memory, and in nothing else."""

import io
import pickle
import random
import resource
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from modeling_hfr_ame.data.safe_pickle import PickleError
from modeling_hfr_ame.data.safe_pickle.allowed_names import NAMES
from modeling_hfr_ame.data.safe_pickle.reader import _read_bytes
from tests.data.safe_pickle.feature_trees import mag_bert_tree, misa_tree, mmsa_tree
from tests.data.safe_pickle.pickle_writing import (
    array,
    call,
    data,
    dtype,
    dumps_with_numpy1_names,
    empty_array,
    many,
    name,
    number,
    python2_string,
    text,
    whole,
)

# Bytes that mean something: opcodes, lengths, the ends of ranges.
_TELLING = bytes([0, 1, 4, 5, 0x7F, 0x80, 0xFF]) + b"()]}.0RbcQtua\x81\x85\x8a\x8e\x8f\x93\x94\x95\x96hqrjX"


def make_seeds() -> list[bytes]:
    tensors = {"a": torch.arange(6.0).reshape(2, 3).t(), "b": torch.tensor([True]), "c": np.arange(2)}
    small = [
        {1, 2},
        frozenset([3]),
        2.5,
        3j,
        -(2**70),
        "é",
        b"\xff",
        {"k": (None, True)},
        np.array(["a", None], object),
    ]
    seeds = [pickle.dumps(tree, protocol) for tree in (small, misa_tree(), tensors) for protocol in range(6)]
    seeds += [dumps_with_numpy1_names(tree, protocol) for tree in (mag_bert_tree(), mmsa_tree()) for protocol in (2, 4)]
    for is_zip in (True, False):
        target = io.BytesIO()
        torch.save(tensors, target, _use_new_zipfile_serialization=is_zip)
        seeds.append(target.getvalue())
    seeds.append(whole(b"(" + python2_string(b"caf\xc3\xa9") + b"S'a\\x41'\nU\x01\xe9l"))
    return seeds


def mutations(count: int, seed: int) -> Iterator[bytes]:
    """Flips, truncations, insertions, removals, repeats and splices, several at a time."""
    generator, seeds = random.Random(seed), make_seeds()
    for _ in range(count):
        content = bytearray(generator.choice(seeds))
        for _ in range(generator.choice((1, 1, 2, 4, 16))):
            place = generator.randrange(len(content) + 1)
            kind = generator.randrange(7)
            end = place + generator.randrange(1, 40)
            if kind == 0 and place < len(content):
                content[place] ^= 1 << generator.randrange(8)
            elif kind == 1 and place < len(content):
                content[place] = generator.choice(_TELLING)
            elif kind == 2:
                content[place:place] = bytes(generator.choices(_TELLING, k=generator.randrange(1, 9)))
            elif kind == 3:
                del content[place:end]
            elif kind == 4:
                content[place:place] = content[place:end] * generator.randrange(1, 20)
            elif kind == 5:
                other = generator.choice(seeds)
                begin = generator.randrange(len(other))
                content[place:end] = other[begin : begin + generator.randrange(1, 200)]
            elif generator.random() < 0.3:
                del content[place:]
        yield bytes(content)


def programs(count: int, seed: int) -> Iterator[bytes]:
    """Random sound programs, which come further than damaged bytes do: calls with odd arguments, odd states."""
    leaves = [
        *(b"N", b"\x88", b"\x89", b")", b"]", b"}", b"\x8f", b"h\x00", b"h\x01"),
        *(text(word) for word in ("latin1", "f4", "U2", "O", "<", "C", "K", "storage", "0", "é")),
        *(number(value) for value in (0, 1, 2, 3, 4, -1, 8)),
        *(data(content) for content in (b"", b"b", bytes(4), b"\xff" * 8)),
        *(name(*key) for key in NAMES),
        *(dtype("f4"), dtype("U1"), dtype("b1", "|"), dtype("O", "|", -1, 63), empty_array()),
        python2_string(b"\xe9\x00"),
    ]
    generator = random.Random(seed)

    def value(depth: int) -> bytes:
        kind = generator.randrange(9) if depth else 0
        inner = [value(depth - 1) for _ in range(generator.randrange(4))] if kind else []
        match kind:
            case 1 | 2:
                return many(*inner)
            case 3:
                return b"](" + b"".join(inner) + b"e"
            case 4:
                return b"}(" + b"".join(inner) + b"u"
            case 5:
                return call(name(*generator.choice(list(NAMES))), *inner)
            case 6:
                payload = value(depth - 1)
                kinds = (dtype("f4"), dtype("U1"), dtype("b1", "|"), dtype("O", "|", -1, 63), value(depth - 1))
                return array(tuple(generator.choices((0, 1, 2), k=2)), generator.choice(kinds), payload)
            case 7:
                return value(depth - 1) + value(depth - 1) + b"b"
            case 8:
                return value(depth - 1) + b"q" + generator.choice((b"\x00", b"\x01"))
        return generator.choice(leaves)

    for _ in range(count):
        yield whole(b"]q\x00(K\x01tq\x0100" + value(generator.randrange(1, 6)))


def read_all(contents: Iterator[bytes]) -> dict[str, int]:
    _read_bytes(make_seeds()[0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = {"read": 0, "refused": 0}
    for content in contents:
        start = time.process_time()
        try:
            _read_bytes(content)
            outcomes["read"] += 1
        except PickleError as error:
            outcomes["refused"] += bool(str(error))
        assert time.process_time() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
    return outcomes


def test_read_seeds_are_sound() -> None:
    for content in make_seeds():
        _read_bytes(content)


def test_read_2000_mutated_files_are_read_or_refused() -> None:
    assert min(read_all(mutations(2000, seed=0)).values()) > 50


def test_read_2000_random_programs_are_read_or_refused() -> None:
    assert min(read_all(programs(2000, seed=0)).values()) > 50


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_read_10000_further_mutated_files_are_read_or_refused(seed: int) -> None:
    read_all(mutations(10_000, seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_read_10000_further_random_programs_are_read_or_refused(seed: int) -> None:
    read_all(programs(10_000, seed))
