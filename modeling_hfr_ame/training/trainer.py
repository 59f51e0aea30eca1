"""`transformers.Trainer` with the few things that exactness and this batch contract need.

* The training loader draws `(epoch, index)` pairs from `EpochIndexSampler`, and every loader has its own
  `torch.Generator`: without one a loader draws its base seed from the global generator, which shifts dropout after a
  resume.
* `sample_ids` are dropped before the model, columns are never removed, and predictions are the logits alone.
* Named loss terms are averaged over the logging window and over processes.
* Text encoder and the rest have their own learning rates.
* With `average_weights`, a running average of the weights is scored, kept beside each checkpoint and left in the model.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler
from transformers import Trainer

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.training.arguments import SentimentTrainingArguments
from modeling_hfr_ame.training.averaging import AVERAGE_FILE, WeightAverage
from modeling_hfr_ame.training.callbacks import GradientValueLimit, SamplerEpoch, TrainingProgress, WeightAveraging
from modeling_hfr_ame.training.optimization import parameter_groups
from modeling_hfr_ame.training.processes import leave_group_at_exit
from modeling_hfr_ame.training.sampling import EpochIndexSampler


class WithoutSampleIds:
    """A collator that drops `sample_ids`, which are text for reports and no model input.

    Args:
        collator: Turns a list of samples into a batch.
    """

    def __init__(self, collator: Any) -> None:
        self.collator = collator

    def __call__(self, samples: list[Any]) -> dict[str, Any]:
        """Collates and drops.

        Args:
            samples: Encoded samples.

        Returns:
            The batch contract without `sample_ids`.
        """
        return {name: value for name, value in self.collator(samples).items() if name != "sample_ids"}


class SentimentTrainer(Trainer):
    """The training loop of every model in this package.

    Args:
        model: A model that takes the batch contract and returns its complete training loss.
        args: Training arguments.
        data_collator: Turns a list of samples into a batch; may emit `sample_ids`.
        train_dataset: Accepts `(epoch, index)` pairs; None for evaluation only.
        guidance: Completes each training batch, as a teacher does. None: batches are complete.
        **kwargs: As for `transformers.Trainer`.

    Raises:
        ConfigError: If the training split holds fewer rows than one global batch, or weights that are sharded over
            processes are to be averaged.
    """

    args: SentimentTrainingArguments
    optimizer: Any

    def __init__(
        self,
        model: nn.Module,
        args: SentimentTrainingArguments,
        data_collator: Any,
        train_dataset: Dataset[Any] | None = None,
        guidance: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            model=model, args=args, data_collator=WithoutSampleIds(data_collator), train_dataset=train_dataset, **kwargs
        )
        # With True (a forward that takes **kwargs) Trainer would scale a mean loss by the number of processes.
        self.model_accepts_loss_kwargs = False
        # A PEFT model hides the signature of the model in it.
        innermost = model.get_base_model() if isinstance(model, PeftModel) else model
        self._gives_losses = "output_losses" in inspect.signature(innermost.forward).parameters
        self._guidance = guidance
        self._loss_sums: dict[str, torch.Tensor] = {}
        self._num_loss_batches = 0
        self.train_sampler: EpochIndexSampler | None = None
        if train_dataset is not None:
            num_rows = len(train_dataset)  # type: ignore[arg-type]
            self.train_sampler = EpochIndexSampler(num_rows, args.seed, args.global_batch_size)
            self.add_callback(SamplerEpoch(self.train_sampler))
        self.add_callback(TrainingProgress())
        if args.max_grad_value is not None:
            self.add_callback(GradientValueLimit(args.max_grad_value))
        self._averaging = None if args.average_weights is None else WeightAveraging(args.average_weights)
        if self._averaging is not None:
            if self.is_fsdp_enabled or self.is_deepspeed_enabled:
                raise ConfigError(
                    "average_weights needs whole weights in each process, but FSDP and DeepSpeed shard them; leave it "
                    "out, or launch plain data-parallel processes"
                )
            self.add_callback(self._averaging)

    @property
    def _running_average(self) -> WeightAverage | None:
        return self._averaging.average if self._averaging is not None and self.is_in_train else None

    def train(self, resume_from_checkpoint: str | Path | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Trains, and leaves the averaged weights in the model if there is an average.

        Args:
            resume_from_checkpoint: A checkpoint folder. True: the last one in `output_dir`, but not with
                `average_weights`. False or None: training starts anew.
            *args: As for `transformers.Trainer`.
            **kwargs: As for `transformers.Trainer`.

        Returns:
            What `transformers.Trainer` returns.

        Raises:
            ConfigError: If an average is asked for, and the checkpoint was written without one or is given as True.
        """
        if self._averaging is not None:
            if resume_from_checkpoint is True:
                raise ConfigError(
                    "resume_from_checkpoint must name a checkpoint folder with average_weights, but is True; pass the "
                    "folder, whose average is read, too"
                )
            folder = Path(resume_from_checkpoint) if isinstance(resume_from_checkpoint, str | Path) else None
            self._averaging.resume_file = None if folder is None else folder / AVERAGE_FILE
        result = super().train(resume_from_checkpoint, *args, **kwargs)
        leave_group_at_exit()  # not after an error, where other processes may still wait in a collective
        if self._averaging is not None and self._averaging.average is not None:
            average = self._averaging.average
            if self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None:
                average.load(Path(self.state.best_model_checkpoint) / AVERAGE_FILE, self.state.best_global_step or 0)
            average.copy_to_model()
        return result

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Scores the model, during training with its averaged weights if there is an average.

        Args:
            *args: As for `transformers.Trainer`.
            **kwargs: As for `transformers.Trainer`.

        Returns:
            The metrics.
        """
        average = self._running_average
        if average is None:
            return dict(super().evaluate(*args, **kwargs))
        with average.in_model():
            return dict(super().evaluate(*args, **kwargs))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Writes the model; in a checkpoint also the averaged weights, if there is an average.

        Args:
            output_dir: The folder. None: that of the run.
            _internal_call: As for `transformers.Trainer`.
        """
        super().save_model(output_dir, _internal_call)
        average = self._running_average
        if average is not None and self.args.should_save:
            average.save(Path(output_dir or str(self.args.output_dir)) / AVERAGE_FILE)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Builds the loader of `(epoch, index)` pairs, sharded over processes by Accelerate.

        Returns:
            A loader of this process's share of each global batch.
        """
        assert self.train_dataset is not None
        assert self.train_sampler is not None
        return self._make_loader(self.train_dataset, self.train_sampler, self._train_batch_size)

    def get_eval_dataloader(self, eval_dataset: str | Dataset[Any] | None = None) -> DataLoader[Any]:
        """Builds a loader in dataset order.

        Args:
            eval_dataset: A dataset, the name of one in `eval_dataset`, or None for the one given at construction.

        Returns:
            The loader.
        """
        dataset: Any = self.eval_dataset[eval_dataset] if isinstance(eval_dataset, str) else eval_dataset
        dataset = self.eval_dataset if dataset is None else dataset
        return self._make_loader(dataset, SequentialSampler(dataset), self.args.eval_batch_size)

    def get_test_dataloader(self, test_dataset: Dataset[Any]) -> DataLoader[Any]:
        """Builds a loader in dataset order, as for evaluation.

        Args:
            test_dataset: A dataset.

        Returns:
            The loader.
        """
        return self.get_eval_dataloader(test_dataset)

    def _make_loader(self, dataset: Dataset[Any], sampler: Sampler[Any], batch_size: int) -> DataLoader[Any]:
        num_workers = self.args.dataloader_num_workers
        loader = DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=num_workers,
            pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
            persistent_workers=self.args.dataloader_persistent_workers and num_workers > 0,
            prefetch_factor=self.args.dataloader_prefetch_factor if num_workers > 0 else None,
            generator=torch.Generator().manual_seed(self.args.seed),
        )
        return self.accelerator.prepare(loader)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Creates the optimiser with its learning rate and weight decay groups.

        Args:
            model: The model to optimise; None for the trainer's own.

        Returns:
            The optimiser.
        """
        if self.optimizer is None:
            target = self.model if model is None else model
            groups = parameter_groups(
                target,
                learning_rate=self.args.learning_rate,
                text_learning_rate=self.args.text_learning_rate,
                weight_decay=self.args.weight_decay,
            )
            optimizer_class, optimizer_kwargs = self.get_optimizer_cls_and_kwargs(self.args, target)
            self.optimizer = optimizer_class(groups, **optimizer_kwargs)
        return self.optimizer

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Runs the model and notes its named loss terms while training.

        Args:
            model: The (wrapped) model.
            inputs: The batch.
            return_outputs: Whether to return the outputs too.
            num_items_in_batch: Not used; every model's loss is a mean over its batch.

        Returns:
            The loss (), or the loss and the model's outputs.
        """
        if model.training and self._guidance is not None:
            inputs = self._guidance(inputs)
        if model.training and self._gives_losses:
            inputs = {**inputs, "output_losses": True}
        outputs = model(**inputs)
        losses = outputs.get("losses") if model.training else None
        if losses:
            for name, value in losses.items():
                previous = self._loss_sums.get(name)
                detached = torch.as_tensor(value, dtype=torch.float32, device=outputs["loss"].device).detach()
                self._loss_sums[name] = detached if previous is None else previous + detached
            self._num_loss_batches += 1
        loss = outputs["loss"]
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """Predicts one batch.

        Args:
            model: The model in eval mode.
            inputs: The batch, with `labels`.
            prediction_loss_only: Whether to leave out logits and labels.
            ignore_keys: Not used; logits are the only prediction.

        Returns:
            Loss (), logits (B, 1) as float32 and labels (B,).
        """
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        loss = loss.detach().float()
        if prediction_loss_only:
            return loss, None, None
        return loss, outputs["logits"].detach().float(), inputs["labels"].detach()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the mean of each named loss term since the last training log.

        Args:
            logs: What `Trainer` logs.
            start_time: Passed on.
        """
        if "loss" in logs and self._loss_sums:
            names = sorted(self._loss_sums)
            means = torch.stack([self._loss_sums[name] for name in names]) / self._num_loss_batches
            means = self.accelerator.reduce(means, reduction="mean")
            logs = logs | {f"loss_{name}": value for name, value in zip(names, means.tolist(), strict=True)}
            self._loss_sums = {}
            self._num_loss_batches = 0
        super().log(logs, start_time)
