"""Names of points: none on another, on a point, on a leader or outside; the first to come are served first."""

from __future__ import annotations

import itertools
import random

from edgecnn.report.charts.labels import Box, around, place

ROOM = Box(0, 0, 400, 300)


def test_a_name_alone_lies_beside_its_point() -> None:
    (found,) = place([(100, 100)], [[(40, 15)]], ROOM, [around(100, 100, 9)], [])
    assert found is not None
    assert found[1].left == 109 and found[1].top == 92.5


def test_names_of_many_points_never_meet() -> None:
    draw = random.Random(1)
    anchors = [(draw.uniform(0, 400), draw.uniform(0, 300)) for _ in range(40)]
    marks = [around(*anchor, 9) for anchor in anchors]
    placed = place(anchors, [[(draw.uniform(30, 110), 15), (20, 15)] for _ in anchors], ROOM, marks, [])
    boxes = [found[1] for found in placed if found is not None]
    assert len(boxes) >= 30
    for box in boxes:
        assert box.within(ROOM)
        assert not any(box.meets(mark) for mark in marks)
    assert not any(one.meets(two) for one, two in itertools.combinations(boxes, 2))


def test_a_name_that_fits_nowhere_gives_way_to_a_shorter_one_or_to_none() -> None:
    tight = Box(0, 0, 60, 60)
    wide, short, none = (
        place([(30, 30)], [sizes], tight, [], [])[0] for sizes in ([(50, 15)] * 1, [(90, 15), (18, 15)], [(90, 15)])
    )
    assert wide is not None and wide[0] == 0
    assert short is not None and short[0] == 1
    assert none is None


def test_a_line_is_avoided_where_there_is_room() -> None:
    line = Box(100, 99, 400, 101)
    (found,) = place([(100, 100)], [[(40, 15)]], ROOM, [], [line])
    assert found is not None and not found[1].meets(line)
