"""The cache's size is bounded."""

from receiver.runtime.cache import BoundedCache


def test_a_new_key_clears_a_full_cache() -> None:
    """It never grows beyond 250; a key it holds may be set again."""
    cache: BoundedCache[int, str] = BoundedCache()
    for number in range(250):
        cache[number] = "old"
    cache[7] = "new"
    assert len(cache) == 250
    assert cache[7] == "new"
    cache[250] = "next"
    assert cache == {250: "next"}
