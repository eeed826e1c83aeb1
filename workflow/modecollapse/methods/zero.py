"""DeepSpeed ZeRO: its configuration, made from ours, and whole weights out of sharded ones."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modecollapse.methods.base import TrainingJob
    from modecollapse.methods.settings import OptimisationSettings


def zero_configuration(job: "TrainingJob", settings: "OptimisationSettings", accumulation: int) -> dict[str, Any]:
    """DeepSpeed's configuration for this job: our batch, clip and precision; optimizer and schedule stay ours.

    With bfloat16, autocast runs over float32 weights, as without DeepSpeed; a model in bfloat16 throughout would give
    other losses. The optimizer is torch's, so that no kernel of DeepSpeed is compiled.
    """
    layout = job.layout
    return {
        # Without train_batch_size, which DeepSpeed would check before it knows the number of processes.
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": settings.clip,
        "zero_optimization": {
            "stage": layout.zero_stage,
            "overlap_comm": False,
            "contiguous_gradients": True,
            "reduce_scatter": True,
        },
        "zero_allow_untested_optimizer": True,
        "fp16": {"enabled": False},
        "bf16": {"enabled": False},
        "torch_autocast": {"enabled": settings.dtype == "bfloat16", "dtype": "bfloat16"},
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }


def prepare_zero() -> None:
    """Have DeepSpeed compile nothing, and read no code from checkpoints. To be called before it is used.

    It would compile its collective operations for CPUs, which takes minutes, while gloo has them, too. And it reads
    pickles: under `TORCH_FORCE_WEIGHTS_ONLY_LOAD`, which the launcher sets, they may hold tensors and these types only.
    """
    import deepspeed.ops
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address
    from torch.serialization import add_safe_globals

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    add_safe_globals([LossScaler, ZeroStageEnum, fragment_address])


def full_weights(model: Any, keeps: bool) -> dict[str, Any]:
    """Name → float32 weights of a model whose parts are spread over processes; all of them have to call this.

    Only a process that `keeps` them holds more than one tensor at a time, in main memory; the others get nothing.
    """
    from deepspeed.utils import safe_get_full_fp32_param

    weights = {}
    for name, parameter in model.named_parameters():
        full = safe_get_full_fp32_param(parameter)
        if full is None:
            raise RuntimeError(f"DeepSpeed has no full weights of {name}")
        if keeps:
            weights[name] = full.detach().to("cpu", copy=True).contiguous()
    return weights
