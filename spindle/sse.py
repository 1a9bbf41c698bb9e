"""Server-sent events, as the WHATWG HTML standard section 9.2.6 reads them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ServerEvent:
    """One event of a stream: its id (the last one told, so far), its name and its data."""

    id: str | None
    name: str
    data: str


@dataclass
class EventReader:
    """Reads a stream line by line; comments and an unfinished event at the end are left out."""

    _id: str | None = None
    _name: str = "message"
    _data: list[str] = field(default_factory=list)

    def read(self, line: str) -> ServerEvent | None:
        """Return the event that this line ends, if it does."""
        if not line:
            event = ServerEvent(self._id, self._name, "\n".join(self._data)) if self._data else None
            self._name, self._data = "message", []
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id" and "\0" not in value:
            self._id = value
        elif name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        return None


def read_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """Yield the events in lines of a stream."""
    reader = EventReader()
    for line in lines:
        event = reader.read(line)
        if event is not None:
            yield event
