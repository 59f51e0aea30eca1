"""Cost of the whole model relative to its text encoder alone: time per inference and per training step.

    python benchmarks/overhead.py --batch-size 32 --length 50 --repeats 7

Both models run in turn in one process, so that a drift of the machine's speed hits both alike; the report gives
medians of the paired ratios with their range. The text encoder has the size of BERT-base, its weights are random, and
the inputs are aligned sequences of equal length. A text-encoder training step has the same regression loss on its
leading token's state.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from transformers import BertConfig

from modeling_hfr_ame import HfrAmeConfig, HfrAmeForSentiment


class TextEncoderOnly(nn.Module):
    """The same text encoder with a linear regression head."""

    def __init__(self, config: HfrAmeConfig) -> None:
        super().__init__()
        self.text_model = HfrAmeForSentiment(config).model.text_model
        self.head = nn.Linear(config.text_config.hidden_size, 1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Scores (B, Lt) tokens: (B,)."""
        states = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.head(states[:, 0]).squeeze(-1)


def make_batch(config: HfrAmeConfig, batch_size: int, length: int, device: str) -> dict[str, torch.Tensor]:
    """Random aligned inputs of which every third audio and vision frame is lost, with their clean twin."""
    generator = torch.Generator().manual_seed(0)
    batch = {
        "input_ids": torch.randint(1000, 2000, (batch_size, length), generator=generator),
        "attention_mask": torch.ones(batch_size, length, dtype=torch.long),
        "labels": torch.rand(batch_size, generator=generator) * 6 - 3,
        "severity": torch.rand(batch_size, 3, generator=generator),
    }
    for name, size in (("audio", config.audio_config.feature_size), ("vision", config.vision_config.feature_size)):
        batch[f"{name}_values"] = torch.randn(batch_size, length, size, generator=generator)
        batch[f"{name}_mask"] = torch.ones(batch_size, length, dtype=torch.bool)
    clean = {f"clean_{name}": value.clone() for name, value in batch.items() if name not in ("labels", "severity")}
    for name in ("audio", "vision"):
        batch[f"{name}_values"][:, ::3] = 0
    return {name: value.to(device) for name, value in (batch | clean).items()}


def timed(call: Callable[[], None], device: str) -> float:
    """Wall seconds of one call, with the device's queue drained."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def paired_ratios(whole: Callable[[], None], part: Callable[[], None], repeats: int, device: str) -> dict[str, float]:
    """Times two calls in turn and summarises them."""
    timed(whole, device), timed(part, device)
    pairs = [(timed(whole, device), timed(part, device)) for _ in range(repeats)]
    ratios = [first / second for first, second in pairs]
    return {
        "model_s": statistics.median(first for first, _ in pairs),
        "text_encoder_s": statistics.median(second for _, second in pairs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def main() -> None:
    """Runs the benchmark and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="autocast both models to bfloat16")
    args = parser.parse_args()
    torch.manual_seed(0)
    config = HfrAmeConfig(text_config=BertConfig())
    model = HfrAmeForSentiment(config).to(args.device)
    text = TextEncoderOnly(config).to(args.device)
    batch = make_batch(config, args.batch_size, args.length, args.device)
    tokens = {name: batch[name] for name in ("input_ids", "attention_mask")}
    received = {name: value for name, value in batch.items() if not name.startswith("clean_") and name != "severity"}
    received.pop("labels")
    autocast = torch.autocast(torch.device(args.device).type, dtype=torch.bfloat16, enabled=args.bf16)

    def infer_whole() -> None:
        with torch.inference_mode(), autocast:
            model(**received)

    def infer_text() -> None:
        with torch.inference_mode(), autocast:
            text(**tokens)

    optimisers = {name: torch.optim.AdamW(m.parameters(), lr=1e-5) for name, m in (("model", model), ("text", text))}

    def train_whole() -> None:
        optimisers["model"].zero_grad()
        with autocast:
            loss = model(**batch).loss
        loss.backward()
        optimisers["model"].step()

    def train_text() -> None:
        optimisers["text"].zero_grad()
        with autocast:
            loss = nn.functional.l1_loss(text(**tokens).float(), batch["labels"])
        loss.backward()
        optimisers["text"].step()

    model.eval(), text.eval()
    inference = paired_ratios(infer_whole, infer_text, args.repeats, args.device)
    model.train(), text.train()
    training = paired_ratios(train_whole, train_text, args.repeats, args.device)
    own = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in model.model.text_model.parameters())
    report = {
        "inference": inference,
        "training_step": training,
        "batch_size": args.batch_size,
        "length": args.length,
        "repeats": args.repeats,
        "bf16": args.bf16,
        "parameters_text_encoder": sum(p.numel() for p in model.model.text_model.parameters()),
        "parameters_own": own,
        "device": torch.cuda.get_device_name() if args.device.startswith("cuda") else f"CPU, {platform.machine()}",
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
