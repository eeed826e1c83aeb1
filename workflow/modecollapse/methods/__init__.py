"""How a stage comes to be: one module per method, and the registry of all of them."""

from modecollapse.methods import (
    adapter,
    best_of_n,
    checkpoint,
    dpo,
    grpo,
    ipo,
    kto,
    orpo,
    ppo,
    pretrain,
    rejection_sft,
    reward,
    rloo,
    sft,
    simpo,
    unmerged,
)
from modecollapse.methods.base import Method

_TRAINED = (pretrain, sft, dpo, ipo, kto, simpo, orpo, reward, ppo, rloo, grpo, rejection_sft)
_MODULES = (*_TRAINED, best_of_n, checkpoint, adapter, unmerged)

METHODS: dict[str, Method] = {module.METHOD.name: module.METHOD for module in _MODULES}
"""Every method by the name that a study gives in `stages.NAME.method`."""
