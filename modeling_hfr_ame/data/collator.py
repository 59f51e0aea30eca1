"""From a list of encoded samples to a padded batch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import BatchFeature

    from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor


class SentimentCollator:
    """Pads samples of a `SentimentDataset` to the batch contract. It holds nothing but the processor, so it pickles.

    Args:
        processor: The processor that encoded the samples.
    """

    def __init__(self, processor: "HfrAmeProcessor") -> None:
        self.processor = processor

    def __call__(self, samples: Sequence[Mapping[str, Any]]) -> "BatchFeature":
        """Makes one batch.

        Args:
            samples: B samples. Their order is the batch's; what one row holds doesn't depend on the others, except for
                the padding at its end.

        Returns:
            The padded batch; see docs/architecture.md, "Batch contract".
        """
        return self.processor.pad(list(samples))
