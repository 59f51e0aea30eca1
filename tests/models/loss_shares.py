"""Loss terms of one share of the rows, in a process of their own.

Not in the test file: a spawned process must import this by the name under which the parent imported it.
"""

from pathlib import Path

import torch

from modeling_hfr_ame.losses import band_loss, masked_smooth_l1, severity_loss, spectral_loss

# Unequal shares of the rows: local means over them would weigh the rows of the smaller share more.
SHARES = (slice(0, 3), slice(3, 5))


def random_parts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Restored and target bands (3, 5, 6, 4) and a mask (5, 6) with rows of very different length."""
    generator = torch.Generator().manual_seed(0)
    restored, target = torch.randn(2, 3, 5, 6, 4, generator=generator)
    return restored, target, torch.arange(6) < torch.tensor([6, 1, 4, 0, 2]).unsqueeze(-1)


def losses_of(rows: slice) -> dict[str, tuple[float, float]]:
    """Each term over some rows, and its gradient by a common factor on what is judged."""
    restored, target, mask = (part[..., rows, :, :] if part.dim() == 4 else part[rows] for part in random_parts())
    found = {}
    for name in ("relative", "plain", "smooth_l1", "spectral", "severity", "nothing_here"):
        factor = torch.ones((), requires_grad=True)
        judged = factor * restored
        if name in ("relative", "plain"):
            loss = band_loss(judged, target, mask, name == "relative")
        elif name == "severity":
            loss = severity_loss(judged[0, :, 0], target[0, :, 0].abs(), mask[:, :4])
        elif name == "nothing_here":
            only_first_rows = mask & (torch.arange(len(mask)) + rows.start < 3).unsqueeze(-1)
            loss = masked_smooth_l1(judged[0], target[0], only_first_rows)
        else:
            loss = {"smooth_l1": masked_smooth_l1, "spectral": spectral_loss}[name](judged[0], target[0], mask)
        loss.backward()
        assert factor.grad is not None
        found[name] = (loss.item(), factor.grad.item())
    return found


def run_share(rank: int, folder: Path) -> None:
    """One of two processes: joins the group through a file and stores its terms."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(losses_of(SHARES[rank]), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()
