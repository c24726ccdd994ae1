"""WikiText's articles and the paragraphs of plain texts are found, and cutting loses nothing."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loralab.data.cutting import articles, headings, rows_of_text
from loralab.data.documents import Documents

TITLE, SECTION = " = Robert Boulter = ", " = = Career = = "


def cut(lines: list[str]) -> Documents:
    rows = Documents(tuple(f"test/{place}" for place in range(len(lines))), tuple(lines))
    return articles(rows, headings(lines))


@pytest.mark.parametrize(
    ("line", "is_heading"),
    [
        (TITLE, True),
        (" = Robert Boulter =", True),  # as an editor leaves it
        (" = Robert Boulter = \n", True),  # as the hub keeps it
        (" = 1 = ", True),
        (" = E = mc2 = ", True),
        (SECTION, False),
        (" = = = 2000 – 2005 = = = ", False),
        ("= Robert Boulter =", False),
        (" = Robert Boulter", False),
        (" = = ", False),
        (" a = b = ", False),
        ("\n = Robert Boulter = ", False),
    ],
)
def test_one_sign_on_each_side_makes_a_heading(line: str, is_heading: bool) -> None:
    assert bool(headings([line])) == is_heading


def test_a_line_inside_a_paragraph_is_no_heading_whatever_its_signs() -> None:
    formula = ["The plots are of a filter with ω ", " = 1 rad / s and a nominal impedance k = ", " 1 Ω . "]
    assert headings([" ", TITLE, " ", *formula, " ", " = Second = ", ""]) == [1, 7]
    assert headings(["Text . ", TITLE, " ", "Text . "]) == []


def test_where_blank_lines_are_gone_or_stand_outside_alone_every_heading_counts() -> None:
    assert headings([TITLE, "One . ", " = Second = ", "Two . "]) == [0, 2]
    assert headings([" ", TITLE, "One . ", " = Second = ", "Two . ", ""]) == [1, 3]


def test_an_article_runs_to_the_next_heading_and_is_called_after_its_own() -> None:
    lines = [" ", TITLE, " ", " One  . ", "", SECTION, " ", "Two . ", " ", " = Second = ", " ", "Three . "]
    assert cut(lines) == Documents(
        ids=("test/1", "test/9"),
        texts=(f"{TITLE}\n \n One  . \n\n{SECTION}\n \nTwo . \n ", " = Second = \n \nThree . "),
    )


def test_what_stands_before_the_first_heading_is_a_document_if_it_has_text() -> None:
    lines = ["", "The end of another article . ", " ", TITLE, " ", "One . "]
    assert cut(lines).texts == ("\nThe end of another article . \n ", f"{TITLE}\n \nOne . ")
    assert cut(lines).ids == ("test/0", "test/3")
    assert cut(lines[2:]).ids == ("test/1",)


def test_line_ends_that_a_source_keeps_are_not_doubled() -> None:
    lines = [TITLE, " ", "One . ", "", " = Second = ", " ", "Two . "]
    assert cut([f"{line}\n" for line in lines]) == cut(lines)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("\n \none\ntwo\n\n", ["one", "two"]),
        ("one\ntwo\n\nthree\n", ["one\ntwo", "three"]),
        ("one\n \n\t\n  two \n", ["one", "  two "]),
        ("one\u2028still one\x85and still\n", ["one\u2028still one\x85and still"]),
        (f"one\n\n{TITLE}\n\ntwo\n", ["one", "", TITLE, "", "two"]),
        ("one", ["one"]),
        ("\u00a0", []),
    ],
)
def test_a_text_s_rows_are_lines_under_headings_else_paragraphs_else_lines(text: str, rows: list[str]) -> None:
    assert rows_of_text(text) == rows


LINES = st.one_of(
    st.sampled_from(["", " ", TITLE, " = B = ", SECTION, " = 1 rad / s = "]), st.text("a =\t\u2028\x85\r", max_size=6)
)


@given(st.lists(LINES, min_size=1, max_size=30))
def test_cutting_into_articles_loses_no_line_and_no_text(lines: list[str]) -> None:
    starts = headings(lines)
    if not starts:
        return
    found = cut(lines)
    assert len(set(found.ids)) == len(found) in (len(starts), len(starts) + 1)
    joined = "\n".join(found.texts).split("\n")
    assert joined == lines[len(lines) - len(joined) :]
    assert not "".join(lines[: len(lines) - len(joined)]).strip()


@given(st.lists(LINES, min_size=1, max_size=30))
def test_cutting_a_text_into_rows_loses_nothing_but_blank_lines(lines: list[str]) -> None:
    kept = chain.from_iterable(row.split("\n") for row in rows_of_text("\n".join(lines)))
    assert [line for line in kept if line.strip()] == [line for line in lines if line.strip()]
