"""What a search found, in words and as JSON values."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nasproxy.estimators.making import parse_by

AHEAD = 5  # trainings whose gain is weighed


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        best: ``architecture``, ``params`` (its choices), ``validation_accuracy`` (what full
            training gave, also where that is another metric or a table), ``test_accuracy`` and
            ``weights`` (a file), None where the full training is not ours.
        trainings: architectures trained in full.
        pool: architectures that they were chosen from.
        seconds: by stage: ``free``, ``proxy`` (with making the set) and ``full``, of the clock.
        expected_of_random: ``mean`` and ``interval`` (95%) of the truth that as many trainings of
            architectures drawn at random would have found, by the surrogate.
        random_needs: random trainings that find one as good in the mean, by the surrogate; None if
            it takes hundreds.
        scores: the say of each cheap ranking in the end: how far the truth is expected to rise,
            in standard deviations, with one of the ranking. Below 0 it misleads here.
        gain: what `AHEAD` more trainings are expected to add to the best.
        noise: standard deviation of one training of the best.
        ended: why no more were trained, in words.
        folder: where everything is.
        front: of two objectives: ``architecture``, ``validation_accuracy`` and ``cost`` of what
            nothing else is both as good and as cheap as, from the cheapest; else empty.
        steps: training by training, see `trace`.
        random_curve: mean and ends of the 95% interval of what 1, 2, ... random trainings would
            have found.
        hypervolume: likewise the area under the front, ``found``, and ``of_random`` (``mean`` and
            95% ``interval``): accuracy above the worst seen, over the place of the cost among the
            pool's, in [0, 1]. Else empty.
    """

    best: dict[str, Any]
    trainings: int
    pool: int
    seconds: dict[str, float]
    expected_of_random: dict[str, Any]
    random_needs: int | None
    scores: dict[str, float]
    gain: float
    noise: float
    ended: str
    folder: Path
    steps: list[dict[str, Any]]
    random_curve: list[list[float]]
    front: list[dict[str, Any]] = field(default_factory=list)
    hypervolume: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "folder": str(self.folder)}

    def __str__(self) -> str:
        best, random = self.best, self.expected_of_random
        low, high = random["interval"]
        test = best["test_accuracy"]
        tested = "" if test is None else f", test accuracy {100 * test:.2f}%"
        pays = "it may pay" if self.gain > self.noise else "it hardly pays"
        say = ", ".join(
            f"{parse_by(name).study_name} {weight:+.2f}" for name, weight in self.scores.items()
        )
        lines = [
            f"Best of {self.trainings} trained, out of a pool of {self.pool}: "
            f"{best['architecture']}",
            f"Full training: {best['validation_accuracy']:.4g}{tested}.",
            f"As many random trainings would have found {random['mean']:.4g} "
            f"[{low:.4g}, {high:.4g}], by what is known now; "
            f"{self.random_needs or 'hundreds'} find one as good.",
            f"The say of each score here: {say or 'none was given'}.",
            f"Seconds: {', '.join(f'{stage} {s:.0f}' for stage, s in self.seconds.items())}.",
            f"It ended because {self.ended}. {AHEAD} more trainings are expected to add "
            f"{self.gain:.2g}, and one training varies by {self.noise:.2g}: {pays} to go on.",
        ]
        if self.front:
            area, (low, high) = self.hypervolume["found"], self.hypervolume["of_random"]["interval"]
            lines[1:1] = [
                f"Front of {len(self.front)}, hypervolume {area:.4g}; as many random trainings: "
                f"{self.hypervolume['of_random']['mean']:.4g} [{low:.4g}, {high:.4g}].",
                *(f"  {p['cost']:.4g}: {p['validation_accuracy']:.4g}  {p['architecture']}"
                  for p in self.front),
            ]  # fmt: skip
        if best["weights"]:
            lines += [
                "Rebuild the trained network with",
                f"    network = nasproxy.load_network({best['weights']!r})",
            ]
        return "\n".join(lines)
