"""The table of docs/reliability.md: one row for each case of test_no_request_lost.py, as it was seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.shell import REPOSITORY

PAGE = REPOSITORY / "docs" / "reliability.md"
BEGIN, END = "<!-- the table: written by the test run -->\n", "<!-- end of the table -->\n"
HEAD = "| case | requests | per second | failed | what was seen |\n|---|---|---|---|---|\n"


@dataclass
class Table:
    rows: list[str] = field(default_factory=list)

    def add(self, case: str, n_sent: int, per_s: float | None, failed: dict[str, int], seen: str) -> None:
        """`failed`: how many requests by what became of them."""
        rate = "at once" if per_s is None else f"{per_s:.0f}"
        listed = ", ".join(f"{count} × {what}" for what, count in failed.items()) or "0"
        self.rows.append(f"| {case} | {n_sent:,} | {rate} | {listed} | {seen} |\n")

    def write_to(self, page: Path) -> None:
        before, _, rest = page.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        page.write_text(before + BEGIN + HEAD + "".join(self.rows) + END + after)
