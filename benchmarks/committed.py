"""Results that are committed: a script shows them, ``--measure`` makes them anew, ``--record`` keeps what it gave."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn import models
from edgecnn.errors import EdgeCNNError, UsageError
from edgecnn.runtime.files import write_bytes

FOLDER = Path(__file__).parent / "results"
DATA = "cifar10"  # that all committed results are of
Row = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """The rows in a file of ``benchmarks/results``; the values of ``key`` tell them apart, ``text`` is for people."""

    name: str
    key: tuple[str, ...]
    text: Callable[[Sequence[Row]], str]

    @property
    def path(self) -> Path:
        """Where they are committed."""
        return FOLDER / self.name

    def rows(self) -> list[Row]:
        """Those that are there."""
        rows: list[Row] = json.loads(self.path.read_text("utf-8")) if self.path.exists() else []
        return rows

    def main(
        self,
        parser: argparse.ArgumentParser,
        measure: Callable[[argparse.Namespace], Iterable[Row]],
        words: Sequence[str] | None,
    ) -> int:
        """Do what a command line asks for; returns the exit code.

        Options of ``parser`` that have the name of one of ``key`` say which rows are meant: lists of values. A new row
        takes the place of the one with the same key, and is recorded at once, so that nothing measured is lost. Results
        of other data than DATA are shown alone and not recorded: a row does not say what it is of.
        """
        parser.add_argument("--measure", action="store_true", help="make the results anew")
        parser.add_argument("--record", action="store_true", help="put what was measured among the committed results")
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        options = parser.parse_args(words)
        if options.record and not options.measure:
            parser.error("--record keeps what --measure makes; give both")
        other = getattr(options, "data", DATA) != DATA
        if other and (options.record or not options.measure):
            parser.error(f"the committed results are of {DATA}; other --data is measured (--measure) and not recorded")
        rows = {} if other else self._by_key()
        meant = {name: getattr(options, name) for name in self.key if hasattr(options, name)}
        try:
            if not options.measure:
                self._check_there(parser, meant)
            for row in measure(options) if options.measure else ():
                rows[self._key(row)] = row
                if options.record:  # beside what another process recorded meanwhile
                    self._write((self._by_key() | {self._key(row): row}).values())
        except EdgeCNNError as error:
            print(f"{self.path.stem}: error: {error}", file=sys.stderr)
            return error.exit_code
        shown = _those(rows.values(), meant)
        print(json.dumps(shown, indent=2) if options.json else self.text(shown))
        return 0

    def main_by_model(
        self, description: str, measure: Callable[[str, str], Iterable[Row]], words: Sequence[str] | None
    ) -> int:
        """``main`` of a script whose rows are found model by model, by ``measure(model, data)``."""
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.path.stem}", description=description)
        parser.add_argument("--model", nargs="+", default=models.names(), choices=models.names())
        parser.add_argument("--data", default=DATA)

        def rows(options: argparse.Namespace) -> Iterator[Row]:
            for model in options.model:
                print(model, file=sys.stderr)
                yield from measure(model, options.data)

        return self.main(parser, rows, words)

    def _check_there(self, parser: argparse.ArgumentParser, meant: Mapping[str, Sequence[Any]]) -> None:
        """Raise UsageError where there is no row of what is ``meant``, or none of a value that was given."""
        rows = self.rows()
        for name, values in meant.items():
            known = dict.fromkeys(row[name] for row in rows)
            for value in values if values is not parser.get_default(name) else ():
                if value not in known:
                    there = ", ".join(map(str, known)) or "none"
                    raise UsageError(f"there is no result of {name} {value} (valid: {there}); --measure makes new ones")
        if not _those(rows, meant):
            raise UsageError(f"there is no result of all this together ({', '.join(meant)}); ask for less")

    def _by_key(self) -> dict[tuple[Any, ...], Row]:
        return {self._key(row): row for row in self.rows()}

    def _write(self, rows: Iterable[Row]) -> None:
        lines = ",\n".join(json.dumps(row) for row in rows)
        write_bytes(self.path, f"[\n{lines}\n]\n".encode())

    def _key(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in self.key)


def shown_decibels(value: float | None) -> str:
    """A ratio in dB; None is that of no noise at all."""
    return "exact" if value is None else f"{value:.2f}"


def _those(rows: Iterable[Row], meant: Mapping[str, Sequence[Any]]) -> list[Row]:
    """The rows that have one of the values which are ``meant``, of each name."""
    return [row for row in rows if all(row[name] in values for name, values in meant.items())]
