"""Tables are aligned by column and refuse rows that do not fit."""

from __future__ import annotations

import pytest

from edgecnn.report.table import markdown_table, table


def test_columns_are_aligned_and_no_line_ends_in_spaces():
    text = table(["file", "bytes"], [["float.tflite", "9"], ["q.tflite", "12345"]], "lr")
    assert text == (
        "file          bytes\n"  # one assertion on the whole: a table is for reading
        "------------  -----\n"
        "float.tflite      9\n"
        "q.tflite      12345"
    )


def test_columns_are_left_aligned_by_default():
    assert table(["a", "b"], [["1", "22"]]).splitlines() == ["a  b", "-  --", "1  22"]


def test_a_table_without_rows_is_its_header():
    assert table(["name"], []) == "name\n----"


def test_a_line_break_in_a_cell_does_not_break_the_row():
    assert table(["why"], [["first\nsecond"]]).splitlines()[2:] == ["first second"]


def test_a_table_in_markdown_has_a_rule_that_says_which_columns_are_numbers():
    text = markdown_table(["file", "bytes"], [["`float\n.tflite`", "9"]], "lr")
    assert text == "| file | bytes |\n|---|---:|\n| `float .tflite` | 9 |"


@pytest.mark.parametrize("form", [table, markdown_table])
@pytest.mark.parametrize(("row", "align"), [(["1"], ""), (["1", "2", "3"], ""), (["1", "2"], "lrl"), (["1", "2"], "c")])
def test_what_does_not_fit_is_refused(row, align, form):
    with pytest.raises(ValueError, match="must have at most|cells under"):
        form(["a", "b"], [row], align)
