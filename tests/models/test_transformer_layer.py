"""The transformer layer against PyTorch's own."""

import pytest
import torch
from torch import nn

from modeling_hfr_ame.attention import TransformerLayer
from tests.models.model_fixtures import tiny_lnln_config

WIDTH, FFN_SIZE = 16, 24


def layer_pair(norm_first: bool, activation: str) -> tuple[TransformerLayer, nn.TransformerEncoderLayer]:
    torch.manual_seed(0)
    config = tiny_lnln_config(dropout=0.0)
    own = TransformerLayer(config, WIDTH, FFN_SIZE, norm_first=norm_first, activation=activation, num_heads=4).eval()
    theirs = nn.TransformerEncoderLayer(
        WIDTH, 4, FFN_SIZE, 0.0, activation, batch_first=True, norm_first=norm_first
    ).eval()
    parts = own.attention
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.normal_(std=0.3)
        for kind in ("weight", "bias"):
            stacked = torch.cat([getattr(part, kind) for part in (parts.query, parts.key, parts.value)])
            getattr(theirs.self_attn, f"in_proj_{kind}").copy_(stacked)
    pairs = ((theirs.self_attn.out_proj, parts.output), (theirs.linear1, own.ffn_in), (theirs.linear2, own.ffn_out))
    for other, module in (*pairs, (theirs.norm1, own.attention_norm), (theirs.norm2, own.ffn_norm)):
        other.load_state_dict(module.state_dict())
    return own, theirs


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_layer_with_padding_equals_pytorchs(norm_first: bool, activation: str) -> None:
    own, theirs = layer_pair(norm_first, activation)
    states = torch.randn(3, 5, WIDTH)
    mask = torch.arange(5) < torch.tensor([[5], [3], [1]])
    found = own(states, None, mask)
    expected = theirs(states, src_key_padding_mask=~mask)
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-5, rtol=1e-5)


def test_layer_with_geglu_gates_one_half_by_the_other() -> None:
    layer = TransformerLayer(tiny_lnln_config(), WIDTH, FFN_SIZE, activation="geglu", num_heads=2).eval()
    states = torch.randn(2, 3, WIDTH)
    with torch.no_grad():
        layer.attention.output.weight.zero_()
        layer.attention.output.bias.zero_()
        hidden = layer.ffn_in(layer.ffn_norm(states))
        gated = hidden[..., :FFN_SIZE] * nn.functional.gelu(hidden[..., FFN_SIZE:])
        torch.testing.assert_close(layer(states), states + layer.ffn_out(gated))


def test_layer_with_a_norm_for_the_source_reads_keys_and_values_through_it() -> None:
    layer = TransformerLayer(tiny_lnln_config(), WIDTH, FFN_SIZE, source_norm=True, num_heads=2).eval()
    states, source = torch.randn(2, 3, WIDTH), torch.randn(2, 4, WIDTH)
    assert layer.value_norm is None
    with torch.no_grad():
        before = layer(states, None, None, source)
        layer.key_norm.weight.zero_()
        layer.key_norm.bias.zero_()
        # All keys and values are now the same, so the source no longer matters.
        after = [layer(states, None, None, other) for other in (source, torch.randn(2, 4, WIDTH))]
    torch.testing.assert_close(*after)
    assert not torch.allclose(before, after[0])


def test_layer_with_a_dropout_rate_of_its_own_uses_it() -> None:
    layer = TransformerLayer(tiny_lnln_config(dropout=0.5), WIDTH, FFN_SIZE, dropout=0.0, num_heads=2).train()
    states = torch.randn(2, 3, WIDTH)
    assert torch.equal(layer(states), layer(states))
