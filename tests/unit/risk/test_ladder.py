import pytest

from acceleray.risk.ladder import Queue, climb


def add(amount, rung, batch):
    """A fitter that is not one: every rung adds to the number."""
    return [number + amount + 10 * rung for number in batch]


def upward(rung, item, result):
    # Odd results go on, as what they have become.
    return result if result % 2 else None


def climbed(items, **changes):
    how = {"n_rungs": 3, "onward": upward, "cost": lambda rung, item: 1.0, "task_seconds": 2.0}
    return climb(add, (1,), items, what="batch", distributed=False, **how | changes)


def test_an_item_climbs_as_far_as_its_own_results_require():
    assert climbed([1, 2]) == [[(1, 2)], [(2, 3), (3, 14)]]
    assert climbed([]) == []


def test_the_last_rung_asks_nothing():
    asked = []

    def onward(rung, item, result):
        asked.append(rung)
        return item

    assert climbed([4], onward=onward) == [[(4, 5), (4, 15), (4, 25)]]
    assert asked == [0, 1]


@pytest.fixture
def queue():
    return Queue(3, lambda rung, item: item, 2.0)


def test_a_batch_leaves_when_it_is_full(queue):
    queue.add(0, 0, 1.0)
    assert queue.full() is None
    queue.add(0, 1, 1.0)
    queue.add(0, 2, 1.0)
    assert queue.full() == (0, [(0, 1.0), (1, 1.0)])
    assert queue.full() is None


def test_a_full_batch_of_a_higher_rung_goes_first(queue):
    for rung in (0, 2, 1):
        queue.add(rung, rung, 2.5)
    assert [queue.full()[0] for _ in range(3)] == [2, 1, 0]


def test_what_is_left_is_shared_among_idle_cpus_from_the_lowest_rung(queue):
    queue.add(2, 9, 0.1)
    for number in range(4):
        queue.add(1, number, 0.25)
    assert queue.share(2) == (1, [(0, 0.25), (1, 0.25)])
    assert queue.share(1) == (1, [(2, 0.25), (3, 0.25)])
    assert queue.share(1) == (2, [(9, 0.1)])
    assert queue.share(1) is None
