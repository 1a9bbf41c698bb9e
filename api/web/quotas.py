"""What a project uses of what it may use, as bars."""

from dataclasses import dataclass

from core.models import Project


@dataclass(frozen=True)
class Quota:
    """One limit; ``unit`` is the filter that writes its numbers."""

    name: str
    used: float
    limit: float | None
    unit: str
    help: str
    reserved: float = 0.0

    @property
    def share(self) -> float:
        """How much of it is used or reserved, from 0 to 1; 0 without a limit."""
        if self.limit is None:
            return 0.0
        return min(1.0, (self.used + self.reserved) / self.limit) if self.limit else 1.0

    @property
    def tone(self) -> str:
        """How that looks: plain, tight from 80 % on, or used up."""
        return "full" if self.share >= 1 else "tight" if self.share >= 0.8 else "plain"


def quotas_of(project: Project, *, running: int) -> list[Quota]:
    """Return the quotas of a project; ``running`` is how many units of it are at work."""
    return [
        Quota(
            "Open jobs",
            project.open_jobs,
            project.max_jobs,
            "number",
            "Jobs that have not ended; another one is refused when there are so many.",
        ),
        Quota(
            "Units at once",
            running,
            project.max_running,
            "number",
            "Pieces of its jobs that workers hold at the same time; the others wait.",
        ),
        Quota(
            "GPU time",
            project.gpu_seconds_used,
            project.gpu_seconds_limit,
            "duration",
            "What its jobs took, and what open ones have reserved.",
            reserved=project.gpu_seconds_reserved,
        ),
        Quota(
            "Storage",
            project.stored_bytes,
            project.max_bytes,
            "size",
            "Of files and open uploads; the same bytes count once.",
        ),
    ]
