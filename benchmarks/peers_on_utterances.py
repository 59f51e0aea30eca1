"""The peers' two variants on real utterance features: one vector per modality and clip, no time axis.

CMU-MOSI as the declare-lab networks' vectors (layout `npz-utterance`), whose text vectors enter as `text_states` of one
step. With sequences of one step nothing is padded, so this compares the repairs that padding doesn't concern. A row
trains with all modalities or, as often, with one of the six smaller sets, drawn anew in each epoch; each of the seven
sets is scored. Writes one JSON document, and prints the tables that `docs/results/peers.md` shows of it.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Dataset
from transformers import BertConfig, set_seed

from modeling_hfr_ame.data import load_stored_dataset, read_manifest, stored_rows
from modeling_hfr_ame.data.manifest import MANIFEST_NAME, sha256_file
from modeling_hfr_ame.evaluation import compute_metrics_for_trainer
from modeling_hfr_ame.evaluation.markdown import mean_and_sd
from modeling_hfr_ame.evaluation.metrics import sentiment_metrics
from modeling_hfr_ame.evaluation.seed_statistics import paired_comparison, summarize_seeds
from modeling_hfr_ame.training.arguments import SentimentTrainingArguments, parse_overrides
from modeling_hfr_ame.training.companions import (
    CompanionCollator,
    CompanionDataset,
    CompanionRanking,
    companion_counts,
)
from modeling_hfr_ame.training.recipes import ConfigInputs, find_recipe
from modeling_hfr_ame.training.run_record import package_versions
from modeling_hfr_ame.training.trainer import SentimentTrainer

MODALITIES = ("text", "audio", "vision")
_COLUMNS = ("text_features", "audio", "vision")
SETS = ("tav", "ta", "tv", "av", "t", "a", "v")
VARIANTS = ("repaired", "reference")
EPOCHS = 15
# Every sixth video of the training part, in the order of their names, selects the epoch.
VALIDATION_STRIDE = 6
_LIMIT = 5.0
# Recipes that fit the published schedules; here all share one, as in the study on generated talkers.
_TRAINING: dict[str, Any] = {
    "num_train_epochs": float(EPOCHS),
    "learning_rate": 1e-3,
    "text_learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "global_batch_size": 32,
    "early_stopping_patience": None,
}
SIZES = {
    "lnln": "hidden_size=32 num_tokens=4 num_attention_heads=4 head_size=8 ffn_size=64 num_hyper_heads=4 "
    "completeness_size=32 discriminator_size=32",
    "hme": "hidden_size=32 num_attention_heads=4 num_layers=2 num_hyper_layers=1 num_latent_layers=1 "
    "fusion_ffn_size=128",
    "cyin": "aligned_length=1 projection_padding=1 bottleneck_size=32 bottleneck_hidden_size=64 "
    "translator_sizes=[16,8] num_translator_blocks=2 hidden_size=32 num_crossmodal_layers=1 num_memory_layers=1 "
    "num_attention_heads=4",
    "dashfusion": "hidden_size=32 num_audio_layers=1 num_vision_layers=1 num_audio_heads=4 num_vision_heads=4 "
    "encoder_ffn_size=64 num_alignment_heads=4 alignment_head_size=8 num_attention_heads=4 fusion_ffn_size=64 "
    "head_sizes=[64,32]",
}


def present_of(names: str) -> NDArray[np.bool_]:
    """Letters of a set of modalities → (3,) bool."""
    return np.array([name[0] in names for name in MODALITIES])


@dataclass(frozen=True)
class VectorRows(Dataset[dict[str, Any]]):
    """Clips with one standardised vector per modality.

    Args:
        vectors: (N, width) float32 by modality.
        labels: (N,).
        names: Set of modalities that every row has. None: drawn from seed, epoch and row.
        seed: Of the draws.
    """

    vectors: dict[str, NDArray[np.float32]]
    labels: NDArray[np.float64]
    names: str | None = "tav"
    seed: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def with_corruption(self, _: None) -> "VectorRows":
        """The same rows with all modalities."""
        return replace(self, names="tav")

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        epoch, row = key if isinstance(key, tuple) else (0, key)
        names = self.names
        if names is None:
            draws = np.random.default_rng((self.seed, epoch, row))
            names = "tav" if draws.random() < 0.5 else SETS[1 + int(draws.integers(len(SETS) - 1))]
        found = {name: vectors[row] for name, vectors in self.vectors.items()}
        return found | {"present": present_of(names), "labels": self.labels[row]}


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Makes the batch contract, with the complete rows as the clean twin."""
    present = torch.from_numpy(np.stack([sample["present"] for sample in samples]))
    batch = {"modality_mask": present, "severity": (~present).float()}
    everywhere = torch.ones(len(samples), 1, dtype=torch.bool)
    for column, name in enumerate(MODALITIES):
        values = torch.from_numpy(np.stack([sample[name] for sample in samples])).unsqueeze(1)
        key, mask_key = ("text_states", "attention_mask") if name == "text" else (f"{name}_values", f"{name}_mask")
        mask = present[:, column : column + 1]
        batch |= {key: values * mask.unsqueeze(-1), mask_key: mask, f"clean_{key}": values}
        batch[f"clean_{mask_key}"] = everywhere
    batch["labels"] = torch.tensor([float(sample["labels"]) for sample in samples])
    return batch


