from legato.core.dialects.realtime.errors import EventRefused, json_type, out_of_range, shown, unsupported


def test_an_error_names_the_event_it_answers() -> None:
    refused = EventRefused("invalid_value", "No.", "session.model")
    assert refused.as_error() == {
        "type": "invalid_request_error",
        "code": "invalid_value",
        "message": "No.",
        "param": "session.model",
        "event_id": None,
    }
    refused.event_id = "e1"
    assert refused.as_error()["event_id"] == "e1"
    assert refused.as_error("e2")["event_id"] == "e2"
    assert str(refused) == "No."


def test_our_own_mistakes_say_so() -> None:
    assert EventRefused("agent_error", "It fell.", type="server_error").as_error()["type"] == "server_error"


def test_what_this_server_does_not_offer() -> None:
    refused = unsupported("session.prompt", "Send instructions.")
    assert refused.code == "unsupported_parameter"
    assert refused.message == "Unsupported here: 'session.prompt'. Send instructions."


def test_long_values_are_cut() -> None:
    assert shown("x" * 64) == "'" + "x" * 64 + "'"
    assert shown("x" * 65) == "'" + "x" * 64 + "…'"
    assert shown(-(2**64)) == shown(10**5_000) == "a number of more than 64 bits"
    assert shown(2**64 - 1) == "'18446744073709551615'"


def test_a_range_is_told_exactly() -> None:
    assert out_of_range("x", -1, 0, 2**31 - 1).message == (
        "Invalid value for 'x': expected a number from 0 to 2147483647, but got '-1'."
    )
    assert out_of_range("rate", 16_000, 24_000, 24_000).message == (
        "Invalid value for 'rate': expected 24000, but got '16000'."
    )


def test_types_are_named_as_in_json() -> None:
    values = [None, True, "x", 1, 1.5, [], {}]
    names = ["null", "a boolean", "a string", "an integer", "a number", "an array", "an object"]
    assert [json_type(value) for value in values] == names
