"""The shipped model: what it says of recorded alerts, and what it does not let itself be told."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actions.atomic_file import write_atomically
from models.features.evidence import Evidence, Series
from models.features.vector import NAMES, features
from models.features.window import window
from models.inference import artifact, drift
from models.inference.artifact import ModelError
from models.inference.detector import judge
from models.inference.parameters import CLAIMS, Thresholds, answer, claims
from models.inference.scorers import Scores, prepare_rows
from models.inference.tree_ensemble import Forest
from models.inference.verdict import Answer
from models.training.export.artifact_writer import arrays_of_forest, save
from models.training.export.tree_conversion import from_boosting, never
from models.training.labelled_sets import LabelledSet, SetError, read_set
from receiver.cli.model import evaluate
from receiver.cli.reference import generate

_ROOT = Path(__file__).parents[2]
EXCERPT = Path(__file__).parent / "data" / "smd-excerpt"


@pytest.fixture(scope="module")
def model() -> artifact.Model:
    return artifact.load_shipped()


@pytest.fixture(scope="module")
def excerpt() -> LabelledSet:
    return read_set(EXCERPT)


def test_the_shipped_model_is_small_and_as_its_manifest_says() -> None:
    """Its bytes are those that the manifest names, and few enough to carry."""
    entry = artifact.parse_manifest((artifact.SHIPPED / artifact.MANIFEST).read_bytes())
    data = (artifact.SHIPPED / entry.models[entry.active].file).read_bytes()
    assert hashlib.sha256(data).hexdigest() == entry.models[entry.active].sha256
    assert len(data) < 5_000_000


def test_the_page_tells_the_figures_of_the_shipped_model() -> None:
    """`make reference` writes them from the card, so the page cannot tell those of another."""
    page = (_ROOT / generate.FIGURES_PAGE).read_text()
    shipped = artifact.read_card(artifact.SHIPPED)
    for figures in shipped["figures"]:
        assert f"{figures['average_precision']:.3f} [" in page
    assert page == generate.figures_page()


def test_it_knows_incidents_from_what_only_looks_like_one(
    model: artifact.Model, excerpt: LabelledSet
) -> None:
    """Of recorded alerts it confirms most incidents, and of the benign hardly series."""
    answers = [
        (alert.incident, judge(model, evidence, alert.roles).answer) for alert, evidence in excerpt
    ]
    confirmed = [incident for incident, answer in answers if answer is Answer.CONFIRMED]
    incidents = [answer for incident, answer in answers if incident]
    assert sum(confirmed) / len(confirmed) >= 0.95
    assert incidents.count(Answer.CONFIRMED) / len(incidents) >= 0.6
    assert incidents.count(Answer.REFUTED) / len(incidents) <= 0.1


def test_no_answer_contradicts_what_it_shows(model: artifact.Model, excerpt: LabelledSet) -> None:
    """A refuted host is in its range, or like what is harmless; a confirmed one is likely ill."""
    for alert, evidence in excerpt:
        verdict = judge(model, evidence, alert.roles)
        vector = features(window(evidence), alert.roles).vector
        predicted = model.parameters.predict(vector)
        (alike,) = model.parameters.scorers.score(prepare_rows(vector[None])).alike
        assert verdict.unusual == pytest.approx(predicted.unusual, abs=0.01)
        if verdict.answer is Answer.REFUTED:
            assert predicted.unusual <= 1 or alike >= 0.5 or predicted.recurring
        if verdict.answer is Answer.CONFIRMED:
            assert verdict.confidence is not None
            assert verdict.confidence >= 0.5


def test_what_is_refuted_is_told_as_unlikely(model: artifact.Model, excerpt: LabelledSet) -> None:
    """Also what is refuted only because it recurs: a job beside a large probability reads wrong."""
    verdicts = [judge(model, evidence, alert.roles) for alert, evidence in excerpt]
    refuted = [one for one in verdicts if one.answer is Answer.REFUTED]
    assert any(
        "usual at this hour" in reason.text for one in refuted for reason in one.contributions
    )
    assert all(one.confidence is not None and one.confidence < 0.1 for one in refuted)
    assert not any("looks like" in reason.text for one in refuted for reason in one.contributions)


def test_a_host_within_its_own_range_is_never_told_as_surely_ill(
    model: artifact.Model, excerpt: LabelledSet
) -> None:
    """A signature alone may confirm, but is not told at 0.95 or more; one far from its past is."""
    told = [
        (verdict.unusual, verdict.confidence)
        for verdict in (judge(model, evidence, alert.roles) for alert, evidence in excerpt)
        if verdict.unusual is not None and verdict.confidence is not None
    ]
    within = [confidence for unusual, confidence in told if unusual <= 1]
    assert 0.9 < max(within) < 0.95
    assert max(confidence for unusual, confidence in told if unusual > 1) > 0.95


def test_a_lone_host_is_judged_by_its_own_metrics(
    model: artifact.Model, excerpt: LabelledSet
) -> None:
    """Without siblings it must be out of its own range, too, and the reason says so."""
    alone = [
        (alert.incident, judge(model, replace(evidence, relative=False, peers={}), alert.roles))
        for alert, evidence in excerpt
    ]
    confirmed = [
        (incident, verdict) for incident, verdict in alone if verdict.answer is Answer.CONFIRMED
    ]
    assert all(incident for incident, _ in confirmed)
    assert all((verdict.unusual or 0) > 1 for _, verdict in confirmed)
    assert len(confirmed) >= 0.3 * sum(incident for incident, _ in alone)
    assert all("no siblings" in verdict.contributions[0].text for _, verdict in alone)


def test_no_probability_is_told_of_what_resembles_nothing_learned(
    model: artifact.Model, excerpt: LabelledSet
) -> None:
    """Every metric far below zero is undecided, whatever the trees say."""
    alert, evidence = next(iter(excerpt))
    recent = {
        role: Series(series.times, -1e4 * np.asarray(series.values) - 1e3)  # type: ignore[arg-type]
        for role, series in (evidence.recent or {}).items()
    }
    verdict = judge(model, replace(evidence, recent=recent), alert.roles)
    assert verdict.answer is Answer.UNDECIDED
    assert verdict.confidence is None
    assert "no probability is told" in verdict.contributions[0].text


@pytest.mark.parametrize(
    ("claim", "confidence", "told"),
    [
        (Answer.CONFIRMED, 0.9, Answer.CONFIRMED),
        (Answer.CONFIRMED, 0.3, Answer.UNDECIDED),
        (Answer.REFUTED, 0.0, Answer.REFUTED),
        # Nothing looks like a fault, but it was never so: nobody knows.
        (Answer.UNDECIDED, 0.0, Answer.UNDECIDED),
    ],
)
def test_a_low_probability_alone_refutes_nothing(
    claim: Answer, confidence: float, told: Answer
) -> None:
    assert answer(CLAIMS.index(claim), confidence) is told


_NIGHTLY = {"lead_now": 2.7, "lead_hour": 0.1, "lead_again": 1.0, "days": 7}


@pytest.mark.parametrize(
    ("fault", "far", "alike", "shown", "harmless"),
    [
        (0.01, 0.5, 0.0, {}, True),
        # The signature tells a little of a fault.
        (0.1, 0.5, 0.0, {}, False),
        # Within its range, and yet farther than most of what people call an incident.
        (0.01, 0.5, 0.0, {"distance": 0.2}, False),
        # Within its range, and there in a jump that it hardly ever makes.
        (0.01, 0.5, 0.0, {"lead_turn": 3.0}, False),
        (0.01, 0.5, 0.0, {"lead_quarter": -3.0}, False),
        # Nobody knows whether it jumped.
        (0.01, 0.5, 0.0, {"lead_turn": np.nan}, False),
        # Out of its range: as a surge is, or as it is every day at this hour.
        (0.01, 3.0, 0.0, {}, False),
        (0.01, 3.0, 0.97, {"lead_turn": 3.0}, True),
        (0.01, 3.0, 0.0, {"risen": 2, "all_of_days": 0.9, "all_count": 6}, True),
        (0.01, 3.0, 0.8, {}, False),
        # The leading metric is where it is each day at this hour, and another one farther: a job.
        (0.1, 3.0, 0.8, _NIGHTLY, True),
        (0.1, 3.0, 0.2, _NIGHTLY, False),
        (0.1, 3.0, 0.8, _NIGHTLY | {"lead_hour": 2.5}, False),
        (0.1, 3.0, 0.8, _NIGHTLY | {"lead_again": 0.5}, False),
        # Nothing moved, so that nothing recurs.
        (0.01, 3.0, 0.0, {"all_of_days": 0.9, "all_count": 6}, False),
    ],
)
def test_harmless_is_a_claim_with_its_own_evidence(
    fault: float, far: float, alike: float, shown: dict[str, float], *, harmless: bool
) -> None:
    usual = {"risen": 0, "fallen": 0, "lead_turn": 0, "apart_ratio": 2 * np.log10(far)}
    vector = np.full(len(NAMES), np.nan)
    for name, value in (usual | shown).items():
        if name in NAMES:
            vector[NAMES.index(name)] = value
    distance = np.array([shown.get("distance", -2.0)])
    scores = Scores(fault=np.array([fault]), alike=np.array([alike]), distance=distance)
    limits = Thresholds(confirm=0.5, refute=0.4, quiet=0.2, harmless=0.05)
    (claim,) = claims(limits, scores, vector[None])
    assert CLAIMS[claim] is (Answer.REFUTED if harmless else Answer.UNDECIDED)
    (claim,) = claims(limits, replace(scores, fault=np.array([0.9])), vector[None])
    assert CLAIMS[claim] is Answer.CONFIRMED


def _with_noise_after(evidence: Evidence, rng: np.random.Generator) -> Evidence:
    def longer(series: Series, step: float) -> Series:
        times = np.asarray(series.times)
        later = evidence.at + step * np.arange(1, 200)
        noise = rng.normal(scale=50, size=len(later))
        values = np.concatenate([series.values, noise])
        return Series(np.concatenate([times, later]), values)  # type: ignore[arg-type]

    return replace(
        evidence,
        history={role: longer(series, 300) for role, series in (evidence.history or {}).items()},
        recent={role: longer(series, 60) for role, series in (evidence.recent or {}).items()},
    )


def test_nothing_after_the_alert_takes_part(model: artifact.Model, excerpt: LabelledSet) -> None:
    """Noise in place of all that came later changes no score by anything."""
    rng = np.random.default_rng(0)
    for number, (alert, evidence) in enumerate(excerpt):
        if number % 9 == 0:
            noisy = _with_noise_after(evidence, rng)
            assert judge(model, noisy, alert.roles) == judge(model, evidence, alert.roles)


def test_a_sets_future_is_cut_before_it_is_read(excerpt: LabelledSet) -> None:
    """Rows after the alert may hold anything: the alert's view is the same."""
    alert = excerpt.alerts[0]
    target = excerpt.targets[alert.target]
    values = target.values.copy()
    values[target.row(alert.time) + 1 :] = 77
    changed = replace(
        excerpt, targets={**excerpt.targets, alert.target: replace(target, values=values)}
    )
    before, after = next(iter(excerpt))[1], next(iter(changed))[1]
    first = features(window(before), alert.roles).vector
    assert np.array_equal(first, features(window(after), alert.roles).vector, equal_nan=True)


