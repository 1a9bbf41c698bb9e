"""The ways to measure pictures, as people read them. docs/metrics.md tells how each is computed."""

from collections.abc import Sequence

from core.report.facts import Column, Measure

MEASURES = (
    Measure(
        "frechet_distance",
        "Fréchet distance",
        "lower",
        1,
        "How far the drawn pictures as a whole are from the real ones, in the features of the judge network.",
    ),
    Measure(
        "style_share",
        "style",
        "higher",
        2,
        "Share of drawings that the judge takes for the style of the fine-tuning pictures.",
    ),
    Measure(
        "histogram_distance",
        "colour distance",
        "lower",
        2,
        "Difference of the colours that the drawn and the real pictures use, from 0 to 1.",
    ),
    Measure(
        "retrieval_at_10",
        "captions found",
        "higher",
        2,
        "Share of drawings whose caption is among the ten that the judge finds closest.",
    ),
    Measure(
        "caption_cosine",
        "caption likeness",
        "higher",
        2,
        "Mean cosine of drawing and caption in the judge's space.",
    ),
    Measure("clip_score", "CLIP score", "higher", 2, "Likeness of drawing and caption in CLIP's space."),
    Measure("pickscore", "PickScore", "higher", 2, "The taste of Pick-a-Pic's users."),
    Measure("hpsv2.0", "HPS v2.0", "higher", 4, "The taste of HPD v2's raters."),
    Measure("hpsv2.1", "HPS v2.1", "higher", 4, "The taste of HPD v2's raters, by the later network."),
    Measure("imagereward", "ImageReward", "higher", 3, "The taste of ImageReward's raters."),
    Measure("aesthetic", "aesthetic score", "higher", 2, "LAION's predictor of a rating from 1 to 10."),
    Measure("fid", "FID", "lower", 1, "Squared Fréchet distance of drawn and real pictures."),
    Measure("kid", "KID", "lower", 4, "Kernel distance of drawn and real pictures."),
    Measure("precision", "precision", "higher", 2, "Share of drawings within reach of real pictures."),
    Measure("recall", "recall", "higher", 2, "Share of real pictures within reach of drawings."),
)
KNOWN = {measure.name: measure for measure in MEASURES}


def measures_of(columns: Sequence[Column]) -> list[Measure]:
    """Return what was measured of any column, the known ones first; one that we do not know by its name."""
    names = {key.partition("@")[0] for column in columns for key in column.measured}
    known = [measure for measure in MEASURES if measure.name in names]
    others = [Measure(name, name.replace("_", " "), None, 3, "") for name in sorted(names - KNOWN.keys())]
    return known + others
