"""How a stage comes to be: one module per method, and the registry of all of them."""

from modecollapse.methods import adapter, checkpoint, dpo, grpo, pretrain, reward, rloo, sft
from modecollapse.methods.base import Method

METHODS: dict[str, Method] = {
    module.METHOD.name: module.METHOD for module in (pretrain, sft, reward, dpo, rloo, grpo, checkpoint, adapter)
}
"""Every method by the name that a study gives in `stages.NAME.method`."""