def test_units_do_not_matter(model: artifact.Model, excerpt: LabelledSet) -> None:
    """The same series in other units has the same score: only the own past gives a scale."""
    alert, evidence = next(iter(excerpt))

    def scaled(parts: object) -> dict[str, Series]:
        return {
            role: Series(series.times, (np.asarray(series.values) * 1024.0).tolist())
            for role, series in parts.items()  # type: ignore[attr-defined]
        }

    larger = replace(evidence, history=scaled(evidence.history), recent=scaled(evidence.recent))
    same = judge(model, larger, alert.roles)
    assert same.score == pytest.approx(judge(model, evidence, alert.roles).score, abs=0.05)


def test_one_metric_alone_is_judged_with_less_confidence(
    model: artifact.Model, excerpt: LabelledSet
) -> None:
    """What is missing is unknown, not zero: an answer comes, and a more careful series."""
    surer = []
    for alert, evidence in excerpt:
        if not alert.incident or not alert.roles:
            continue
        role = alert.roles[0]
        alone = replace(
            evidence,
            history={role: (evidence.history or {})[role]},
            recent={role: (evidence.recent or {})[role]},
        )
        whole, part = judge(model, evidence, alert.roles), judge(model, alone, [role])
        assert part.confidence is not None
        surer.append((whole.confidence or 0) - part.confidence)
    assert np.mean(surer) > 0.1


