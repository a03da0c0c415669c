"""What is done again and again goes on until it is stopped, and only once at a time."""

from threading import Event

from receiver.runtime.periodic import Beat


def test_it_is_done_again_and_again_until_stopped() -> None:
    """At once where it is wanted so; who stops it hears whether it went."""
    done: list[None] = []
    enough = Event()

    def do() -> None:
        done.append(None)
        if len(done) >= 3:
            enough.set()

    beat = Beat("beat", 0.01, do, at_once=True)
    assert not beat.stop()
    beat.start()
    assert enough.wait(10)
    assert beat.stop()
    enough.clear()
    assert not enough.wait(0.1)
    assert not beat.stop()


def test_the_first_is_waited_for() -> None:
    """Unless it is wanted at once."""
    done: list[None] = []
    beat = Beat("beat", 60.0, lambda: done.append(None))
    beat.start()
    assert beat.stop()
    assert done == []


def test_what_hangs_is_left_and_ends_by_itself() -> None:
    """A second one may be started meanwhile: the first does nothing more."""
    begun, free, again = Event(), Event(), Event()
    done: list[str] = []

    def do() -> None:
        done.append("begun")
        begun.set()
        free.wait(10)
        if len(done) > 1:
            again.set()

    beat = Beat("beat", 0.01, do, at_once=True, patience_s=0.05)
    beat.start()
    assert begun.wait(10)
    beat.stop()
    free.set()
    assert not again.wait(0.1)
    beat.start()
    assert again.wait(10)
    beat.stop()
