"""Cost of DashFusion's contrastive loss: companions inside the batch against six encoded ones per row.

One training step of each, forward, backward and optimiser, in turn on the same model and the same batch. Weights are
random and of the published sizes; the text encoder has BERT-base's width and `--text-layers` layers.
"""

import argparse
import json
import platform
import resource
import statistics
import time

import torch
from transformers import BertConfig

from modeling_hfr_ame import DashFusionConfig, DashFusionForSentiment


def make_batch(config: DashFusionConfig, batch_size: int, length: int, device: str) -> dict[str, torch.Tensor]:
    """Random rows of one length, with labels of all classes."""
    generator = torch.Generator().manual_seed(0)
    batch = {
        "input_ids": torch.randint(1000, 2000, (batch_size, length), generator=generator),
        "attention_mask": torch.ones(batch_size, length, dtype=torch.long),
        "labels": (torch.arange(batch_size) % 7 - 3).float(),
    }
    for name, size in (("audio", config.audio_config.feature_size), ("vision", config.vision_config.feature_size)):
        batch[f"{name}_values"] = torch.randn(batch_size, length, size, generator=generator)
        batch[f"{name}_mask"] = torch.ones(batch_size, length, dtype=torch.bool)
    return {name: value.to(device) for name, value in batch.items()}


def make_companions(config: DashFusionConfig, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Companions of each row out of the batch itself, which fit by their labels; here only their cost matters."""
    same = batch["labels"].unsqueeze(1) == batch["labels"]
    positives = (same.float() - 2 * torch.eye(len(same), device=same.device)).topk(config.num_positives).indices
    negatives = (~same).float().topk(config.num_companions - config.num_positives).indices
    rows = torch.cat([positives, negatives], dim=1).flatten()
    return {name: value[rows] for name, value in batch.items()}


def main() -> None:
    """Runs the benchmark and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--text-layers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    config = DashFusionConfig(text_config=BertConfig(num_hidden_layers=args.text_layers))
    model = DashFusionForSentiment(config).to(args.device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)
    batch = make_batch(config, args.batch_size, args.length, args.device)
    companions = make_companions(config, batch)
    on_gpu = args.device.startswith("cuda")

    def step_seconds(**further: dict[str, torch.Tensor]) -> float:
        if on_gpu:
            torch.cuda.synchronize()
        # Processor time on a CPU, which other programs on the machine don't change.
        clock = time.perf_counter if on_gpu else time.process_time
        start = clock()
        optimiser.zero_grad()
        model(**batch, **further).loss.backward()
        optimiser.step()
        if on_gpu:
            torch.cuda.synchronize()
        return clock() - start

    step_seconds(), step_seconds(companions=companions)
    pairs = [(step_seconds(), step_seconds(companions=companions)) for _ in range(args.repeats)]
    ratios = [inside / encoded for inside, encoded in pairs]
    report = {
        "inside_the_batch_s": statistics.median(inside for inside, _ in pairs),
        "six_companions_s": statistics.median(encoded for _, encoded in pairs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "clock": "wall" if on_gpu else "processor",
        "batch_size": args.batch_size,
        "length": args.length,
        "text_layers": args.text_layers,
        "device": torch.cuda.get_device_name() if on_gpu else args.device,
        "threads": torch.get_num_threads(),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