@pytest.mark.parametrize("damage", ["short", "nothing", "gaps", "not_numbers"])
def test_too_little_known_is_undecided(
    model: artifact.Model, excerpt: LabelledSet, damage: str
) -> None:
    """A short history, no role at all, or only gaps: nobody can say, and nothing is raised."""
    alert, evidence = next(iter(excerpt))
    history, recent = dict(evidence.history or {}), dict(evidence.recent or {})
    if damage == "short":
        history = {
            role: Series(series.times[-60:], series.values[-60:])
            for role, series in history.items()
        }
    elif damage == "nothing":
        history, recent = {}, {}
    elif damage == "gaps":
        history = {
            role: Series(series.times[::200], series.values[::200])
            for role, series in history.items()
        }
    else:
        history = {
            role: Series(series.times, [float("nan")] * len(series.times))
            for role, series in history.items()
        }
    verdict = judge(model, replace(evidence, history=history, recent=recent), alert.roles)
    assert verdict.answer is Answer.UNDECIDED
    assert verdict.contributions


def test_no_model_is_undecided(excerpt: LabelledSet) -> None:
    """Nothing is confirmed by what is not there, and the reason says so."""
    alert, evidence = next(iter(excerpt))
    verdict = judge(None, evidence, alert.roles)
    assert (verdict.answer, verdict.confidence) == (Answer.UNDECIDED, None)
    assert "no model" in verdict.contributions[0].text


