"""What is remembered, in bounded memory."""

from receiver.runtime.cache import Memory


def test_one_too_many_makes_it_forget_all_others() -> None:
    """It never grows beyond 250; what it holds may be changed."""
    known: Memory[int, str] = Memory()
    for number in range(250):
        known[number] = "old"
    known[7] = "new"
    assert len(known) == 250
    assert known[7] == "new"
    known[250] = "next"
    assert known == {250: "next"}