def read_rows(folder: Path) -> tuple[dict[str, VectorRows], dict[str, Any]]:
    """Reads and standardises the stored dataset; the training part is divided into training and validation by video.

    Args:
        folder: Stored dataset with the splits `train` and `test`, and `text_features`.

    Returns:
        Rows by split, and what the document says of the data.
    """
    tables = {split: list(stored_rows(load_stored_dataset(folder, split))) for split in ("train", "test")}
    # A row that lacks a vector could not be scored on all sets.
    complete = {
        split: [row for row in rows if all(row[c] is not None for c in _COLUMNS)] for split, rows in tables.items()
    }
    held_back = set(sorted({row["video_id"] for row in complete["train"]})[::VALIDATION_STRIDE])
    parts = {
        "train": [row for row in complete["train"] if row["video_id"] not in held_back],
        "validation": [row for row in complete["train"] if row["video_id"] in held_back],
        "test": complete["test"],
    }
    arrays = {
        split: {
            name: np.stack([row[column][0] for row in rows]) for name, column in zip(MODALITIES, _COLUMNS, strict=True)
        }
        for split, rows in parts.items()
    }
    scale = {name: (values.mean(0), values.std(0) + 1e-6) for name, values in arrays["train"].items()}
    found = {}
    for split, rows in parts.items():
        vectors = {
            name: np.clip((values - scale[name][0]) / scale[name][1], -_LIMIT, _LIMIT).astype(np.float32)
            for name, values in arrays[split].items()
        }
        found[split] = VectorRows(vectors, np.array([row["label"] for row in rows]))
    manifest = read_manifest(folder)
    return found, {
        "dataset_name": manifest["dataset_name"],
        "manifest_sha256": sha256_file(folder / MANIFEST_NAME),
        "fold": manifest["details"]["fold"],
        "num_rows": {split: len(rows) for split, rows in found.items()},
        "num_validation_videos": len(held_back),
        "widths": {name: int(values.shape[1]) for name, values in arrays["train"].items()},
    }


def build_model(name: str, variant: str, widths: dict[str, int]) -> Any:
    """Builds a peer at the study's sizes; its text encoder is a stand-in that nothing reads."""
    text = BertConfig(vocab_size=8, hidden_size=widths["text"], num_hidden_layers=1, num_attention_heads=2)
    inputs = ConfigInputs(
        text_config=text,
        feature_sizes={key: widths[key] for key in ("audio", "vision")},
        label_range=(-3.0, 3.0),
        metric_scheme="mosi",
        unk_token_id=None,
        overrides=parse_overrides(SIZES[name].split()),
        max_lengths=dict.fromkeys(MODALITIES, 1),
    )
    recipe = find_recipe(name)
    return recipe.model_class(recipe.config_of(inputs, variant))


@torch.no_grad()
def predict(model: Any, rows: VectorRows, batch_size: int = 32) -> NDArray[np.float32]:
    """Scores the rows in their order, (N,)."""
    model.eval()
    found = []
    for start in range(0, len(rows), batch_size):
        batch = collate([rows[row] for row in range(start, min(start + batch_size, len(rows)))])
        del batch["labels"]
        found.append(model(**batch).logits.squeeze(-1).numpy())
    return np.concatenate(found)