def _copied(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for path in artifact.SHIPPED.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def _manifest(folder: Path) -> dict[str, object]:
    read_back: dict[str, object] = json.loads((folder / artifact.MANIFEST).read_text())
    return read_back


def test_altered_bytes_do_not_load(tmp_path: Path) -> None:
    """One changed byte, and there is no model."""
    folder = _copied(tmp_path / "m")
    file = next(folder.glob("*.npz"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256"):
        artifact.load_folder(folder)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 99}, "other features or another format"),
        ({"features": "0"}, "other features or another format"),
        ({"file": "../model.npz"}, "must be a file name"),
        ({"file": "absent.npz"}, "absent.npz"),
    ],
)
def test_a_manifest_that_does_not_fit_gives_no_model(
    tmp_path: Path, change: dict[str, object], why: str
) -> None:
    """Other versions, other files, files elsewhere: one clear error each."""
    folder = _copied(tmp_path / "m")
    read_back = _manifest(folder)
    entry = read_back["models"][read_back["active"]]  # type: ignore[index]
    entry.update(change)
    (folder / artifact.MANIFEST).write_text(json.dumps(read_back))
    with pytest.raises(ModelError, match=why):
        artifact.load_folder(folder)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"models": 3, "active": "a"}', b"\xff"])
def test_what_is_no_manifest_says_so(text: bytes) -> None:
    """Whatever it is, it is one error and not a crash."""
    with pytest.raises(ModelError):
        artifact.parse_manifest(text)


def test_a_right_hash_over_no_model_does_not_load(tmp_path: Path) -> None:
    """Arrays that are no trees, and pickles, are refused although the manifest vouches for them."""
    for data in (b"not a zip", _pickled(tmp_path)):
        folder = _copied(tmp_path / "m")
        read_back = _manifest(folder)
        entry = read_back["models"][read_back["active"]]  # type: ignore[index]
        entry["sha256"] = hashlib.sha256(data).hexdigest()
        (folder / entry["file"]).write_bytes(data)
        (folder / artifact.MANIFEST).write_text(json.dumps(read_back))
        with pytest.raises(ModelError, match="not a model"):
            artifact.load_folder(folder)


def _pickled(folder: Path) -> bytes:
    file = folder / "pickled.npz"
    np.savez(file, limits=np.array([{"a": 1}], dtype=object))
    return file.read_bytes()


