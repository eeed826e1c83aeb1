"""How a stage comes to be: one module per method, and the registry of all of them."""

from modecollapse.methods import adapter, best_of_n, checkpoint, dpo, pretrain, rejection_sft, reward, sft
from modecollapse.methods.base import Method

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        pretrain.METHOD,
        sft.METHOD,
        reward.METHOD,
        dpo.METHOD,
        best_of_n.METHOD,
        rejection_sft.METHOD,
        checkpoint.METHOD,
        adapter.METHOD,
    )
}
"""Every method by the name that a study gives in `stages.NAME.method`."""
