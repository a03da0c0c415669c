"""Several decisions share their reads of AWS, and none sees an answer older than its question."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from receiver.evidence.aws.shared_reads import BatchedRead, KeptRead


class _Aws:
    """Answers once it may; `calls` are the keys of each call."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.under_way, self.may = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def read(self, keys: Sequence[str]) -> Mapping[str, str]:
        self.calls.append(list(keys))
        self.under_way.set()
        assert self.may.wait(10)
        if self.error is not None:
            raise self.error
        return {key: key.upper() for key in keys if key != "gone"}


def test_what_is_asked_during_a_call_goes_into_the_next_together() -> None:
    aws = _Aws()
    shared = BatchedRead(aws.read, most=3)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(shared.read, "a")
        assert aws.under_way.wait(10)
        later = [pool.submit(shared.read, key) for key in ("a", "b", "gone")]
        while shared.waiting < len(later):
            aws.may.wait(0.01)
        last = pool.submit(shared.read, "c")
        aws.may.set()
        assert first.result(10) == "A"
        assert [each.result(10) for each in (*later, last)] == ["A", "B", None, "C"]
    assert [sorted(keys) for keys in aws.calls] == [["a"], ["a", "b", "gone"], ["c"]]


def test_an_error_is_of_all_who_asked_and_of_nobody_later() -> None:
    aws = _Aws()
    aws.may.set()
    aws.error = OSError("no route")
    shared = BatchedRead(aws.read)
    with pytest.raises(OSError, match="no route"):
        shared.read("a")
    aws.error = None
    assert shared.read("a") == "A"


def test_an_answer_is_kept_and_a_missing_one_asked_for_again() -> None:
    answers: list[str | None] = [None, "first", "second"]
    shared = KeptRead(lambda _: answers.pop(0), lasts_s=30)
    assert (shared.get(0.0), shared.age_s(0.0)) == (None, None)
    assert [shared.get(now) for now in (0.0, 29.0)] == ["first", "first"]
    assert shared.age_s(29.0) == 29.0
    assert shared.get(30.0) == "second"
