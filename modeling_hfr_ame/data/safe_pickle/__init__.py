"""Reads feature pickles that strangers made, without running anything they say.

The reader is an own pickle machine. It knows a short table of names, builds their values itself, and refuses the rest;
Python's unpickler has no part in it. See docs/safe_pickle.md for what is refused and what isn't covered.
"""

from modeling_hfr_ame.data.safe_pickle.mapped_pages import release_pages
from modeling_hfr_ame.data.safe_pickle.reader import read_pickle
from modeling_hfr_ame.data.safe_pickle.refusal import PickleError, PickleLimits

__all__ = ["PickleError", "PickleLimits", "read_pickle", "release_pages"]
