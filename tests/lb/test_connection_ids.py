"""Connection IDs from Python: `legato.lb`."""

from legato.lb import QuicLbConfig, decode_connection_id, derived_server_id


def test_a_name_goes_into_a_connection_id_and_comes_back() -> None:
    config = QuicLbConfig(3, 8, 8, bytes(range(16)))
    name = derived_server_id(("192.0.2.7", 4433))
    assert name.hex() == "c000020711512ca7"
    connection_id = config.encode(name, bytes(8))
    assert len(connection_id) == config.cid_length == 17
    assert name not in connection_id, "it is encrypted"
    assert decode_connection_id([config], connection_id) == (3, name)


def test_noise_under_another_key_says_another_name_or_nothing() -> None:
    ours, theirs = QuicLbConfig(3, 8, 8, bytes(16)), QuicLbConfig(3, 8, 8, bytes([1] * 16))
    name = derived_server_id(("192.0.2.7", 4433))
    assert decode_connection_id([theirs], ours.encode(name, bytes(8))) != (3, name)
    assert decode_connection_id([QuicLbConfig(4, 8, 8, bytes(16))], ours.encode(name, bytes(8))) is None
