"""Small vision transformers (arXiv 2010.11929) for training speed: 54 of them.

Patches by a convolution, learned positions, encoder layers with their norms first, and the mean
of the tokens; depth, width, heads, and the width of the layers between are chosen.
"""

import optuna
import torch
from torch import Tensor, nn

PATCH = 4  # pixels


def build(
    trial: optuna.trial.BaseTrial, input_shape: tuple[int, int, int], num_classes: int
) -> nn.Module:
    """The network of a trial for images (C, H, W)."""
    return VisionTransformer(
        input_shape,
        num_classes,
        depth=trial.suggest_categorical("depth", [1, 2, 3]),
        width=trial.suggest_categorical("width", [32, 48, 64]),
        heads=trial.suggest_categorical("heads", [1, 2, 4]),
        factor=trial.suggest_categorical("factor", [1, 2]),
    )


class VisionTransformer(nn.Module):
    def __init__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int,
        depth: int,
        width: int,
        heads: int,
        factor: int,
    ) -> None:
        super().__init__()
        channels, height, width_pixels = input_shape
        tokens = (height // PATCH) * (width_pixels // PATCH)
        self.patches = nn.Conv2d(channels, width, PATCH, PATCH)
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.encoder = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, heads, factor * width, dropout=0.0, batch_first=True, norm_first=True
                )
                for _ in range(depth)
            ),
            nn.LayerNorm(width),
        )
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, num_classes)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.classifier(self.encoder(tokens).mean(1))
        return logits
