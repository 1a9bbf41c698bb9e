"""The small head that the LAION aesthetic predictor and ImageReward put on a feature vector."""

from torch import Tensor, nn

WIDTHS = (1024, 128, 64, 16, 1)


class Head(nn.Module):
    """Five linear layers without anything between them but the dropout of their training."""

    def __init__(self, features: int) -> None:
        """Build the head for vectors of ``features``; its names are those of both published checkpoints."""
        super().__init__()
        widths = (features, *WIDTHS)
        linear = [nn.Linear(one, other) for one, other in zip(widths, WIDTHS, strict=False)]
        self.layers = nn.Sequential(
            linear[0], nn.Dropout(0.2), linear[1], nn.Dropout(0.2), linear[2], nn.Dropout(0.1), *linear[3:]
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return (B,) of (B, features)."""
        return self.layers(features)[:, 0]
