"""Runs models in vLLM, one after the other: `vllm_program.py JSON`, a list of options of `LLM`.

Prints a line for each: greedy tokens, what each rank has in memory, and the most bytes of plain
matrices that were there when a matrix was packed (of this process); or the error that kept the model
from being loaded.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from vllm import LLM, SamplingParams

import unweight
from vllm_memory import memory

PROMPTS = ([1, 5, 17, 99, 400], [1, 7, 3, 3, 12, 64])


def main() -> None:
    plain_while_packing: list[int] = []
    watch_packing(plain_while_packing.append)
    for options in json.loads(sys.argv[1]):
        plain_while_packing[:] = [0]
        try:
            llm = LLM(
                skip_tokenizer_init=True,
                dtype="bfloat16",
                max_model_len=128,
                max_num_seqs=2,
                seed=0,
                **options,
            )
        except unweight.UnweightError as error:
            print("ERROR", f"{type(error).__name__}: {error}", flush=True)
            continue
        prompts: Any = [{"prompt_token_ids": prompt} for prompt in PROMPTS]
        sampling = SamplingParams(temperature=0, max_tokens=16, ignore_eos=True, detokenize=False)
        outputs = llm.generate(prompts, sampling, use_tqdm=False)
        made = [list(output.outputs[0].token_ids) for output in outputs]
        result = {
            "tokens": made,
            "ranks": llm.apply_model(memory),
            "most_plain": max(plain_while_packing),
        }
        print("RESULT", json.dumps(result), flush=True)
        llm.llm_engine.engine_core.shutdown()
        del llm
        gc.collect()


def watch_packing(record: Callable[[int], None]) -> None:
    """Records the bytes of all plain matrices in memory each time that one is packed."""
    from unweight._packed import pack
    from unweight.vllm import _experts, _linear
    from vllm.model_executor.parameter import ModelWeightParameter

    def is_plain(thing: Any) -> bool:
        if type(thing) is torch.nn.Parameter:
            # The matrices of experts are plain parameters of three dimensions.
            return thing.dim() == 3 and thing.dtype == torch.bfloat16 and not thing.is_meta
        return isinstance(thing, ModelWeightParameter) and not thing.is_meta

    def watched(weight: torch.Tensor) -> Any:
        record(sum(thing.nbytes for thing in gc.get_objects() if is_plain(thing)))
        return pack(weight)

    for module in (_linear, _experts):
        vars(module)["pack"] = watched


if __name__ == "__main__":
    main()
