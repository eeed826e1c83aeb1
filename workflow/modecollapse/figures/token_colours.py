"""The colour behind a token, by its probability. Importing this module does not load matplotlib."""

STOPS = ("#E06650", "#F2B04A", "#DDF7C8")
"""At probabilities 0, 0.5 and 1, linear between: red, yellow and green as in the papers' figures, but of evenly rising
lightness (CIE L* 58, 76, 94), so that their order is seen without telling red from green, and in grey print."""
INK = "#111111"
"""Of the text before them: at least 5 to 1 in contrast with every colour."""
UNKNOWN = "#DDDDDD"
"""Behind a token whose probability is not known."""


def colour(probability: float) -> str:
    """The colour of a probability as ``#RRGGBB``; values beyond 0 and 1 count as these, NaN is `UNKNOWN`."""
    if probability != probability:
        return UNKNOWN
    place = min(max(probability, 0.0), 1.0) * (len(STOPS) - 1)
    at = min(int(place), len(STOPS) - 2)
    channels = [[int(stop[start : start + 2], 16) for start in (1, 3, 5)] for stop in (STOPS[at], STOPS[at + 1])]
    return "#" + "".join(f"{round(low + (high - low) * (place - at)):02X}" for low, high in zip(*channels, strict=True))
