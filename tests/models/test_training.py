"""A training as a whole: two machines and a few trees give a model that the service can load."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actions.atomic_file import write_atomically
from models.features.vector import GROUP_OF, NAMES, features
from models.features.window import window
from models.inference import artifact
from models.inference.detector import judge
from models.inference.scorers import prepare_rows
from models.inference.verdict import Answer
from models.training import pipeline
from models.training.boosting import Boosting
from models.training.cross_fit import cross_fit
from models.training.dataset import Origin, Rows
from models.training.injection.fault_injection import inject
from models.training.injection.idle_host import idle
from models.training.injection.made_siblings import made_siblings
from models.training.injection.service_roles import with_service_roles
from models.training.injection.signatures import SIGNATURES
from models.training.labelled_sets import RecordedTarget, evidence_at, read_set

_EXCERPT = Path(__file__).parent / "data" / "smd-excerpt"


@pytest.fixture(scope="module")
def trained() -> pipeline.TrainedModel:
    options = pipeline.TrainingOptions(
        each=1,
        folds=2,
        rehearse=False,
        boosting=Boosting(seed=7, faults=8, alikes=4, kinds=2),
    )
    return pipeline.train(pipeline.TrainingData(folders=[_EXCERPT]), options, lambda *_: None)


def test_a_small_training_gives_a_model_that_serves(
    trained: pipeline.TrainedModel, tmp_path: Path
) -> None:
    """What it writes loads with its card, and knows incidents from what only looks like one."""
    entry = pipeline.write_model(trained, tmp_path, write_atomically)
    model, card = artifact.load_folder(tmp_path), artifact.read_card(tmp_path)
    assert model.version == card["version"]
    assert entry.file == f"{model.version}.npz"
    incidents, benign = list[float](), list[float]()
    for alert, evidence in list(read_set(_EXCERPT))[::4]:
        # Too few alerts to be sure of any: a threshold would need more.
        assert judge(model, evidence, alert.roles).answer is not Answer.CONFIRMED
        vector = features(window(evidence), alert.roles).vector
        (fault,) = model.parameters.scorers.score(prepare_rows(vector[None])).fault
        (incidents if alert.incident else benign).append(fault)
    right = [one < other for one in benign for other in incidents]
    assert sum(right) / len(right) > 0.9


def test_the_order_in_which_sets_are_listed_makes_no_other_model() -> None:
    listed = [_EXCERPT.with_name("machines-hour"), _EXCERPT]
    for folders in (listed, listed[::-1]):
        assert [folder.name for folder in pipeline.read_sets(folders)] == [
            "smd-excerpt",
            "machines-hour",
        ]


def test_the_figures_are_cross_fitted_by_machine(trained: pipeline.TrainedModel) -> None:
    """Each machine is scored by what the other taught: better than by chance, short of perfect."""
    (figures,) = trained.figures
    assert (figures.set, figures.model) == (_EXCERPT.name, "cross-fitted")
    assert {one.source for one in figures.sources} == {"smd-1-6", "smd-2-7"}
    assert figures.average_precision is not None
    assert figures.incidents / figures.alerts + 0.1 < figures.average_precision < 0.95


def test_nothing_is_learned_of_the_machine_that_is_scored() -> None:
    """With random labels, a model ranks the machine that it was not trained on at random."""
    rng = np.random.default_rng(5)
    incident = rng.random(400) < 0.5
    chance = Rows(
        vectors=rng.random((400, len(NAMES))).astype(np.float32),
        incident=incident,
        kind=np.where(incident, "hang", "deploy"),
        group=np.repeat([f"host-{number}" for number in range(8)], 50),
        origin=np.repeat(Origin.INJECTED.value, 400),
        source=np.repeat("chance", 400),
        counted=np.ones(400, np.bool_),
    )
    boosting = Boosting(seed=1, faults=15, alikes=1, kinds=1)
    scores = cross_fit(chance, folds=2, boosting=boosting, progress=lambda *_: None)
    right = scores.fault[~incident][:, None] < scores.fault[incident]
    assert 0.4 < right.mean() < 0.6


@pytest.fixture(scope="module")
def machine() -> RecordedTarget:
    labelled = read_set(_EXCERPT)
    return with_service_roles(next(iter(labelled.targets.values())), np.random.default_rng(3))


@pytest.mark.parametrize("kind", sorted(SIGNATURES))
def test_an_injected_fault_moves_each_metric_that_its_signature_names(
    machine: RecordedTarget, kind: str
) -> None:
    """A role may be named itself, such as the service's state, or by its group."""
    rng = np.random.default_rng(4)
    signature = SIGNATURES[kind]
    moved = {
        machine.roles[patch.column]
        for row in range(6000, len(machine.values), 250)
        if (injection := inject(machine, kind, row, rng)) is not None
        for patch in injection.patches
    }
    named = {*signature.add, *signature.scale, *signature.earlier}
    known = {role for role in machine.roles if role in named or GROUP_OF.get(role) in named}
    assert moved == known


def _seen(machine: RecordedTarget, kind: str, *, together: bool) -> float:
    """The share of made-up siblings that moved with a machine with an injected fault."""
    rng, moved = np.random.default_rng(5), []
    for row in range(6000, len(machine.values), 250):
        injection = inject(machine, kind, row, rng)
        if injection is None:
            continue
        evidence = evidence_at(machine, machine.start + row * machine.step_s, injection.patches)
        peers = made_siblings(machine, evidence, rng, together=together)
        found = features(replace(window(evidence), peers=peers), injection.roles).siblings
        assert found is not None
        moved.append(found.moved / found.compared)
    return float(np.mean(moved))


def test_made_siblings_show_the_fault_of_a_group_and_not_that_of_one_host(
    machine: RecordedTarget,
) -> None:
    """What tells a group's load from one host's fault in service tells it in training, too."""
    assert _seen(machine, "surge", together=False) < 0.3
    assert _seen(machine, "surge", together=True) > 0.7


def test_an_idle_host_hardly_moves_until_a_fault_moves_it(machine: RecordedTarget) -> None:
    """Its metrics are calmer than the machine's, and the fault is as large as there."""
    rng = np.random.default_rng(6)
    calm = idle(machine, rng)
    assert (calm.values.std(axis=0) <= machine.values.std(axis=0) + 1e-6).all()
    assert (np.ptp(calm.values, axis=0) == 0).sum() > len(machine.roles) / 5
    row = len(calm.values) - 60
    injection = inject(calm, "pegged", row, rng)
    assert injection is not None
    evidence = evidence_at(calm, calm.start + row * calm.step_s, injection.patches)
    grids = replace(window(evidence), floors=np.array(calm.noise))
    moved = features(grids, ("cpu_busy",)).levels.columns["now"]
    assert moved[calm.roles.index("cpu_busy")] > np.arcsinh(4.0)
