"""What the three stages that speak to OpenAI-compatible endpoints say when one fails."""

import socket

import pytest
from tests.agents.openai_endpoint import FixedAnswer, recognised, settings_for, spoken, thoughts

from legato.agents.stages import llm_openai, openai_http
from legato.core.errors import AgentError
from legato.testing.scripted_endpoint import Hold, Refuse


@pytest.mark.parametrize(
    ("status", "retryable"), [(400, False), (401, False), (404, False), (429, True), (503, True)]
)
async def test_refusals(endpoint, model, voice, recognition, status: int, retryable: bool) -> None:
    refusal = Refuse(status, "because\nof k-llm " + "x" * 1_000)
    endpoint.answers.append(refusal)
    endpoint.speeches.append(refusal)
    endpoint.transcripts.append(refusal)
    refused = []
    for asking in (thoughts(model), spoken(voice, "a"), recognised(recognition, bytes(3_200))):
        with pytest.raises(AgentError, match=rf"answers {status}: because of (k-llm|\.\.\.) x") as caught:
            await asking
        assert caught.value.retryable is retryable
        assert len(str(caught.value)) < 450
        refused.append(caught.value)
        assert "127.0.0.1" not in str(caught.value)
    assert "k-llm" not in str(refused[0])


async def test_an_endpoint_that_is_not_there(endpoint, caplog) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    model = llm_openai.build(settings_for(f"http://127.0.0.1:{port}/v1"))
    with pytest.raises(AgentError, match=r"^the language model cannot be reached$") as caught:
        await thoughts(model)
    assert caught.value.retryable
    assert f"127.0.0.1:{port}/v1/chat/completions" in caplog.text, "the log says where"
    await model.close()
    with pytest.raises(AgentError, match="closed"):
        await thoughts(model)


async def test_an_endpoint_that_says_nothing(endpoint) -> None:
    endpoint.answers.append([hold := Hold()])
    model = llm_openai.build(settings_for(endpoint.url).model_copy(update={"endpoint_timeout_s": 0.2}))
    with pytest.raises(AgentError, match="does not answer in time") as caught:
        await thoughts(model)
    assert caught.value.retryable
    hold.release()
    await model.close()


async def test_a_refusal_is_only_read_as_far_as_it_is_told(monkeypatch) -> None:
    monkeypatch.setattr(openai_http, "MOST_BYTES", 10_000)
    answer = FixedAnswer(b"text/html", b"x" * 50_000)
    answer.answer = answer.answer.replace(b"200 OK", b"502 Bad Gateway")
    async with answer as url:
        model = llm_openai.build(settings_for(url))
        with pytest.raises(AgentError, match="answers 502: xxx") as caught:
            await thoughts(model)
        assert caught.value.retryable
        await model.close()
