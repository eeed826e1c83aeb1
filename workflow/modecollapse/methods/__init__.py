"""How a stage comes to be: one module per method, and the registry of all of them."""

from modecollapse.methods import adapter, checkpoint, dpo, ppo, pretrain, reward, sft
from modecollapse.methods.base import Method

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        pretrain.METHOD,
        sft.METHOD,
        dpo.METHOD,
        reward.METHOD,
        ppo.METHOD,
        checkpoint.METHOD,
        adapter.METHOD,
    )
}
"""Every method by the name that a study gives in `stages.NAME.method`."""
