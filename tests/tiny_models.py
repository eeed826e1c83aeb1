"""Tiny GPT-NeoX and Llama models with random weights, saved as Hugging Face directories.

The GPT-NeoX has no BOS of its own (end of text serves as everything, as in Pythia), no padding token and no chat
template. The Llama adds a BOS to every text, has another EOS, no padding token, and a chat template that writes BOS.
"""

from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'system' %}<<SYS>> {{ message.content }} <</SYS>> {% endif %}"
    "{% if message.role == 'user' %}[INST] {{ message.content }} [/INST]{% endif %}"
    "{% endfor %}"
)
"""In the manner of Llama-2-chat."""

_SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def _tokenizer(special: list[str]) -> Any:
    """One token per character: every text survives, whatever a template puts into it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = [*map(chr, range(33, 127)), "Ġ", "Ċ"]
    raw = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*special, *letters])}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return raw


class AgreeingManifest:
    """A manifest that agrees with every weights."""

    weights = "digest"

    def verify(self, _: Path) -> None:
        pass


def character_tokenizer() -> Any:
    """A tokenizer with one token per character, and end of text as its only special token."""
    from transformers import PreTrainedTokenizerFast

    raw = _tokenizer(["<|endoftext|>"])
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|endoftext|>", bos_token="<|endoftext|>")


def save_neox(directory: Path, context: int = 256, seed: int = 0, heads: int = 4) -> Path:
    """Write a GPT-NeoX of 2 layers and its tokenizer to `directory`."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    tokenizer = character_tokenizer()
    config = GPTNeoXConfig(
        **{**_SHAPE, "num_attention_heads": heads}, vocab_size=104, max_position_embeddings=context, bos_token_id=0,
        eos_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    return _save(GPTNeoXForCausalLM, config, tokenizer, directory, seed)


def save_llama(directory: Path, context: int = 256, seed: int = 0, chat_template: str | None = CHAT_TEMPLATE) -> Path:
    """Write a Llama of 2 layers and its tokenizer to `directory`."""
    from tokenizers import processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = _tokenizer(["<unk>", "<s>", "</s>"])
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>", chat_template=chat_template
    )
    config = LlamaConfig(
        **_SHAPE, num_key_value_heads=2, vocab_size=104, max_position_embeddings=context, bos_token_id=1,
        eos_token_id=2, tie_word_embeddings=False,
    )  # fmt: skip
    return _save(LlamaForCausalLM, config, tokenizer, directory, seed)


def save_reward(base: Path, directory: Path, labels: int = 1, seed: int = 1) -> Path:
    """Write the model in `base` with a random head for `labels` scores in place of its output layer to `directory`."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(seed)
    network = AutoModelForSequenceClassification.from_pretrained(base, num_labels=labels)
    network.score.weight.data.normal_(0, 0.25)
    network.save_pretrained(directory)
    AutoTokenizer.from_pretrained(base).save_pretrained(directory)
    return directory


def save_adapter(base: Path, directory: Path, targets: list[str], **options: Any) -> Path:
    """Write a LoRA adapter of the model in `base`, whose matrices are not zero, to `directory`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    network = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM", **options)
    model = get_peft_model(network, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.normal_(0, 0.3)
    model.save_pretrained(directory)
    return directory


def _save(family: Any, config: Any, tokenizer: Any, directory: Path, seed: int) -> Path:
    import torch

    torch.manual_seed(seed)
    model = family(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, 0.25)  # large enough to have opinions
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