def train_and_score(name: str, variant: str, seed: int, rows: dict[str, VectorRows], widths: dict[str, int]) -> Any:
    """Trains one seed, takes the epoch with the lowest validation MAE over the seven sets, and scores each set."""
    set_seed(seed)
    model = build_model(name, variant, widths)
    train: Any = replace(rows["train"], names=None, seed=seed)
    collator: Any = collate
    callbacks = []
    recipe = find_recipe(name)
    kind = recipe.variant(variant).companions
    if kind is not None:
        train, collator = CompanionDataset(train, companion_counts(model.config), seed), CompanionCollator(collate)
        callbacks.append(CompanionRanking(train, collate, as_published=kind == "published"))
    validation = ConcatDataset([replace(rows["validation"], names=names) for names in SETS])
    with tempfile.TemporaryDirectory() as folder:
        args = SentimentTrainingArguments(
            **{**recipe.training_defaults, **_TRAINING}, output_dir=folder, seed=seed, use_cpu=True, disable_tqdm=True
        )
        trainer = SentimentTrainer(
            model,
            args,
            collator,
            train,
            eval_dataset=validation,
            compute_metrics=compute_metrics_for_trainer("mosi"),
            callbacks=callbacks,
        )
        trainer.train()
        best = trainer.state.best_global_step
    scores = {}
    for names in SETS:
        test = replace(rows["test"], names=names)
        scores[names] = sentiment_metrics(predict(model, test), test.labels)
    scores["missing"] = {
        metric: float(np.mean([scores[names][metric] for names in SETS[1:]])) for metric in scores["tav"]
    }
    steps = len(rows["train"]) // args.global_batch_size
    own = {key: value for key, value in model.named_parameters() if not key.startswith("text_model.")}
    return {
        "seed": seed,
        "selected_epoch": best / steps,
        "num_parameters": sum(value.numel() for value in own.values()),
        "scores": scores,
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    summary = summarize_seeds(values)
    return {"mean": summary.mean, "sd": summary.sd}


def summarise(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Mean and spread per variant and set, and the paired difference repaired − reference."""
    document: dict[str, Any] = {"variants": {}, "differences": {}}
    for variant, found in runs.items():
        document["variants"][variant] = {
            "runs": found,
            "mean": {
                names: {
                    metric: _spread([run["scores"][names][metric] for run in found])
                    for metric in found[0]["scores"][names]
                }
                for names in (*SETS, "missing")
            },
        }
    for names in ("tav", "missing"):
        document["differences"][names] = {
            metric: paired_comparison(
                *([run["scores"][names][metric] for run in runs[variant]] for variant in VARIANTS)
            ).as_dict()
            for metric in ("mae", "corr")
        }
    return document


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines] + [""]


def tables(document: dict[str, Any]) -> str:
    """The Markdown tables of the document."""
    overview, by_set, differences = [], [], []
    for name, model in document["models"].items():
        for variant, found in model["variants"].items():
            means = found["mean"]
            cells = [mean_and_sd(means[names][metric]) for names in ("tav", "missing") for metric in ("mae", "corr")]
            overview.append([name, variant, *cells, f"{found['runs'][0]['num_parameters']:,}"])
            by_set.append([name, variant, *(mean_and_sd(means[names]["mae"]) for names in SETS[1:])])
        for names, metrics in model["differences"].items():
            for metric, found in metrics.items():
                interval = f"[{found['low']:+.4f}, {found['high']:+.4f}]"
                shown = "yes" if found["excludes_zero"] else "no"
                differences.append([name, names, metric, f"{found['mean_difference']:+.4f}", interval, shown])
    head = ["model", "variant", "tav MAE", "tav Corr", "missing MAE", "missing Corr", "parameters"]
    lines = _table(head, overview)
    lines += ["MAE of each smaller set:", "", *_table(["model", "variant", *SETS[1:]], by_set)]
    lines += ["Paired differences over seeds, 95 % t-interval:", ""]
    lines += _table(["model", "set", "metric", "repaired − reference", "interval", "excludes 0"], differences)
    return "\n".join(lines).strip()


def main() -> None:
    """Runs the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="stored dataset of the layout npz-utterance")
    parser.add_argument("--out", type=Path, required=True, help="the JSON document")
    parser.add_argument("--models", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1111, 1112, 1113])
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows, data = read_rows(args.dataset)
    train_mean = float(rows["train"].labels.mean())
    document: dict[str, Any] = {
        "study": "peers on utterance features",
        "data": data,
        "training": {**_TRAINING, "corruption": "half of the rows complete, others one of six smaller sets, per epoch"},
        "selection": "lowest validation MAE over the seven sets of modalities",
        "seeds": args.seeds,
        "sizes": SIZES,
        "constant_mean_mae": float(np.abs(rows["test"].labels - train_mean).mean()),
        "versions": package_versions(),
        "models": {},
    }
    for name in args.models:
        runs: dict[str, list[dict[str, Any]]] = {variant: [] for variant in VARIANTS}
        for variant in VARIANTS:
            for seed in args.seeds:
                run = train_and_score(name, variant, seed, rows, data["widths"])
                runs[variant].append(run)
                found = {names: round(run["scores"][names]["mae"], 3) for names in (*SETS, "missing")}
                print(name, variant, seed, f"epoch {run['selected_epoch']:.0f}", found, flush=True)
        document["models"][name] = summarise(runs)
        args.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(tables(document))


if __name__ == "__main__":
    main()
