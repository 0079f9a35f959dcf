import pytest

from hybridseg.errors import (
    BadInput,
    MissingInput,
    MissingPackage,
    Problem,
    is_too_long,
    join_names,
    list_problems,
    located,
    tidy,
)

LONG = "Ж" * 10_000


@pytest.mark.parametrize("message", ["a.png: is damaged", "a.png is damaged", "is damaged"])
def test_a_problem_names_its_file_once(message):
    assert str(Problem.of("a.png", BadInput(message))) == "a.png: is damaged"


def test_a_problem_with_a_file_that_is_not_there_names_it_once():
    assert str(Problem.of("a.png", MissingInput("there is no file a.png"))) == "a.png: there is no file of this name"


def test_a_problem_with_a_strange_file_names_it_once():
    problem = Problem.of("a\x1b.png", BadInput("a\x1b.png: is damaged"))
    assert problem.where == "a\x1b.png" and str(problem) == r"a\x1b.png: is damaged"


def test_a_problem_with_a_line_break_in_its_name_is_one_line():
    path = "photos/a\nError: b\x1b.png"
    problem = Problem.of(path, BadInput(f"{path} is damaged; copy a\nError: b\x1b.png again"))
    name = r"a\nError: b\x1b.png"
    assert str(problem) == f"photos/{name}: is damaged; copy {name} again"
    assert list_problems([problem]) == f"\n  {problem}" and problem.where == path


def test_a_place_stands_before_a_message_about_content_only():
    with pytest.raises(BadInput, match=r"^a\.txt: no colour$"), located("a.txt"):
        raise BadInput("no colour")
    with pytest.raises(MissingInput, match=r"^there is no b\.txt$"), located("a.txt"):
        raise MissingInput("there is no b.txt")


def test_errors_are_of_the_kinds_that_python_programs_expect():
    with pytest.raises(FileNotFoundError):
        raise MissingInput("")
    with pytest.raises(ValueError):
        raise BadInput("")


def test_what_a_message_keeps():
    told = str(BadInput(f"{LONG!r} is not a colour; write it like #556B2F"))
    assert told.startswith("'ЖЖ") and told.endswith("Ж' is not a colour; write it like #556B2F")
    assert str(MissingPackage(LONG)) == str(MissingInput(LONG)) and len(str(MissingInput(LONG))) == 200
    # A path stays as it was typed, but for its middle if it is long; and every one in a message.
    path = "/data/" + "a" * 180 + "/photo.jpg"
    assert str(MissingInput(f"there is no file {path}: no {path}")) == f"there is no file {path}: no {path}"
    told = str(MissingInput(f"there is no file {path.replace('/', '/' + 'b' * 100 + '/')}"))
    assert told.startswith("there is no file /bbb") and told.endswith("b/photo.jpg") and len(told) == 217
    assert len(str(MissingInput(f"there is no file /{LONG}"))) < 250
    # English has apostrophes.
    text = "it's " * 50 + "the users' files don't fit, and 'sand' isn't one"
    assert tidy(text) == text
    assert tidy(f"'a.' stands for {'b ' * 60}, not for 'c.'") == f"'a.' stands for {'b ' * 60}, not for 'c.'"
    assert len(tidy(f"'a' and {'b ' * 500!r} and \"{'c' * 500}\"")) < 230
    # However it is built, in no time.
    assert len(tidy(("'a " * 2000 + "\n") * 300)) == 20_000
    assert len(str(Problem(LONG, LONG))) < 250 and len(tidy("\n".join([LONG] * 3))) < 610
    # However many there are in it, a line keeps 200 characters of what is long, and what is short.
    told = tidy(f"{LONG!r} is not {LONG!r}, {LONG} or {'Ж ' * 500!r}, but 'sand' {'x' * 90}")
    assert told.count("Ж") + told.count("x") < 280 and "'sand'" in told and len(told) < 330
    # What is said of paths is seen.
    told = tidy(f"there is no file {path}: {'Ж, ' * 900}; do that")
    assert path in told and told.endswith("; do that") and len(told) <= 801 + len(path)
    assert tidy("a\n" * 500).endswith("... and 402 more lines")


def test_a_line_of_many_short_words_loses_its_middle():
    told = tidy("what is wrong: " + "Ж, " * 10_000 + "; do that")
    assert len(told) <= 800 and told.startswith("what is wrong: Ж") and told.endswith("Ж, ; do that")


def test_what_would_work_on_a_terminal_is_written_out():
    told = str(BadInput("\x1b[31mred\x9b\r\u202e\u2028 and\nthe rest"))
    assert told == r"\x1b[31mred\x9b\r\u202e\u2028 and" + "\nthe rest"


def test_names_for_a_message():
    assert join_names(["a" * 40, "b" * 40, "c" * 40]) == f"{'a' * 40}, {'b' * 40} and 1 more"
    assert join_names([]) == "" and len(join_names([LONG, LONG])) < 120


def test_a_name_that_is_too_long_is_to_be_changed():
    assert str(is_too_long("photos/" + "a" * 300)).endswith("is longer than the name of a file can be; rename it")
    assert str(is_too_long("photos/" * 700)).endswith("is longer than the path of a file can be")
