import random
from itertools import product

import pytest

from motivation.datasets.stream_order import BufferedOrder, Drawing


@pytest.mark.parametrize(('round_up', 'drop_last'), list(product([True, False], [True, False])))
def test_lanes_of_all_processes_divide_an_epoch_without_overlap(round_up, drop_last):
    for total, batch_size, processes, lanes in product((1, 5, 23, 64), (1, 4, 7), (1, 2, 3), (1, 2, 5)):
        positions = []
        for process in range(processes):
            drawing = Drawing(total, batch_size, 0, True, process, processes, lanes, round_up, drop_last)
            own = [drawing.lane_of(number) for number in range(drawing.own())]
            # What a lane draws, in order, are the numbers from 0 to the length of its part.
            for lane in range(lanes):
                assert [place for of, place in own if of == lane] == list(range(len(drawing.part(lane))))
                positions += drawing.part(lane)
            batches = [lane for lane, _ in own][::batch_size]
            assert batches == [batch % lanes for batch in range(len(batches))]
        dropped = total - len(positions)
        assert positions == list(range(len(positions)))
        assert dropped == 0 if not drop_last else 0 <= dropped < processes * batch_size


def test_shards_come_in_another_order_each_epoch_and_with_each_seed_and_in_one_order_in_all_processes():
    orders = [Drawing(9, 1, seed, True).shards(9, epoch) for seed, epoch in product((0, 1), (0, 1, 2))]
    assert len(set(map(tuple, orders))) == 6 and all(sorted(order) == list(range(9)) for order in orders)
    assert Drawing(9, 1, 0, True, 2, 3, 4).shards(9, 1) == orders[1]
    assert Drawing(9, 1, 0, False).shards(9, 1) == list(range(9))


def test_buffer_permutes_positions_and_holds_no_more_than_its_size():
    order = BufferedOrder(range(10, 60), 8, random.Random(0))
    drawn = []
    for position in order:
        drawn.append(position)
        assert len(order.waiting) < 8 and position < 10 + len(drawn) + 7
    assert sorted(drawn) == list(range(10, 60)) and drawn != sorted(drawn)
    assert drawn == list(BufferedOrder(range(10, 60), 8, random.Random(0)))
    assert list(BufferedOrder(range(10, 60), 8, None)) == list(range(10, 60))
