"""The ways of making a proxy set, in words: listed without importing them."""

METHODS = {
    "dm": "distribution matching, sized for a CPU",
    "dm-paper": "distribution matching, as published",
    "dm-space": "distribution matching on networks of a search space",
    "random": "random real images",
    "herding": "real images near the classes' means",
    "k-center": "real images that cover the classes",
}
