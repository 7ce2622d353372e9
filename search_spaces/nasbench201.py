"""The 15,625 cells of NAS-Bench-201 (Dong & Yang 2020, arXiv 2001.00326, section 2.1).

A cell is a graph of four nodes; each of its six edges is one of five operations. The network is
a 3x3 stem, three stages of N cells at widths C, 2C, 4C with residual blocks of stride 2 between
them, and a linear layer. The published accuracies are of C=16, N=5; fewer channels and cells make
the small copies that proxy training uses: ``nasbench201:C=8,N=1``.
"""

from typing import Any

import optuna
import torch
from torch import Tensor, nn

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (to, from), in the order Op0..Op5

# How its networks are best trained on proxy sets (docs/fidelity.md): the loss on what a cell was
# trained on says more than accuracy, and CIFAR's images at half their side are enough.
proxy_recipe = {"read": "fit_loss", "image_size": 16}


def build(
    trial: optuna.trial.BaseTrial,
    input_shape: tuple[int, int, int],
    num_classes: int,
    C: int = 16,
    N: int = 5,
) -> nn.Module:
    """The network of a trial for images (channels, H, W).

    Args:
        C: channels of the first stage.
        N: cells per stage.
    """
    return Network(suggest(trial), input_shape[0], num_classes, C, N)


def suggest(trial: optuna.trial.BaseTrial) -> list[str]:
    """The six operations of a trial: drawing alone, where a thousand networks would take long."""
    return [trial.suggest_categorical(f"Op{i}", list(OPERATIONS)) for i in range(len(EDGES))]


def describe(params: dict[str, Any]) -> str:
    """The benchmark's own string, such as ``|nor_conv_3x3~0|+|none~0|...``."""
    nodes: list[str] = []
    for node in (1, 2, 3):
        terms = [f"{params[f'Op{i}']}~{j}" for i, (to, j) in enumerate(EDGES) if to == node]
        nodes.append(f"|{'|'.join(terms)}|")
    return "+".join(nodes)


def canonical(params: dict[str, Any]) -> str:
    """The same text for isomorphic cells, of which there are 6,466 (the paper, section 2.1).

    Node by node, its inputs are written out and sorted: ``skip_connect`` is its source, and
    ``none``, or anything that reads a node 1 where nothing arrives, is zero. As in the benchmark
    a sum of two zeros is not simplified, so that a few cells that are equal count as two.
    """
    texts = ["0"]
    for node in (1, 2, 3):
        terms = []
        for i, (to, source) in enumerate(EDGES):
            operation = params[f"Op{i}"]
            if to != node:
                continue
            if operation == "none" or texts[source] == "#":
                terms.append("#")
            elif operation == "skip_connect":
                terms.append(texts[source])
            else:
                terms.append(f"({texts[source]})@{operation}")
        texts.append("+".join(sorted(terms)))
    return texts[-1]


_STYLE = {  # of an edge: colour, width, how its operation is written
    "skip_connect": ("#808080", 1.5, "skip"),
    "nor_conv_1x1": ("#56B4E9", 3, "conv 1x1"),
    "nor_conv_3x3": ("#0072B2", 5, "conv 3x3"),
    "avg_pool_3x3": ("#D55E00", 3, "pool 3x3"),
}
# of each edge, Op0 to Op5: its path between nodes at x = 30, 150, 270, 390, and its label's place
_PATHS = (
    ("M42 120 H138", (90, 112)),
    ("M38 110 C90 50 210 50 262 110", (150, 56)),
    ("M162 120 H258", (210, 112)),
    ("M34 108 C90 -25 330 -25 386 108", (210, 0)),
    ("M158 130 C210 190 330 190 382 130", (270, 190)),
    ("M282 120 H378", (330, 112)),
)


def draw(params: dict[str, Any]) -> str:
    """The cell as an SVG: nodes from left to right, a line an operation, ``none`` left out."""
    parts = []
    for i, (path, (x, y)) in enumerate(_PATHS):
        if params[f"Op{i}"] == "none":
            continue
        colour, width, name = _STYLE[params[f"Op{i}"]]
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        parts.append(f'<text x="{x}" y="{y}" text-anchor="middle">{name}</text>')
    for number, name in enumerate(("in", "1", "2", "out")):
        x = 30 + 120 * number
        parts.append(f'<circle cx="{x}" cy="120" r="12" fill="none" stroke="currentColor"/>')
        parts.append(f'<text x="{x}" y="124" text-anchor="middle">{name}</text>')
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 -14 420 214" role="img" '
        'font-family="sans-serif" font-size="11" fill="currentColor">' + "".join(parts) + "</svg>"
    )


class Network(nn.Module):
    """Stem, `cells` (residual blocks among them) and a linear layer."""

    def __init__(
        self, operations: list[str], channels: int, num_classes: int, C: int, N: int
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, C, 3, padding=1, bias=False), nn.BatchNorm2d(C)
        )
        cells: list[nn.Module] = []
        for stage in range(3):
            width = C * 2**stage
            if stage:
                cells.append(Residual(width // 2, width))
            cells += [Cell(operations, width) for _ in range(N)]
        self.cells = nn.ModuleList(cells)
        self.last = nn.Sequential(nn.BatchNorm2d(4 * C), nn.ReLU(inplace=True))
        self.classifier = nn.Linear(4 * C, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits: (N, C, H, W) -> (N, classes)."""
        features = self.stem(images)
        for cell in self.cells:
            features = cell(features)
        logits: Tensor = self.classifier(self.last(features).mean((2, 3)))
        return logits


class Cell(nn.Module):
    """Four nodes; each is the sum of its inputs, and the last is the output."""

    def __init__(self, operations: list[str], width: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(_operation(name, width) for name in operations)
        self.present = [i for i, name in enumerate(operations) if name != "none"]
        self.used = used_edges(operations)

    def forward(self, features: Tensor) -> Tensor:
        # evaluation computes all that is there, since the published FLOPs count it
        edges = self.used if self.training else self.present
        nodes = [features]
        for node in (1, 2, 3):
            terms = [self.edges[i](nodes[EDGES[i][1]]) for i in edges if EDGES[i][0] == node]
            # a Zero edge adds nothing, and a node without any other is zero
            nodes.append(sum(terms[1:], terms[0]) if terms else torch.zeros_like(features))
        return nodes[-1]


def used_edges(operations: list[str]) -> list[int]:
    """Edges that matter to the output; training has no use for the others."""
    reached, used = {3}, []
    for i in reversed(range(len(EDGES))):
        to, source = EDGES[i]
        if to in reached and operations[i] != "none":
            used.append(i)
            reached.add(source)
    return used[::-1]


class Zero(nn.Module):
    """The operation ``none``, which a cell leaves out of its sums."""


class Residual(nn.Module):
    """Residual block of stride 2; its shortcut is a 2x2 average and a 1x1 convolution."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.first = _conv(width_in, width, 3, stride=2)
        self.second = _conv(width, width, 3)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, stride=2, ceil_mode=True),  # an odd side ends as the convolution's
            nn.Conv2d(width_in, width, 1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        residual: Tensor = self.shortcut(features) + self.second(self.first(features))
        return residual


def _conv(width_in: int, width: int, kernel: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),  # not in place: the node it reads has other readers
        nn.Conv2d(width_in, width, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(width),
    )


def _operation(name: str, width: int) -> nn.Module:
    if name == "none":
        return Zero()
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return _conv(width, width, int(name[-1]))
