"""How many threads draw, on a processor.

The operations of a small model end before a second thread has begun: the starter (4 million parameters) draws
one picture faster with one thread than with two, four pictures with two. One thread also stands still less
where other work keeps the processors busy, and leaves one to whoever asks for the next picture.
"""

import torch

from spin_engine.families.family import Family

ALL = torch.get_num_threads()
WORTH = 12_000_000
"""Parameters of the denoiser times pictures, from which more than one thread draws faster."""


def set_threads(family: Family, pictures: int) -> None:
    """Let as many threads draw so many pictures in one go as draw them fastest."""
    if family.device.type == "cpu":
        parameters = sum(each.numel() for each in family.denoiser.parameters())
        torch.set_num_threads(1 if parameters * pictures < WORTH else ALL)
