"""Prints the sha256 of everything that each recipe makes of three small generated samples, as JSON.

Run by the tests in processes of their own: `fingerprint.py [--reverse]`. The order of the work must not matter.
After a deliberate change of bytes: raise PROTOCOL_VERSION, then store this output as `pinned_hashes.json`.
"""

import argparse
import hashlib
import json

import numpy as np

from modeling_hfr_ame.corruption import (
    KINDS,
    PROTOCOL_VERSION,
    CorruptionRecipe,
    SampleKey,
    TrainingMix,
    corrupt_sample,
)
from modeling_hfr_ame.corruption.plans import CorruptionPlan

TEXT = "Well , the plot was THIN but I really liked how they played it right to the end !"
TRAINING_TEXT = "while plod plots thing butt eye rarely like who day paid write two too and no"
SAMPLE_IDS = ("video-a$_$0", "video-a$_$1", "video-b$_$0")


def make_frames(length: int, width: int, phase: float) -> np.ndarray:
    # rounded to multiples of 1/64, so that no platform's cosine can change the input
    waves = np.cos(np.arange(length)[:, None] * (0.3 + 0.4 * np.arange(width)) + phase) * 2.5
    frames = (np.round(waves * 64) / 64).astype(np.float32)
    frames[length // 3] = 0.0
    return frames


def list_plans() -> dict[str, CorruptionPlan]:
    plans: dict[str, CorruptionPlan] = {"clean": CorruptionRecipe.from_name("clean")}
    for kind, rule in KINDS.items():
        names = {"rate": [f"{kind}-0.3", f"{kind}-0.7"], "ladder": [f"{kind}-2", f"{kind}-5"]}
        for name in names.get(rule.scale, [f"{kind}-text", f"{kind}-audio-vision"]):
            plans[name] = CorruptionRecipe.from_name(name)
    for name in ("mix", "lnln"):
        plans[f"training-{name}"] = TrainingMix(name)
    return plans


def hash_plan(plan: CorruptionPlan, reverse: bool) -> str:
    parts = {}
    for position in sorted(range(len(SAMPLE_IDS)), reverse=reverse):
        epoch = 3 if isinstance(plan, TrainingMix) else None
        key = SampleKey("generated", "test", SAMPLE_IDS[position], seed=11, epoch=epoch)
        audio, vision = make_frames(24, 5, 0.1), make_frames(17, 7, position)
        sample = corrupt_sample(TEXT.split(), audio, vision, plan, key, TRAINING_TEXT.split())
        fields = [json.dumps(sample.words).encode()]
        for array in (sample.source_index, sample.audio, sample.vision, sample.severity, sample.present):
            fields.append(b"absent" if array is None else str((array.dtype, array.shape)).encode() + array.tobytes())
        parts[position] = b"\n".join(fields)
    return hashlib.sha256(b"\n\n".join(parts[position] for position in sorted(parts))).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--reverse", action="store_true")
    reverse = parser.parse_args().reverse
    plans = list_plans()
    hashes = {name: hash_plan(plans[name], reverse) for name in sorted(plans, reverse=reverse)}
    report = {"protocol_version": PROTOCOL_VERSION, "sha256": dict(sorted(hashes.items()))}
    print(json.dumps(report, indent=2))  # noqa: T201 (its output is its purpose)


if __name__ == "__main__":
    main()
