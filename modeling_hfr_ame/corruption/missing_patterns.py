"""Random missing modalities at a given rate, as IMDer, HME and CyIN report it.

The missing rate MR of a split of N rows is 1 − (modalities kept) / (3 N). Each row keeps at least one, so MR can't
exceed 2/3; what papers call MR = 0.7 is 0.667, one modality per row.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from modeling_hfr_ame.corruption.keyed_draws import KeyedDraws, SampleKey
from modeling_hfr_ame.corruption.protocol import MODALITIES
from modeling_hfr_ame.errors import ConfigError, DataError

MAX_MISSING_RATE = 2.0 / 3.0
# the published name of the highest rate
MAX_NAMED_RATE = 0.7
SHARE_TOLERANCE = 0.005
_MAX_DRAWS = 1000


def draw_missing_patterns(keys: Sequence[SampleKey], missing_rate: float) -> npt.NDArray[np.bool_]:
    """Draws which modalities each row of a split keeps.

    One modality per row is kept for certain, each with probability 1/3. Any further one is kept with the probability
    that makes the expected kept share 1 − MR. The draw of the whole split is repeated until the share that came out is
    closer to 1 − MR than 0.005, or than half of one modality in a split too small for that.

    Args:
        keys: One key per row of the split; their order has no say.
        missing_rate: MR in [0, 0.7]. 2/3 is the most that exists, and 0.7 stands for it.

    Returns:
        (N, 3) bool for text, audio and vision, True = kept; at least one per row.

    Raises:
        ConfigError: The rate is outside [0, 0.7].
        DataError: There is no row.

    Source:
        The definition of MR in IMDer, HME and CyIN, and the construction in the code of HME (6f0c9a7) and CyIN
        (da04a3d).

    Deviations:
        The draws are ours, keyed by sample. The references draw from a global state, IMDer (1901a92) and CyIN per
        batch, so that test conditions change with the order and size of batches. HME draws further modalities among
        all three with a trial ratio, raises it once by the share that fell on the one kept for certain, and truncates
        it to whole percents; here the ratio is the value that this correction aims at, 1 − 1.5 MR.
    """
    check_missing_rate(missing_rate)
    if not keys:
        raise DataError("missing patterns need at least one row, found none; pass the keys of a whole split")
    num_modalities = len(MODALITIES)
    num_slots = num_modalities * len(keys)
    share = 1.0 - min(missing_rate, MAX_MISSING_RATE)
    further_prob = (share * num_modalities - 1.0) / (num_modalities - 1)
    tolerance = max(SHARE_TOLERANCE, 0.5 / num_slots)
    for attempt in range(_MAX_DRAWS):
        # the rate is not part of the address, so the first draws of all rates are nested
        numbers = np.stack([KeyedDraws(key, "sample", f"imder_mr-{attempt}").uniform(4) for key in keys])
        kept = numbers[:, 1:] < further_prob
        kept[np.arange(len(keys)), (numbers[:, 0] * num_modalities).astype(np.int64)] = True
        # a hair of slack: half of one slot is reached exactly in small splits, up to rounding
        if abs(kept.sum() / num_slots - share) <= tolerance + 1e-12:
            return kept
    raise DataError(
        f"no draw of {_MAX_DRAWS} met a missing rate of {missing_rate} within {tolerance:g} on {len(keys)} rows; "
        "evaluate a larger split"
    )


def check_missing_rate(missing_rate: float) -> None:
    """Checks that a missing rate exists.

    Args:
        missing_rate: MR.

    Raises:
        ConfigError: It is outside [0, 0.7].
    """
    if not 0.0 <= missing_rate <= MAX_NAMED_RATE:
        raise ConfigError(
            f"a missing rate must be in [0, {MAX_NAMED_RATE}], found {missing_rate}; every row keeps one of three "
            f"modalities, so nothing above 2/3 exists and {MAX_NAMED_RATE} stands for that"
        )
