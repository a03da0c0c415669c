"""The commands that make a model and judge one."""

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import click

from models.inference import artifact
from models.training import evaluation, pipeline
from models.training.dataset import JudgedAlert
from models.training.labelled_sets import RecordedTarget, SetError, read_set
from receiver import settings
from receiver.cli import training_data
from receiver.db.database import DatabaseUrlError, database
from receiver.evidence.prometheus import Prometheus
from receiver.evidence.prometheus_answers import PrometheusError
from receiver.settings import SettingsError

_PATH = click.Path(path_type=Path)
_BAD_INPUT = 2
_PATIENCE_S = 60.0


@click.command()
@click.option("--data", "data", multiple=True, required=True, type=_PATH, help="A labelled set.")
@click.option("--fleet", is_flag=True, help="Inject into this fleet's own history, too.")
@click.option("--days", default=15, show_default=True, help="How much of that history.")
@click.option("--most", default=20, show_default=True, help="How many instances of it.")
@click.option("--outcomes", is_flag=True, help="Learn from what people said of runs, too.")
@click.option("--out", required=True, type=_PATH, help="The folder for the model and its card.")
@click.option("--seed", default=7, show_default=True)
@click.option("--each", default=6, show_default=True, help="Injections a kind and target.")
@click.option("--folds", default=6, show_default=True, help="Parts that groups are dealt to.")
@click.option("--rehearse", is_flag=True, help="Leave out kinds in turn, and tell how it went.")
def train(  # noqa: PLR0913 - an option each
    *,
    data: Sequence[Path],
    fleet: bool,
    days: int,
    most: int,
    outcomes: bool,
    out: Path,
    seed: int,
    each: int,
    folds: int,
    rehearse: bool,
) -> None:
    """Make a model of labelled sets, of faults injected into them, and of one's own records.

    Prometheus and the database are those of the settings.
    """
    try:
        training_set = pipeline.TrainingData(
            folders=data,
            targets=_of_fleet(days, most) if fleet else (),
            judged=_of_people() if outcomes else (),
        )
        options = pipeline.TrainingOptions(seed=seed, each=each, folds=folds, rehearse=rehearse)
        model = pipeline.train(training_set, options, _progress)
        entry = pipeline.write_model(model, out)
    except (SetError, SettingsError, PrometheusError, DatabaseUrlError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}")
    for summary in (*model.figures, *model.rehearsal):
        click.echo(evaluation.format_table(summary) + "\n")
    click.echo(f"{out / entry.file}: {entry.version}")


def _of_fleet(days: int, most: int) -> Sequence[tuple[RecordedTarget, str]]:
    with Prometheus(str(settings.load().prometheus_url), timeout_s=_PATIENCE_S) as prometheus:
        return list(training_data.fleet(prometheus, now=time.time(), days=days, most=most))


def _of_people() -> Sequence[JudgedAlert]:
    loaded = settings.load()
    with (
        Prometheus(str(loaded.prometheus_url), timeout_s=_PATIENCE_S) as prometheus,
        ThreadPoolExecutor() as pool,
    ):
        found = training_data.outcomes(database(loaded.database_url), prometheus, pool)
        return [
            JudgedAlert(
                evidence=evidence,
                roles=tuple(roles),
                incident=incident,
                group=one.group or one.target or "",
            )
            for one, evidence, roles, incident in found
        ]


@click.command()
@click.argument("folder", metavar="SET", type=_PATH)
@click.option("--scores", type=_PATH, help="Write one JSON line an alert.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--model", "where", type=_PATH, help="A folder with a model; the shipped one else.")
def evaluate(*, folder: Path, scores: Path | None, as_json: bool, where: Path | None) -> None:
    """Judge the alerts of a labelled SET with the code that serves, and tell how well."""
    try:
        model = artifact.load_shipped() if where is None else artifact.load_folder(where)
        labelled = read_set(folder)
        scored, took = evaluation.score_set(
            model, labelled, lambda at, of: _progress(labelled.name, at, of)
        )
        if scores is not None:
            lines = [json.dumps(one.line()) for one in scored]
            scores.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except (SetError, artifact.ModelError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}")
    found = evaluation.summarise(labelled.name, model.version, scored, took)
    click.echo(json.dumps(found.as_dict(), indent=2) if as_json else evaluation.format_table(found))


def _progress(what: str, at: int, of: int) -> None:
    """One line that is written over; nothing where nobody looks."""
    if not sys.stderr.isatty():
        return
    click.echo(f"\r{what} {at}/{of}" + (" " * 10 if at < of else "\n"), nl=False, err=True)


def _fail(why: str) -> NoReturn:
    click.echo(f"error: {why}", err=True)
    sys.exit(_BAD_INPUT)
