import pytest

from hybridseg.errors import BadInput, MissingInput, Problem, located


@pytest.mark.parametrize("message", ["a.png: is damaged", "a.png is damaged", "is damaged"])
def test_a_problem_names_its_file_once(message):
    assert str(Problem.of("a.png", BadInput(message))) == "a.png: is damaged"


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
