"""The shape of a GPT-NeoX model that is trained from nothing."""

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from modecollapse.schema import Strict

if TYPE_CHECKING:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM


class ArchitectureSettings(Strict):
    """A GPT-NeoX decoder of Pythia's kind (Biderman et al., 2023, section 2.1).

    Parallel residuals, rotary positions on a quarter of each head, untied embeddings, feed-forward layers four times as
    wide as the hidden state, no dropout. The vocabulary is the tokenizer's.
    """

    hidden_size: int = Field(gt=0)
    """Width of the hidden state; a multiple of `heads`."""
    layers: int = Field(gt=0)
    """Number of decoder layers."""
    heads: int = Field(gt=0)
    """Attention heads per layer."""
    context: int = Field(gt=1)
    """Longest text in tokens."""

    @model_validator(mode="after")
    def _heads_divide_the_hidden_size(self) -> "ArchitectureSettings":
        if self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} does not divide by heads {self.heads}; "
                f"choose a hidden_size that is a multiple of {self.heads}, e.g. {self._next_multiple()}"
            )
        if self.hidden_size // self.heads < 8:
            raise ValueError(
                f"each head would be {self.hidden_size // self.heads} wide, but a quarter of it carries rotary "
                f"positions in pairs; heads need a width of at least 8, so allow at most {self.hidden_size // 8} heads"
            )
        return self

    def _next_multiple(self) -> int:
        return -(-self.hidden_size // self.heads) * self.heads


def neox_config(architecture: ArchitectureSettings, vocabulary: int, eos: int, bos: int | None) -> "GPTNeoXConfig":
    """The configuration of the model, every value that matters written out."""
    from transformers import GPTNeoXConfig

    return GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=architecture.hidden_size,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        intermediate_size=4 * architecture.hidden_size,
        max_position_embeddings=architecture.context,
        hidden_act="gelu",
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
        attention_dropout=0.0,
        hidden_dropout=0.0,
        layer_norm_eps=1e-5,
        use_parallel_residual=True,
        tie_word_embeddings=False,
        # "small init" of Nguyen and Salazar (2019), which Pythia uses; a fixed 0.02 is too small for narrow models.
        initializer_range=(2 / (5 * architecture.hidden_size)) ** 0.5,
        bos_token_id=eos if bos is None else bos,
        eos_token_id=eos,
        attn_implementation="sdpa",
    )


def new_model(config: "GPTNeoXConfig", seed: int) -> "GPTNeoXForCausalLM":
    """A float32 model with random weights that depend on `config` and `seed` alone."""
    import torch
    from transformers import GPTNeoXForCausalLM

    torch.manual_seed(seed)
    return GPTNeoXForCausalLM(config)
