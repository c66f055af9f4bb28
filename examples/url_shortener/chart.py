"""A bar chart as SVG: drawn on the server, in the page's colors, with a text."""

from dataclasses import dataclass
from datetime import date

WIDTH, HEIGHT, GAP = 720.0, 160.0, 2.0
STEPS = (1, 2, 3, 4, 5, 6, 8)


@dataclass(frozen=True)
class Bar:
    """One day; ``x``, ``y``, ``width`` and ``height`` in the units of the drawing."""

    day: date
    count: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Chart:
    """What ``chart.svg`` draws."""

    bars: list[Bar]
    top: int
    width: float = WIDTH
    height: float = HEIGHT

    @property
    def summary(self) -> str:
        """What the chart says, in a sentence."""
        total = sum(bar.count for bar in self.bars)
        if not total:
            return f"No clicks in the last {len(self.bars)} days."
        best = max(self.bars, key=lambda bar: bar.count)
        clicks = f"{total} click{'s' * (total != 1)}"
        return (
            f"{clicks} in the last {len(self.bars)} days, "
            f"at most {best.count}, on {best.day.day} {best.day:%B %Y}."
        )


def round_top(most: int) -> int:
    """Return the next number that reads well on an axis: one digit, and noughts."""
    scale = 1
    while True:
        for step in STEPS:
            if step * scale >= most:
                return step * scale
        scale *= 10


def chart(per_day: dict[date, int]) -> Chart:
    """Return the chart of what happened on each day."""
    top = round_top(max(per_day.values()))
    slot = WIDTH / len(per_day)
    bars = []
    for at, (day, count) in enumerate(per_day.items()):
        height = round(HEIGHT * count / top, 2)
        bars.append(
            Bar(
                day,
                count,
                round(at * slot + GAP / 2, 2),
                HEIGHT - height,
                round(slot - GAP, 2),
                height,
            )
        )
    return Chart(bars, top)
