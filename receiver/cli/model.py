"""The commands `train` and `evaluate`."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

import click

from actions.atomic_file import write_atomically
from models.inference import artifact
from models.inference.artifact import ModelError
from models.training import baselines, evaluation, foresight, pipeline, summary_table
from models.training.boosting import Boosting
from models.training.dataset import JudgedAlert
from models.training.labelled_sets import RecordedTarget, SetError, read_set
from receiver import settings
from receiver.cli import training_data
from receiver.cli.errors import BadInputError
from receiver.cli.output import echo, echo_progress
from receiver.db.database import DatabaseUrlError, database
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.connect import connect
from receiver.settings import SettingsError

_PATH = click.Path(path_type=Path)
_TIMEOUT_S = 60.0


class _TrainOptions(TypedDict):
    data: Sequence[Path]
    fleet: bool
    days: int
    most: int
    outcomes: bool
    out: Path
    seed: int
    each: int
    folds: int
    rehearse: bool


class _EvaluateOptions(TypedDict):
    folder: Path
    scores: Path | None
    as_json: bool
    compared: bool
    watch: bool
    where: Path | None


@click.command()
@click.option("--data", "data", multiple=True, required=True, type=_PATH, help="A labelled set.")
@click.option("--fleet", is_flag=True, help="Add faults injected into this fleet's history.")
@click.option("--days", default=15, show_default=True, help="Days of the fleet's history to use.")
@click.option("--most", default=20, show_default=True, help="Maximum number of instances to use.")
@click.option("--outcomes", is_flag=True, help="Add the feedback that people gave on runs.")
@click.option("--out", required=True, type=_PATH, help="Folder for the model and its card.")
@click.option("--seed", default=7, show_default=True)
@click.option(
    "--each",
    default=14,
    show_default=True,
    help="Number of faults of each kind to inject into each target.",
)
@click.option("--folds", default=6, show_default=True, help="Number of cross-validation folds.")
@click.option(
    "--rehearse",
    is_flag=True,
    help="Also evaluate each kind of fault with a model trained without it.",
)
def train(**options: Unpack[_TrainOptions]) -> None:
    """Train a model on labelled sets, on faults injected into them, and on the service's records.

    Prometheus and the database are those of the settings.
    """
    out = options["out"]
    with _bad_input():
        training_set = pipeline.TrainingData(
            folders=options["data"],
            targets=_read_fleet(options["days"], options["most"]) if options["fleet"] else (),
            judged=_read_feedback() if options["outcomes"] else (),
        )
        training_options = pipeline.TrainingOptions(
            boosting=Boosting(seed=options["seed"]),
            each=options["each"],
            folds=options["folds"],
            rehearse=options["rehearse"],
        )
        model = pipeline.train(training_set, training_options, _progress)
        entry = pipeline.write_model(model, out, write_atomically)
    for summary in (*model.figures, *model.rehearsal):
        echo(summary_table.format_table(summary) + "\n")
    echo(f"{out / entry.file}: {Path(entry.file).stem}")


def _read_fleet(days: int, most: int) -> Sequence[tuple[RecordedTarget, str]]:
    with connect(settings.load(), timeout_s=_TIMEOUT_S) as prometheus:
        return list(training_data.fleet(prometheus, now=time.time(), days=days, most=most))


def _read_feedback() -> Sequence[JudgedAlert]:
    loaded = settings.load()
    with (
        connect(loaded, timeout_s=_TIMEOUT_S) as prometheus,
        ThreadPoolExecutor() as pool,
    ):
        outcomes = training_data.outcomes(database(loaded.database_url), prometheus, pool)
        return [
            JudgedAlert(
                evidence=evidence,
                roles=tuple(roles),
                incident=incident,
                group=judgement.group or judgement.target or "",
            )
            for judgement, evidence, roles, incident in outcomes
        ]


@click.command()
@click.argument("folder", metavar="SET", type=_PATH)
@click.option("--scores", type=_PATH, help="Write one JSON line for each alert.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option(
    "--baselines",
    "compared",
    is_flag=True,
    help="Also rank the alerts by means that learn nothing.",
)
@click.option("--watch", is_flag=True, help="Measure what the watch tells before the alerts.")
@click.option(
    "--model", "where", type=_PATH, help="Folder of the model; default: the shipped model."
)
def evaluate(**options: Unpack[_EvaluateOptions]) -> None:
    """Evaluate the model on the alerts of a labelled SET, with the service's own code."""
    where, scores, compared = options["where"], options["scores"], options["compared"]
    if options["watch"] and (scores or compared):
        raise BadInputError("--watch stands alone: it scores moments, not alerts")
    with _bad_input():
        model = artifact.load_shipped() if where is None else artifact.load_folder(where)
        labelled = read_set(options["folder"])
        if options["watch"]:
            found = foresight.foresee(model, labelled, partial(_progress, labelled.name))
            told = json.dumps(found.as_dict(), indent=2)
            echo(told if options["as_json"] else foresight.format_foresight(found))
            return
        scored, took = evaluation.score_set(
            model, labelled, lambda at, of: _progress(labelled.name, at, of)
        )
        if scores is not None:
            lines = [json.dumps(alert.line()) for alert in scored]
            scores.write_text("\n".join(lines) + "\n", encoding="utf-8")
        ranked = baselines.rank(labelled, partial(_progress, "baselines")) if compared else ()
    summary = evaluation.summarise(labelled.name, model.version, scored, took)
    if options["as_json"]:
        more = {"baselines": [asdict(one) for one in ranked]} if compared else {}
        echo(json.dumps(summary.as_dict() | more, indent=2))
        return
    echo(summary_table.format_table(summary))
    if compared:
        echo("\n" + baselines.format_table(ranked))


def _progress(name: str, at: int, of: int) -> None:
    """Overwrite one line of progress; print nothing where stderr is not a terminal."""
    if not sys.stderr.isatty():
        return
    echo_progress(f"{name} {at}/{of}" + (" " * 10 if at < of else "\n"))


@contextmanager
def _bad_input() -> Iterator[None]:
    try:
        yield
    except (SetError, ModelError, SettingsError, PrometheusError, DatabaseUrlError) as error:
        raise BadInputError(str(error)) from None
    except OSError as error:
        raise BadInputError(f"{error.filename}: {error.strerror}") from None
