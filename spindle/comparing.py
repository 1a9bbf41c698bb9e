"""What the API answers of comparisons, as frozen types."""

from spindle.results import Result


class ComparedModel(Result):
    """A model in a comparison."""

    id: str
    name: str = ""
    label: str | None = None


class Contest(Result):
    """One model against another, a tie counting half; ``low`` to ``high`` is the 95% interval."""

    model: str
    other: str
    wins: int = 0
    losses: int = 0
    ties: int = 0
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    prompts: int = 0
    note: str | None = None
    asked: int = 0
    same: int = 0


class Rank(Result):
    """A model's place among three or more."""

    rank: int
    model: str
    strength: float = 0.0
    low: float | None = None
    high: float | None = None
    share: float = 0.0
    votes: int = 0


class Agreement(Result):
    """How far voters agree who were asked the same."""

    pairs: int
    votes: int
    rate: float
    alpha: float | None = None


class PromptResult(Result):
    """What the votes on one prompt say."""

    index: int
    prompt: str
    results: tuple[Contest, ...] = ()


class Comparison(Result):
    """Models on the same prompts and seeds; lists tell no results."""

    id: str
    name: str = ""
    created: int = 0
    status: str
    drawn: int = 0
    failed: int = 0
    total: int = 0
    failure: dict[str, str] | None = None
    models: tuple[ComparedModel, ...] = ()
    job: str | None = None
    iteration: int | None = None
    votes: int = 0
    results: tuple[Contest, ...] | None = None
    ranking: tuple[Rank, ...] | None = None
    agreement: Agreement | None = None
    per_prompt: tuple[PromptResult, ...] | None = None

    @property
    def finished(self) -> bool:
        """Whether its pictures are drawn, as far as they can be."""
        return self.status in {"ready", "failed"}


class Side(Result):
    """One of two pictures."""

    url: str


class Ballot(Result):
    """Two pictures of one prompt; with nothing left to ask, ``id`` and the pictures are None."""

    id: str | None = None
    comparison: str
    prompt: str | None = None
    left: Side | None = None
    right: Side | None = None
    voter: str = ""
    expires: int | None = None
    remaining: int = 0


class Vote(Result):
    """What a voter said; the models are told by lists alone."""

    id: str
    ballot: str
    choice: str
    voter: str = ""
    created: int = 0
    prompt: str = ""
    seed: int = 0
    left: str = ""
    right: str = ""
    winner: str | None = None


class Undone(Result):
    """A vote that was taken back, and its ballot, which is open again."""

    id: str
    ballot: Ballot


class Pictures(Result):
    """What each model drew for one prompt; the addresses are good for an hour."""

    index: int
    prompt: str
    pictures: tuple[Result, ...] = ()
