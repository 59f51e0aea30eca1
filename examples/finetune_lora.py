"""Fine-tunes a text encoder by LoRA: `python examples/finetune_lora.py --base_id owner/name config.yaml …`.

Takes the arguments of train.py and those of `LoraArguments`; YAML files hold the former only. Each run folder holds the
merged model, and in it `base/` and `adapter/`:

    model = AutoModelForSequenceClassification.from_pretrained("runs/lora/seed-1111/base")
    model = PeftModel.from_pretrained(model, "runs/lora/seed-1111/adapter").eval()
"""

import sys
from collections.abc import Sequence

from transformers import HfArgumentParser

from modeling_hfr_ame.training import LoraAdaptation, LoraArguments, RunSummary
from modeling_hfr_ame.training import main as train


def main(argv: Sequence[str] | None = None) -> list[RunSummary]:
    """Trains one adapter per seed.

    Args:
        argv: Arguments without the program's name; None: `sys.argv[1:]`.

    Returns:
        One summary per seed.
    """
    parser = HfArgumentParser(LoraArguments, allow_abbrev=False, description=__doc__)
    words = list(sys.argv[1:] if argv is None else argv)
    lora_args, words = parser.parse_args_into_dataclasses(
        words, return_remaining_strings=True, look_for_args_file=False
    )
    return train(words, adaptation=LoraAdaptation(lora_args))


if __name__ == "__main__":
    main()
