"""JSON a client might send: right, slightly wrong, and anything at all."""

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from hypothesis import strategies as st

from legato.core.dialects.realtime.errors import EventRefused

NAMES = re.findall(
    r"\S+",
    """
    type event_id session item item_id previous_item_id content_index audio_end_ms audio response response_id
    legato_audio_offset id object status role content text transcript image_url detail name arguments call_id
    output model instructions output_modalities tools tool_choice parallel_tool_calls max_output_tokens
    reasoning effort truncation retention_ratio token_limits post_instructions tracing workflow_name group_id
    metadata prompt include input format rate noise_reduction strength transcription language delay keywords
    languages turn_detection threshold prefix_padding_ms silence_duration_ms create_response
    interrupt_response idle_timeout_ms eagerness voice speed conversation description parameters unheard_of
    """,
)
WORDS = re.findall(
    r"\S+",
    """
    session.update realtime transcription audio text message function_call function_call_output mcp_call
    item_reference function mcp auto none required inf server_vad semantic_vad audio/pcm audio/pcmu near_field
    retention_ratio disabled input_text input_audio input_image output_text output_audio system user assistant
    completed realtime.item low f legato AAAA root data:image/png;base64,AA==
    """,
)

Path = tuple[str | int, ...]
Result = TypeVar("Result")

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 30_000)
    | st.sampled_from([10**400, -(10**400)])
    | st.floats(allow_nan=False, min_value=-1, max_value=2)
    | st.sampled_from(WORDS)
    | st.text(max_size=4)
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)


values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | objects(inner), max_leaves=12)
json_objects = objects(values)


def damaged(valid: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """`valid` with one member, at any depth, replaced, taken away, or joined by another one."""
    paths = list(_paths(valid, ()))
    return st.builds(
        lambda path, name, value, change: _damage(copy.deepcopy(valid), path, name, value, change),
        st.sampled_from(paths),
        st.sampled_from(NAMES),
        values,
        st.sampled_from(["replace", "remove", "add"]),
    )


def outcome(call: Callable[[], Result]) -> Result | EventRefused:
    """What `call` returns, or how it refuses; whatever else it raises is a failure of the test."""
    try:
        return call()
    except EventRefused as refused:
        return refused


def _paths(value: Any, path: Path) -> Iterator[Path]:
    members: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for name, member in members:
        yield (*path, name)
        if isinstance(member, dict | list):
            yield from _paths(member, (*path, name))


def _damage(valid: dict[str, Any], path: Path, name: str, value: Any, change: str) -> dict[str, Any]:
    place: Any = valid
    for step in path[:-1]:
        place = place[step]
    if change == "replace":
        place[path[-1]] = value
    elif change == "remove":
        del place[path[-1]]
    elif isinstance(place, dict):
        place[name] = value
    else:
        place.append(value)
    return valid
