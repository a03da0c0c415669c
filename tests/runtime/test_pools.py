"""A share of a pool leaves the other threads to others, whatever hangs in it."""

import threading

import pytest

from receiver.runtime.pools import Pool, PoolShare


def test_work_that_hangs_takes_no_more_threads_than_its_share() -> None:
    """The others go on, and what waits is done in the end."""
    may, done = threading.Event(), list[int]()
    with Pool(3, "shared") as pool:
        slow, quick = PoolShare(pool, 2), PoolShare(pool, 2)

        def hang(number: int) -> None:
            assert may.wait(10)
            done.append(number)

        hanging = [slow.submit(hang, number) for number in range(2)]
        waiting = [slow.submit(done.append, number) for number in (2, 3)]
        dropped = slow.submit(done.append, 4)
        assert quick.submit(int, "7").result(10) == 7
        assert dropped.cancel()
        assert not any(future.done() for future in (*hanging, *waiting))
        may.set()
        for future in (*hanging, *waiting):
            future.result(10)
        assert sorted(done) == [0, 1, 2, 3]
        with pytest.raises(ZeroDivisionError):
            quick.submit(divmod, 1, 0).result(10)
    with pytest.raises(RuntimeError):
        quick.submit(int, "7").result(10)
