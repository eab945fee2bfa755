"""`tracepost quarantine`: reports that bounce-ingest could not place, until a person has looked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="Reports that could not be placed: list, show, classify, release, rerun, drop."
)

if TYPE_CHECKING:
    pass

ReportId = Annotated[str, typer.Argument(help="the report's id", show_default=False)]
