"""A periodic call goes on until it is stopped, and never runs twice at once."""

from threading import Event

from receiver.runtime.periodic import Periodic


def test_it_repeats_until_stopped() -> None:
    """With `at_once` the first call comes first; `stop` says whether it was running."""
    calls: list[None] = []
    enough = Event()

    def tick() -> None:
        calls.append(None)
        if len(calls) >= 3:
            enough.set()

    periodic = Periodic("periodic", 0.01, tick, at_once=True)
    assert not periodic.stop()
    periodic.start()
    assert enough.wait(10)
    assert periodic.stop()
    enough.clear()
    assert not enough.wait(0.1)
    assert not periodic.stop()


def test_the_first_call_comes_after_one_interval() -> None:
    """Without `at_once`."""
    calls: list[None] = []
    periodic = Periodic("periodic", 60.0, lambda: calls.append(None))
    periodic.start()
    assert periodic.stop()
    assert calls == []


def test_a_call_that_hangs_is_left_and_is_the_last_of_its_thread() -> None:
    """A second thread may be started meanwhile; the first one calls no more."""
    begun, free, again = Event(), Event(), Event()
    calls: list[str] = []

    def tick() -> None:
        calls.append("begun")
        begun.set()
        free.wait(10)
        if len(calls) > 1:
            again.set()

    periodic = Periodic("periodic", 0.01, tick, at_once=True, stop_wait_s=0.05)
    periodic.start()
    assert begun.wait(10)
    periodic.stop()
    free.set()
    assert not again.wait(0.1)
    periodic.start()
    assert again.wait(10)
    periodic.stop()
