"""Arguments for runs of the real model that end within seconds."""

from pathlib import Path

TINY_MODEL = [
    "hidden_size=16",
    "unet_channels=[16, 16]",
    "num_attention_heads=2",
    "condition_size=16",
    "ame_hidden_size=16",
    "num_bands=2",
    "num_fusion_layers=1",
    "text_config.hidden_size=16",
    "text_config.num_attention_heads=2",
    "text_config.intermediate_size=32",
    "text_config.num_hidden_layers=1",
]
NO_DROPOUT = ["dropout=0", "text_config.hidden_dropout_prob=0", "text_config.attention_probs_dropout_prob=0"]


def tiny_run_words(dataset: Path, out: Path, *more: str, overrides: tuple[str, ...] = ()) -> list[str]:
    """Command line of a run on `dataset`; `overrides` are added to the tiny model's."""
    fixed = ["--dataset", str(dataset), "--output_dir", str(out), "--global_batch_size", "8", "--num_train_epochs", "2"]
    quiet = ["--use_cpu", "--disable_tqdm", "true", "--learning_rate", "5e-3"]
    return [*fixed, *quiet, *more, "--config_overrides", *TINY_MODEL, *overrides]