def test_trees_walk_as_scikit_learn_does() -> None:
    """The arrays give scikit-learn's raw scores, for one output and for several."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 6)).astype(np.float32)
    for labels in (rows[:, 0] > rows[:, 1], np.argmax(rows[:, :3], axis=1)):
        fitted = HistGradientBoostingClassifier(max_iter=20).fit(rows, labels)
        raw = np.asarray(fitted.decision_function(rows)).reshape(len(rows), -1)
        assert np.allclose(from_boosting(fitted)(rows), raw, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [("left", 10**6, "outside"), ("roots", -1, "outside"), ("threshold", 0.0, "cycle")],
)
def test_trees_that_would_not_end_are_refused(name: str, value: float, why: str) -> None:
    """A walk that leaves the arrays or goes round in them is found at loading."""
    arrays = arrays_of_forest(never(), "tree_")
    assert Forest.from_arrays(arrays, "tree_")(np.zeros((1, 1), np.float32)) < 0
    arrays[f"tree_{name}"] = np.array([value], dtype=arrays[f"tree_{name}"].dtype)
    with pytest.raises(ValueError, match=why):
        Forest.from_arrays(arrays, "tree_")


def test_features_are_as_many_as_their_names(excerpt: LabelledSet) -> None:
    """Every alert has the same columns, and none is infinite."""
    assert len(set(NAMES)) == len(NAMES)
    for number, (alert, evidence) in enumerate(excerpt):
        if number % 20 == 0:
            vector = features(window(evidence), alert.roles).vector
            assert vector.shape == (len(NAMES),)
            assert not np.isinf(vector).any()


def test_drift_shows_in_what_has_moved() -> None:
    """Cases like the reference have a small index, others a large one, few have none."""
    rng = np.random.default_rng(1)
    reference = rng.normal(size=(2000, 3))
    watching = drift.Drift(drift.edges(reference), drift.edges(reference[:, :1])[0])
    assert watching.indices() == (None, None)
    for row in rng.normal(size=(300, 3)):
        watching.record(row, float(row[0]))
    alike, scores = watching.indices()
    assert alike is not None
    assert scores is not None
    assert max(alike, scores) < 0.1
    for row in rng.normal(loc=2, size=(500, 3)):
        watching.record(row, float(row[0]))
    moved, _ = watching.indices()
    assert moved is not None
    assert moved > 0.25


@pytest.mark.parametrize("broken", ["no folder", "not json", "no target", "elsewhere"])
def test_what_is_no_set_is_one_error(tmp_path: Path, broken: str) -> None:
    """A set that cannot be read names what is wrong."""
    folder = tmp_path / "set"
    if broken != "no folder":
        folder.mkdir()
        target = "../../etc/passwd" if broken == "elsewhere" else "gone"
        line = {"id": "1", "target": target, "time": 1, "roles": ["cpu_busy"]}
        text = "{" if broken == "not json" else json.dumps(line)
        (folder / "alerts.jsonl").write_text(text + "\n")
    with pytest.raises(SetError):
        read_set(folder)


def test_a_sets_siblings_are_compared_up_to_the_alert(
    tmp_path: Path, model: artifact.Model
) -> None:
    """All three hosts get busy at once, without more traffic."""
    rows, at = 3 * 1_440, 3 * 1_440 - 60
    (tmp_path / "targets").mkdir()
    quiet = np.random.default_rng(1).normal(0.2, 0.01, (3, rows))
    for number, name in enumerate(("a", "b", "c")):
        busy = np.where(np.arange(rows) > at - 10, 0.95, quiet[number])
        traffic = np.full(rows, 1e5)
        x = np.column_stack([busy, traffic]).astype(np.float32)
        roles = np.array(["cpu_busy", "net_rx_bytes"])
        np.savez(tmp_path / f"targets/{name}.npz", X=x, roles=roles, start=0, step_s=60)
    (tmp_path / "set.json").write_text('{"targets": "targets", "siblings": "group"}')
    lines = [
        {"id": f"{name}{after}", "target": name, "time": (at + after) * 60, "group": "g"}
        | {"roles": ["cpu_busy"], "label": "benign", "kind": "surge"}
        for name in ("a", "b", "c")
        for after in (-11, 5)
    ]
    (tmp_path / "alerts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for alert, evidence in read_set(tmp_path):
        assert evidence.peers is not None
        assert evidence.peers.keys() == {"a", "b", "c"} - {alert.target}
        newest = max(series["cpu_busy"].times[-1] for series in evidence.peers.values())
        assert newest == alert.time
        verdict = judge(model, evidence, alert.roles)
        assert verdict.answer is not Answer.CONFIRMED
        if alert.time > at * 60:
            assert (verdict.peers, verdict.peers_moved) == (2, 2)


def test_evaluate_prints_figures_and_writes_a_line_an_alert(tmp_path: Path) -> None:
    """`evaluate SET --scores FILE`: each alert once, answers of the closed set, shares in range."""
    from click.testing import CliRunner

    file = tmp_path / "scores.jsonl"
    options = ["--scores", str(file), "--json", "--baselines"]
    result = CliRunner().invoke(evaluate, [str(EXCERPT), *options])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == summary["alerts"] == len({line["id"] for line in lines})
    assert {line["answer"] for line in lines} <= {"confirmed", "refuted", "undecided"}
    assert all(0 <= line["score"] <= 1 for line in lines)
    assert summary["precision"] >= 0.95
    sources = {one["source"]: one for one in summary["sources"]}
    assert sum(one["alerts"] for one in sources.values()) == summary["alerts"]
    low, high = summary["average_precision_over_groups"]
    assert low <= summary["average_precision"] <= high
    refuted = [line["id"] for line in lines if line["answer"] == "refuted"]
    labels = map(json.loads, (EXCERPT / "alerts.jsonl").read_text().splitlines())
    benign = {alert["id"] for alert in labels if alert["label"] == "benign"}
    rightly = sum(one in benign for one in refuted) / len(refuted)
    assert summary["refuted_precision"] == pytest.approx(rightly)
    sure = [line["id"] for line in lines if (line["confidence"] or 0) >= 0.95]
    surely = sum(one not in benign for one in sure) / len(sure)
    assert summary["sure"]["alerts"] == len(sure) > 0
    assert summary["sure"]["incidents"] == pytest.approx(surely)
    by_name = {one["name"]: one["average_precision"] for one in summary["baselines"]}
    share = summary["incidents"] / summary["alerts"]
    assert by_name["accept all"] == pytest.approx(share)
    # What is far from a host's past is more often an incident than not, but the model knows better.
    assert share < by_name["PCA distance"] < summary["average_precision"]
    missing = CliRunner().invoke(evaluate, [str(tmp_path / "none")])
    assert missing.exit_code == 2
    assert missing.stderr.startswith("smartcloudops: ")


def test_a_training_that_stops_half_way_leaves_the_active_model(
    tmp_path: Path, model: artifact.Model
) -> None:
    """Each file is handed to the writer, which replaces it in one move."""
    shutil.copytree(artifact.SHIPPED, tmp_path / "models")
    folder, written = tmp_path / "models", list[str]()

    def write(path: Path, data: bytes) -> None:
        written.append(path.name)
        if path.name == artifact.MANIFEST:
            raise OSError("the disk is full")
        write_atomically(path, data)

    with pytest.raises(OSError, match="full"):
        save(folder, "next", model.parameters, write)
    assert written == ["next.npz", artifact.MANIFEST]
    assert artifact.load_folder(folder).version == model.version
    save(folder, "next", model.parameters, write_atomically)
    assert artifact.load_folder(folder).version == "next"


def test_what_the_watch_tells_is_measured_on_whole_series(
    tmp_path: Path, model: artifact.Model
) -> None:
    """A runaway that is told a minute after it began leads its alert; a calm series is not told."""
    from models.training.foresight import LIKELY, UNUSUAL, foresee

    rng = np.random.default_rng(4)
    rows, begun = 2 * 1440, 2 * 1440 - 60
    values = rng.normal(0.2, 0.01, (rows, 3)).astype(np.float32)
    (tmp_path / "targets").mkdir()
    roles = np.array(["cpu_busy", "load1", "net_rx_bytes"])
    file = tmp_path / "targets" / "a.npz"
    np.savez(file, X=values, roles=roles, start=np.int64(0), step_s=np.int64(60))
    alert = {"id": "1", "target": "a", "time": 60 * (begun + 12), "roles": ["cpu_busy"]}
    text = json.dumps(alert | {"label": "incident", "kind": "cpu_runaway", "group": "a"})
    (tmp_path / "alerts.jsonl").write_text(text + "\n")
    zero, column = np.zeros(2, np.int64), np.arange(2)
    np.savez(
        tmp_path / "patches.npz",
        alert=zero,
        role=column,
        start=zero + begun,
        offset=zero,
        length=zero + 60,
        values=np.linspace(0.9, 1.0, 60, dtype=np.float32),
    )
    found = foresee(model, read_set(tmp_path), lambda *_: None)
    assert (found.told, found.incidents) == (1, 1)
    assert found.lead_s is not None
    assert 300 <= found.lead_s[1] < 720
    assert found.false_alarms == 0
    rules = Path(__file__).parents[2] / "prometheus_rules/watch.yml"
    assert {f"> {LIKELY:g}", f"> {UNUSUAL:g}"} == set(re.findall(r"> [\d.]+", rules.read_text()))
