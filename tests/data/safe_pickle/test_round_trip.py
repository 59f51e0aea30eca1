"""Any tree of plain data comes back, whatever the protocol."""

import pickle
import pickletools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modeling_hfr_ame.data.safe_pickle.reader import _read_bytes
from tests.data.safe_pickle.pickle_writing import assert_same, dumps_with_numpy1_names, load_plainly

_flat = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
)
_keys = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
_dtypes = (
    hnp.scalar_dtypes() | hnp.byte_string_dtypes(min_len=1, max_len=5) | hnp.unicode_string_dtypes(min_len=1, max_len=5)
).filter(lambda kind: kind.char not in "gG")
_arrays = hnp.arrays(_dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
_trees = st.recursive(
    _flat | _arrays | st.sets(_keys, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(_keys, inner, max_size=4)
        | st.lists(inner, max_size=3).map(lambda items: [items, items, tuple(items)])
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(tree=_trees, protocol=st.integers(0, 5))
def test_read_any_plain_tree_comes_back(tree: Any, protocol: int) -> None:
    content = pickle.dumps(tree, protocol)
    assert_same(_read_bytes(content), load_plainly(content))


@settings(max_examples=50, deadline=None)
@given(tree=_trees, protocol=st.integers(0, 5))
def test_read_any_plain_tree_from_other_writers_comes_back(tree: Any, protocol: int) -> None:
    expected = load_plainly(pickle.dumps(tree, protocol))
    assert_same(_read_bytes(dumps_with_numpy1_names(tree, protocol)), expected)
    assert_same(_read_bytes(pickletools.optimize(pickle.dumps(tree, protocol))), expected)
