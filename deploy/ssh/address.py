"""Where a board is, as one types it; and its words, made fit to print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgecnn.errors import UsageError
from edgecnn.runtime.terminal import printable, printable_lines

USER = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
HOST = r"[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\]"


@dataclass(frozen=True)
class Address:
    """Where a board is: ``ssh://[USER@]HOST[:PORT]``; HOST may be an alias of ssh_config."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises UsageError for anything that is not plainly such an address; a password is not repeated."""
        match = re.fullmatch(rf"ssh://(?:({USER})@)?({HOST})(?::(\d{{1,5}}))?/?", text)
        if re.search(r":[^@]*@", text.removeprefix("ssh://")):
            raise UsageError(
                "a target with a password is not taken; use a key: ssh-copy-id USER@HOST, then ssh://USER@HOST"
            )
        if match is None or not 0 < int(match[3] or 22) < 65536:
            meant = f"; did you mean ssh://{text}?" if re.fullmatch(f"(?:{USER}@)?{HOST}", text) else ""
            raise UsageError(f"'{printable(text)}' is no address (valid: ssh://[USER@]HOST[:PORT]){meant}")
        return cls(match[2].strip("[]"), match[1], int(match[3]) if match[3] else None)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        return f"ssh://{user}{host}" + (f":{self.port}" if self.port else "")

    @property
    def words(self) -> list[str]:
        """The address as ssh's command line has it."""
        user = ["-l", self.user] if self.user else []
        return [*user, *(["-p", str(self.port)] if self.port else []), "--", self.host]

    @property
    def by_hand(self) -> str:
        """The command that a person types to log in."""
        return shlex.join(["ssh", *(word for word in self.words if word != "--")])


def cleaned(value: Any, text: Callable[[str], str] = printable_lines) -> Any:
    """The JSON value with all its texts, and the names in it, made so."""
    match value:
        case dict():
            return {text(name): cleaned(item, text) for name, item in value.items()}
        case list():
            return [cleaned(item, text) for item in value]
        case str():
            return text(value)
    return value


def last_line(text: str) -> str:
    """The last line that says something, at most 300 characters of it."""
    lines = [line.strip() for line in printable_lines(text).splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing was said"
