"""Trains the tiny model in the processes that a launcher started and writes what rank 0 saw.

Usage: train_tiny.py OUT_DIR WORLD_SIZE RESUME_CHECKPOINT|- [training arguments…]
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from modeling_hfr_ame.training.arguments import parse_arguments
from modeling_hfr_ame.training.callbacks import JsonLinesLog
from modeling_hfr_ame.training.trainer import SentimentTrainer
from tests.training.tiny_sentiment import TinyConfig, TinyForSentiment, TinyRows, collate_rows, mean_absolute_error


def train_and_summarize(out: Path, world_size: int, resume: str | None, words: list[str]) -> dict[str, Any]:
    argv = ["--output_dir", str(out), "--expect_world_size", str(world_size), "--use_cpu", *words]
    _, _, args = parse_arguments(argv)
    set_seed(args.seed)
    model = TinyForSentiment(TinyConfig())
    trainer = SentimentTrainer(
        model,
        args,
        collate_rows,
        TinyRows(29),
        eval_dataset=TinyRows(13, seed=1),
        compute_metrics=mean_absolute_error,
        callbacks=[JsonLinesLog(out / "trainer_log.jsonl")],
    )
    trainer.train(resume_from_checkpoint=resume)
    seen = trainer.accelerator.gather(torch.tensor(model.seen_ids)[None]).tolist()
    weights = {name: value.tolist() for name, value in model.state_dict().items()}
    summary = {"world_size": args.world_size, "seen": seen, "weights": weights}
    if trainer.is_world_process_zero():
        (out / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return summary


def main() -> None:
    torch.set_num_threads(1)
    resume = None if sys.argv[3] == "-" else sys.argv[3]
    train_and_summarize(Path(sys.argv[1]), int(sys.argv[2]), resume, sys.argv[4:])


if __name__ == "__main__":
    main()
