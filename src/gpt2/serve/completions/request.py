"""What does a request for completions ask for? Its fields, checked."""

from pydantic import BaseModel, ConfigDict

from gpt2.config import GenerationConfig


class CompletionRequest(BaseModel):
    """The body of POST /v1/completions.

    Source: "Create completion" of OpenAI's API reference.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    model: str | None = None
    prompt: str | list[int] | list[str] | list[list[int]]
    max_tokens: int = 16
    temperature: float = 1.0
    seed: int | None = None
    stream: bool = False

    def generation_config(self) -> GenerationConfig:
        """Return how to write each text."""
        return GenerationConfig(
            max_new_tokens=self.max_tokens, temperature=self.temperature, seed=self.seed
        )
