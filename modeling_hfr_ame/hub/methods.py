"""The published methods that the package rebuilds, in the words of their cards: what a method is, and whose."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Method:
    """A method on a card.

    Args:
        title: Its name.
        idea: One sentence about how it works; empty where the card has more to say itself.
        source: Paper, and the public code that the `reference` variant was compared with; empty as for `idea`.
    """

    title: str
    idea: str = ""
    source: str = ""


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "hfr_ame": Method("HFR-AME"),
        "lnln": Method(
            "LNLN",
            "Each modality is condensed to a few tokens; a completeness score says how far the text can be trusted, "
            "and where it can't, a proxy made from audio and vision stands in for it and leads the fusion.",
            "Zhang, Wang and Yu, NeurIPS 2024, arXiv 2409.20012; compared by numbers with Haoyu-ha/LNLN (MIT)",
        ),
        "hme": Method(
            "HME",
            "Nothing that is missing is rebuilt: each modality is enriched with what similar samples show in it, and "
            "crossed into hyper-modalities whose uncertainty weighs them.",
            "Zhuang et al., NeurIPS 2025; compared by numbers with YetZzzzzz/HME (MIT). The paper's text was not "
            "available",
        ),
        "cyin": Method(
            "CyIN",
            "Every modality is squeezed into one informative latent space by token-wise bottlenecks, and what is "
            "missing there is translated from what is present.",
            "Lin et al., NeurIPS 2025, arXiv 2602.04920; compared by numbers with RH-Lin/CyIN, which carries no "
            "licence: nothing of it is copied",
        ),
        "dashfusion": Method(
            "DashFusion",
            "Text asks audio and vision what goes with each word, a contrastive loss aligns clips of one label, and a "
            "few bottleneck tokens, halved level by level, fuse the three.",
            "Wen et al., IEEE TNNLS 36(10), 2025, arXiv 2512.05515; compared by numbers with ultramarineX/DashFusion, "
            "which carries no licence: nothing of it is copied",
        ),
        "mmslf": Method(
            "MMSLF",
            "A teacher reads what a general model says of a clip and aligns text with audio and vision by it; a "
            "student, which never sees that, learns its attention maps and fused tokens.",
            "Zhang et al., NeurIPS 2025; compared by numbers with LOGO-CUHKSZ/MMSLF, which carries no licence: nothing "
            "of it is copied",
        ),
        "midg": Method("MIDG"),
    }
)
