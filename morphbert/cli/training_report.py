"""`training_report.py`: shows a pretraining run as one HTML page."""

from __future__ import annotations

import sys

from morphbert.api.reporting import TrainingReportConfig, training_report
from morphbert.cli.command import Command, main_of


def _command() -> Command:
    return Command(
        "training_report.py",
        "Shows a run of run_pretraining.py, finished or in progress, as one HTML page that needs no network.",
        """
        training_report.py --output_dir=out/model
        """,
        TrainingReportConfig,
    )


def _report(config: TrainingReportConfig) -> None:
    print(f"report: {training_report(config)}")


main = main_of(_command, _report)


if __name__ == "__main__":
    sys.exit(main())
