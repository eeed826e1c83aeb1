"""How a stage comes to be: one module per method, and the registry of all of them."""

from modecollapse.methods import adapter, checkpoint, dpo, grpo, ipo, kto, orpo, ppo, pretrain, reward, rloo, sft, simpo
from modecollapse.methods.base import Method

_MODULES = (pretrain, sft, dpo, ipo, kto, simpo, orpo, reward, ppo, rloo, grpo, checkpoint, adapter)

METHODS: dict[str, Method] = {module.METHOD.name: module.METHOD for module in _MODULES}
"""Every method by the name that a study gives in `stages.NAME.method`."""
