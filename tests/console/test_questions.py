"""Questions to whoever started a command."""

import pytest

from vireid.console.questions import ask


@pytest.mark.parametrize(
    ('answers', 'default', 'yes'),
    [
        (['y'], False, True),
        (['NO '], True, False),
        ([''], True, True),
        ([''], False, False),
        (['what', 'yes'], False, True),
    ],
)
def test_it_is_asked_until_it_is_answered(monkeypatch, answers, default, yes):
    given, asked = iter(answers), []
    monkeypatch.setattr('builtins.input', lambda question: asked.append(question) or next(given))
    assert ask('Train?', default) == yes
    assert asked == [f'Train? [{"Y/n" if default else "y/N"}] '] * len(answers)


def test_the_end_of_the_input_is_no(monkeypatch):
    def closed(question: str) -> str:
        raise EOFError

    monkeypatch.setattr('builtins.input', closed)
    assert not ask('Train?', True)
