import pytest
import torch

from interactrank.modules import SequenceTransformer


def masked_reference(encoder, events, lengths):
    """One user at a time with full matrices, a band of +- window."""
    out = []
    for x in events.split(lengths.tolist()):
        n = len(x)
        x = x + encoder.positions.weight[torch.arange(n).clamp_max(encoder.max_len - 1)]
        far = (torch.arange(n).unsqueeze(1) - torch.arange(n)).abs() > encoder.window
        for layer in encoder.layers:
            q, k, v = (
                layer.qkv(layer.attention_norm(x))
                .view(n, 3, layer.heads, x.shape[-1] // layer.heads)
                .permute(1, 2, 0, 3)
            )
            scores = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).masked_fill(far, -torch.inf)
            x = x + layer.out((scores.softmax(-1) @ v).transpose(0, 1).reshape(x.shape))
            x = x + layer.feed(layer.feed_norm(x))
        out.append(encoder.norm(x))
    return torch.cat(out)


@pytest.mark.parametrize("window", [1, 3, 20])
def test_equal_to_one_user_at_a_time(window):
    encoder = SequenceTransformer(dim=8, heads=2, layers=2, max_len=5, window=window)
    lengths = torch.tensor([4, 0, 7, 1, 11])
    events = torch.randn(23, 8)
    torch.testing.assert_close(encoder(events, lengths), masked_reference(encoder, events, lengths))


def test_errors_name_the_thing():
    with pytest.raises(ValueError, match="dim is 6; it must be a multiple of heads, 4"):
        SequenceTransformer(dim=6, heads=4)
    with pytest.raises(ValueError, match="window is 0"):
        SequenceTransformer(dim=4, window=0)
