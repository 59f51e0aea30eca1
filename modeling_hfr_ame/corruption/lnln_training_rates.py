"""The drop rates that LNLN trains with, drawn as its loader draws them.

For comparisons with the reference only. To train on such rates use `TrainingMix("lnln")`, which draws afresh for each
sample and epoch and in any number of workers.
"""

import random

import numpy as np
import numpy.typing as npt

from modeling_hfr_ame.corruption.protocol import MODALITIES
from modeling_hfr_ame.errors import ConfigError


class LnlnTrainingRates:
    """Rates of a whole training split, and their redraws.

    Per modality a rate is uniform in [0, 1), and then 0 for a random half of the rows (rounded down). The reference
    draws once when the training set is made, and again for the whole set each time row 0 is read. The masks belong to
    `rates` through `lnln_masks(lengths, padded_lengths, rates, seed)`.

    Args:
        num_rows: Rows of the training split.
        seed: Seed of Python's and NumPy's generators when the training set is made, and of the masks.

    Attributes:
        rates: (N, 3) float64 in [0, 1), of text, audio and vision, after the latest draw.

    Raises:
        ConfigError: There is no row.

    Source:
        Haoyu-ha/LNLN (80a052c); rates equal its stored ones bit by bit.

    Deviations:
        In the reference the redraw happens in the loader worker that receives row 0 and changes only that worker's
        copy; rows read earlier in the epoch keep the previous masks. This class is one such copy.
    """

    def __init__(self, num_rows: int, seed: int) -> None:
        if num_rows < 1:
            raise ConfigError(f"training rates need at least one row, found {num_rows}; pass the size of the split")
        self._num_rows = num_rows
        self._seed = seed
        self._choices = random.Random(seed)
        self.rates = self._draw(np.random.RandomState(seed))

    def redraw(self, padded_vision_length: int, num_masked_rows: int | None = None) -> npt.NDArray[np.float64]:
        """Draws new rates, as a read of row 0 does.

        The reference continues NumPy's generator where the latest masking left it, which is always the protocol's seed
        plus one array of numbers for vision. So the uniform numbers of every redraw are the same; only the halves set
        to 0, which come from Python's generator, change.

        Args:
            padded_vision_length: Padded length of vision.
            num_masked_rows: Rows of the split that was masked last. None means the training split itself; after the
                training, validation and test sets were made in this order, the first redraw follows the test split.

        Returns:
            The new `rates`.
        """
        numbers = np.random.RandomState(self._seed)
        rows = self._num_rows if num_masked_rows is None else num_masked_rows
        numbers.random_sample((rows, padded_vision_length))
        self.rates = self._draw(numbers)
        return self.rates

    def _draw(self, numbers: np.random.RandomState) -> npt.NDArray[np.float64]:
        # all three arrays come before the first choice of rows, each generator in the order text, audio, vision
        rates = np.stack([numbers.random_sample(self._num_rows) for _ in MODALITIES], axis=1)
        for column in range(len(MODALITIES)):
            rates[self._choices.sample(range(self._num_rows), self._num_rows // 2), column] = 0.0
        return rates
