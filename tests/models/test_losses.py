"""The loss terms against torch and scikit-learn on the rows that count, and over several processes against one."""

import multiprocessing
from pathlib import Path

import pytest
import torch
from sklearn.metrics import mean_absolute_error, mean_squared_error
from torch import nn

from modeling_hfr_ame.losses import (
    band_loss,
    global_mean,
    masked_smooth_l1,
    normal_divergence,
    severity_loss,
    spectral_loss,
    task_loss,
)
from tests.models.loss_shares import losses_of, random_parts, run_share
from tests.models.model_fixtures import build_hfr_ame, random_batch


def test_losses_averaged_over_two_processes_equal_one_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=run_share, args=(rank, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]
    shares = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name, whole in losses_of(slice(0, 5)).items():
        for part, value in enumerate(whole):
            assert (shares[0][name][part] + shares[1][name][part]) / 2 == pytest.approx(value, rel=1e-5), name
    # One process has nothing to count in this term and must still take part in it.
    assert shares[1]["nothing_here"] == (0.0, 0.0)
    assert shares[0]["nothing_here"] != (0.0, 0.0)


def test_normal_divergence_agrees_with_torch_distributions() -> None:
    mean, log_variance = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).unbind(0)
    found = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(found, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(normal_divergence(mean, log_variance), expected)


def test_global_mean_of_one_process_is_the_ratio_and_zero_over_nothing() -> None:
    found = global_mean(torch.tensor([6.0, 0.0]), torch.tensor([4.0, 0.0]))
    assert found.tolist() == [1.5, 0.0]


def test_global_mean_over_nothing_has_a_zero_gradient() -> None:
    total = torch.zeros((), requires_grad=True)
    global_mean(total, torch.zeros(())).backward()
    assert total.grad == 0


def test_task_loss_equals_scikit_learn() -> None:
    logits, labels = torch.tensor([[0.5], [-2.0], [1.0]]), torch.tensor([1.0, 1.0, -0.5])
    predicted, truth = logits.squeeze(-1).numpy(), labels.numpy()
    assert task_loss(logits, labels, "l1").item() == pytest.approx(mean_absolute_error(truth, predicted))
    assert task_loss(logits, labels, "mse").item() == pytest.approx(mean_squared_error(truth, predicted))
    # Errors 0.5, 3, 1.5: quadratic up to 1, linear beyond.
    assert task_loss(logits, labels, "huber").item() == pytest.approx((0.125 + 2.5 + 1.0) / 3)


def test_masked_terms_equal_torch_over_the_valid_steps() -> None:
    restored, target, mask = random_parts()
    first, second = restored[0], target[0]
    expected = nn.functional.smooth_l1_loss(first[mask], second[mask])
    torch.testing.assert_close(masked_smooth_l1(first, second, mask), expected)
    torch.testing.assert_close(spectral_loss(first, second, mask), nn.functional.l1_loss(first[mask], second[mask]))
    present = mask[:, :4]
    expected = nn.functional.smooth_l1_loss(first[:, 0][present], second[:, 0][present])
    torch.testing.assert_close(severity_loss(first[:, 0], second[:, 0], present), expected)


def test_relative_band_loss_weighs_a_weak_band_like_a_strong_one() -> None:
    target = torch.ones(2, 1, 8, 4)
    target[1] *= 0.1
    mask = torch.ones(1, 8, dtype=torch.bool)
    strong, weak = target.clone(), target.clone()
    strong[0] *= 0.5
    weak[1] *= 0.5
    for relative, ratio in ((True, 1.0), (False, 100.0)):
        found = band_loss(strong, target, mask, relative) / band_loss(weak, target, mask, relative)
        assert found.item() == pytest.approx(ratio, rel=0.02)


@pytest.mark.parametrize(("trains", "reaches"), [("restoration", False), ("all", True)])
def test_band_loss_reaches_the_encoders_through_passed_on_features_only_on_request(trains: str, reaches: bool) -> None:
    # At initialisation the correction is zero and hands no gradient on: what is left comes past it.
    model = build_hfr_ame(band_loss_trains=trains, dropout=0.0).train()
    batch = random_batch([(9, 12, 6), (4, 3, 10), (7, 5, 5)], training=True)
    batch["audio_values"][:, 1] = 0
    model(**batch, output_losses=True).losses["band"].backward()
    gradient = model.model.encoders["audio"].projection.weight.grad
    assert (gradient is not None and bool(gradient.abs().sum() > 0)) == reaches
    assert model.model.restoration.unets["audio"].output.weight.grad.abs().sum() > 0
