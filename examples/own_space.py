"""A search in a space of one's own, from its own file, and a prediction on a new picture.

    python examples/own_space.py [FOLDER]

Of the 36 networks of `my_space.py` eight are trained on small pictures of garments, which are
bundled. The best is then asked about a picture that no data set holds: drawn here, larger, in
colour. Two minutes at most on two cores; what is made is left in the folder (runs/own-space).
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw

import nasproxy


def draw_trousers(path: Path) -> None:
    """A pair of trousers, blue on black, 112x112 pixels."""
    picture = Image.new("RGB", (112, 112))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((32, 4, 80, 36), fill="steelblue")
    pen.polygon([(32, 36), (56, 36), (50, 108), (32, 108)], fill="steelblue")
    pen.polygon([(57, 36), (80, 36), (80, 108), (62, 108)], fill="steelblue")
    picture.save(path)


def search(folder: Path) -> nasproxy.Prediction:
    """Search, and say what the best network sees in the picture."""
    space = Path(__file__).with_name("my_space.py")
    found = nasproxy.search(
        "fashion", str(space), trainings=8, full="full:epochs=8", out=str(folder)
    )
    print(found)
    picture = folder / "trousers.png"
    draw_trousers(picture)
    network = nasproxy.load_network(found.best["weights"])
    return network.predict(picture)


if __name__ == "__main__":
    answer = search(Path(*sys.argv[1:]) if sys.argv[1:] else Path("runs/own-space"))
    print(f"trousers.png: {answer.labels[0]} ({answer.probabilities.max():.0%})")
