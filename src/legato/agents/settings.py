"""The settings of the built-in assistant: one validated, frozen model. Must not know where values come
from."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

__all__ = ["AssistantSettings"]

_Milliseconds = Annotated[int, Field(ge=0, le=10_000)]


class AssistantSettings(BaseModel):
    """What the assistant is made of.

    Each stage is a bare name (`silero`, `pocketsphinx`, `rules`, `flite`, `openai`) or
    `package.module:attribute`. A stage named `openai` is any endpoint that speaks that interface and needs
    its URL, such as http://localhost:8000/v1; the key may be empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    vad: str = Field("silero", description="Voice activity stage.")
    vad_threshold: float = Field(
        0.5, gt=0.0, lt=1.0, description="Speech probability above which speech begins; it ends 0.15 below."
    )
    min_speech_ms: _Milliseconds = Field(96, description="Shorter sounds are not taken for speech.")
    silence_ms: int = Field(500, ge=64, le=10_000, description="Silence that ends what a person says.")
    prefix_ms: _Milliseconds = Field(300, description="Audio before speech that is recognised with it.")
    max_speech_ms: int = Field(60_000, ge=1_000, description="Longer speech is answered in parts.")

    stt: str = Field("pocketsphinx", description="Speech recognition stage.")
    stt_url: str = Field("", description="Base URL of the recognition endpoint (stt openai).")
    stt_key: SecretStr = Field(SecretStr(""), description="Its key.")
    stt_model: str = Field("whisper-1", description="Its model.")
    stt_grammar: str = Field(
        "", description="Path of a JSGF grammar; empty means any English (pocketsphinx)."
    )
    stt_recognisers: int = Field(2, ge=1, le=64, description="Recognisers at work at once (pocketsphinx).")
    language: str = Field("en", description="Language spoken, ISO 639-1.")

    llm: str = Field("rules", description="Language model stage.")
    llm_url: str = Field("", description="Base URL of the chat endpoint (llm openai).")
    llm_key: SecretStr = Field(SecretStr(""), description="Its key.")
    llm_model: str = Field("gpt-4o-mini", description="Its model.")
    llm_images: bool = Field(False, description="Whether the model sees images (llm openai).")
    llm_token_limit: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="What the endpoint calls the limit of an answer (llm openai)."
    )
    instructions: str = Field(
        "You are a voice assistant. Answer in one to three short spoken sentences, without lists or markup.",
        description="The system message of a language model.",
    )
    max_messages: int = Field(40, ge=2, description="Messages of the conversation that the model is given.")

    tts: str = Field("flite", description="Speech synthesis stage.")
    tts_url: str = Field("", description="Base URL of the speech endpoint (tts openai).")
    tts_key: SecretStr = Field(SecretStr(""), description="Its key.")
    tts_model: str = Field("tts-1", description="Its model.")
    voice: str = Field("", description="Voice of the synthesis stage; empty means its own default.")
    sentences_ahead: int = Field(2, ge=1, le=16, description="Sentences synthesised before their turn comes.")

    greeting: str = Field("", description="Said at the start of each call; empty means silence.")
    endpoint_timeout_s: float = Field(20.0, gt=0, description="Silence from an endpoint that is a failure.")

    @model_validator(mode="after")
    def _endpoints_have_urls(self) -> Self:
        for stage in ("stt", "llm", "tts"):
            url: str = getattr(self, f"{stage}_url")
            if getattr(self, stage) == "openai" and not url.startswith(("http://", "https://")):
                raise ValueError(f"{stage} openai needs {stage}_url, for example http://localhost:8000/v1")
        return self
