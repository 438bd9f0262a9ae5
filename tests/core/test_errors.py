import pytest

from legato.core import errors


def test_one_base_covers_everything() -> None:
    tree = [
        errors.LocalProtocolError("x"),
        errors.RemoteProtocolError(2, "x"),
        errors.ConnectError("x"),
        errors.SessionClosed("peer", 0),
        errors.StreamReset(1),
        errors.AgentError("x"),
        errors.SettingsError("x"),
    ]
    assert all(isinstance(error, errors.LegatoError) for error in tree)
    assert all(isinstance(error, errors.ProtocolError) for error in tree[:2])
    assert all(isinstance(error, errors.TransportError) for error in tree[2:5])


def test_the_docstring_draws_every_class() -> None:
    assert errors.__doc__
    classes = [name for name, one in vars(errors).items() if isinstance(one, type)]
    assert len(classes) == 10
    assert all(name in errors.__doc__ for name in classes)


def test_a_closed_session_says_who_and_why() -> None:
    closed = errors.SessionClosed("transport", 9, "lost")
    assert (closed.by, closed.code, closed.reason) == ("transport", 9, "lost")
    assert str(closed) == "session closed by transport, code 9: lost"
    assert str(errors.SessionClosed("peer", 1)) == "session closed by peer, code 1"


def test_codes_travel_with_errors() -> None:
    assert errors.RemoteProtocolError(6, "too much").code == 6
    assert errors.RemoteProtocolError(6, "too much").reason == "too much"
    assert errors.StreamReset(3).code == 3


@pytest.mark.parametrize("retryable", [True, False])
def test_agent_errors_say_whether_to_retry(retryable: bool) -> None:
    assert errors.AgentError("x", retryable).retryable is retryable
    assert errors.AgentError("x").retryable is False
