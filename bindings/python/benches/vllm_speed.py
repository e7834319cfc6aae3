"""Speed and memory of a model in vLLM with plain and with packed weights, on a CUDA device:

    python vllm_speed.py FOLDER [--layers N] [--weights bf16,packed,exact,file] [--results FILE]

FOLDER is a BF16 model. If it is not there, a random one of Llama-3.1-8B's shape is made, with
normal weights of sigma 0.02, each row times exp(0.15 z). The page cache is warm then.

    bf16     vLLM alone
    packed   --quantization unweight
    exact    --quantization unweight_exact
    file     --load-format unweight, from FOLDER.unw, which is made if it is not there

Each has a process of its own, which adds a line of JSON to FILE. Then the table of all lines of
FILE is printed, so the runs can be spread over several calls.

A step is the difference between making 16 and 144 tokens for each prompt of 32, divided by 128; the
median of three. `first` is the time for a prompt of 2,048 tokens and its first token, the median of
seven. `peak` is the most that torch had allocated on the device when weights had been loaded. `KV
cache` is the room that vLLM finds with its default share of the memory. `start` is the time to
construct `LLM`, without compiled code from earlier starts, with graphs of the batches below only.
`again` is the same from a second process, which finds that code (--again). Logits are compared by a
digest of the log probabilities of the 2,048 tokens, and tokens by one of what batch 8 makes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

BATCHES = (1, 8, 32, 64, 128, 256)
PROMPT, LONG_PROMPT = 32, 2048
FEW, MANY = 16, 144
WEIGHTS: dict[str, dict[str, Any]] = {
    "bf16": {},
    "packed": {"quantization": "unweight"},
    "exact": {"quantization": "unweight_exact"},
    "file": {"load_format": "unweight"},
}
LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16",
    "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
    "num_key_value_heads": 8, "num_hidden_layers": 32, "vocab_size": 128256, "hidden_act": "silu",
    "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
    "bos_token_id": 128000, "eos_token_id": 128001, "tie_word_embeddings": False,
}  # fmt: skip
# What vLLM prints, by the name of the result.
PRINTED = {
    "load_seconds": r"Model loading took [\d.]+ GiB(?: memory)? and ([\d.]+) seconds",
    "peak_gib": r"Peak GPU memory after loading weights: ([\d.]+) GiB",
    "kv_cache_gib": r"Available KV cache memory: ([\d.]+) GiB",
    "kv_cache_tokens": r"GPU KV cache size: ([\d,]+) tokens",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=32, help="of the random model")
    parser.add_argument("--weights", type=lambda names: names.split(","), default=list(WEIGHTS))
    parser.add_argument(
        "--batches", type=lambda sizes: [*map(int, sizes.split(","))], default=BATCHES
    )
    parser.add_argument("--again", action="store_true", help="start a second time")
    parser.add_argument("--results", type=Path, default=Path("vllm_speed.jsonl"))
    parser.add_argument("--log", type=Path, help="a file for what vLLM prints")
    parser.add_argument("--only-start", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--in-process", choices=WEIGHTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    if arguments.in_process:
        measured = measure(folder, arguments.in_process, arguments.batches, arguments.only_start)
        print("RESULT", json.dumps(measured), flush=True)
        return
    if not folder.exists():
        make_checkpoint(folder, arguments.layers)
    if "file" in arguments.weights and not compressed(folder).exists():
        import unweight

        unweight.compress(folder, compressed(folder))
    for weights in arguments.weights:
        result = in_process(arguments, weights)
        if result is not None:
            with arguments.results.open("a") as file:
                file.write(json.dumps(result) + "\n")
    if arguments.results.exists():
        print_tables([json.loads(line) for line in arguments.results.read_text().splitlines()])


def compressed(folder: Path) -> Path:
    return folder.with_name(folder.name + ".unw")


def in_process(arguments: argparse.Namespace, weights: str) -> dict[str, Any] | None:
    """Measures in a process of its own, without code that was compiled before."""
    with tempfile.TemporaryDirectory() as cache:
        logging = Path(cache, "logging.json")
        logging.write_text(json.dumps(logging_config()))
        environment = os.environ | {
            "VLLM_CACHE_ROOT": cache,
            "TORCHINDUCTOR_CACHE_DIR": cache + "/inductor",
            "TRITON_CACHE_DIR": cache + "/triton",
            "VLLM_LOGGING_CONFIG_PATH": str(logging),
            "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",  # For the function that counts bytes.
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        command = [sys.executable, *sys.argv, "--in-process", weights]
        result = output_of(command, environment, weights, arguments.log)
        if result is not None and arguments.again:
            second = output_of([*command, "--only-start"], environment, weights, arguments.log)
            if second is not None:
                result["again_seconds"] = second["start_seconds"]
                result["again_load_seconds"] = second.get("load_seconds")
        return result


def output_of(
    command: list[str], environment: dict[str, str], weights: str, log: Path | None
) -> dict[str, Any] | None:
    with log.open("a+") if log else tempfile.TemporaryFile("w+") as file:
        file.write(f"== {weights}\n")
        file.flush()
        start = file.tell()
        done = subprocess.run(command, env=environment, stdout=file, stderr=file, check=False)
        file.seek(start)
        printed = file.read()
    line = re.search(r"^RESULT (.*)$", printed, re.MULTILINE)
    if done.returncode != 0 or line is None:
        print(f"{weights}: failed\n{printed[-6000:]}", flush=True)
        return None
    result: dict[str, Any] = {"weights": weights, **json.loads(line[1])}
    for name, pattern in PRINTED.items():
        if found := re.search(pattern, printed):
            result[name] = float(found[1].replace(",", ""))
    print(json.dumps(result), flush=True)
    return result


def logging_config() -> dict[str, Any]:
    """vLLM's usual messages, and the one about the peak of memory."""
    loader = "vllm.model_executor.model_loader.base_loader"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"stream": {"class": "logging.StreamHandler"}},
        "loggers": {
            "vllm": {"handlers": ["stream"], "level": "INFO", "propagate": False},
            loader: {"level": "DEBUG"},
        },
    }


def measure(folder: Path, weights: str, batches: Iterable[int], only_start: bool) -> dict[str, Any]:
    from vllm import LLM

    sizes = list(batches)
    start = time.perf_counter()
    llm = LLM(
        model=str(compressed(folder) if weights == "file" else folder),
        skip_tokenizer_init=True,
        max_model_len=LONG_PROMPT + 256,
        max_num_seqs=max(sizes),
        enable_prefix_caching=False,
        disable_log_stats=True,
        seed=0,
        compilation_config={"cudagraph_capture_sizes": sizes},
        **WEIGHTS[weights],
    )
    result: dict[str, Any] = {"start_seconds": time.perf_counter() - start}
    if only_start:
        return result
    # By its module's name: the engine's processes have another `__main__`.
    result |= llm.apply_model(importlib.import_module(Path(__file__).stem).count_bytes)[0]
    vocabulary = llm.model_config.get_vocab_size()
    result |= digests(llm, vocabulary)
    result["step_ms"] = {size: 1e3 * step_seconds(llm, size, vocabulary) for size in sizes}
    first = [
        timed(lambda: generate(llm, [prompt(i, LONG_PROMPT, vocabulary)], 1)) for i in range(8)
    ]
    result["first_ms"] = 1e3 * statistics.median(first[1:])
    return result


def count_bytes(model: Any) -> dict[str, int]:
    """The bytes of the model's tensors. Shared memory counts once."""
    tensors = [*model.parameters(), *model.buffers()]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors}
    return {"weight_bytes": sum(storage.nbytes() for storage in storages.values())}


def prompt(seed: int, length: int, vocabulary: int) -> list[int]:
    return [(seed * 7919 + at * 104729) % (vocabulary - 1) + 1 for at in range(length)]


def generate(llm: Any, prompts: list[list[int]], tokens: int, **options: Any) -> Any:
    from vllm import SamplingParams

    sampling = SamplingParams(
        max_tokens=tokens, ignore_eos=True, temperature=0.0, detokenize=False, **options
    )
    given = [{"prompt_token_ids": ids} for ids in prompts]
    return llm.generate(given, sampling, use_tqdm=False)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def step_seconds(llm: Any, batch: int, vocabulary: int) -> float:
    prompts = [prompt(seed, PROMPT, vocabulary) for seed in range(batch)]
    generate(llm, prompts, FEW)
    steps = []
    for _ in range(3):
        few = timed(lambda: generate(llm, prompts, FEW))
        many = timed(lambda: generate(llm, prompts, MANY))
        steps.append((many - few) / (MANY - FEW))
    return statistics.median(steps)


def digests(llm: Any, vocabulary: int) -> dict[str, str]:
    """Digests of log probabilities, whose floats have all their bits here, and of greedy tokens."""
    (output,) = generate(llm, [prompt(0, LONG_PROMPT, vocabulary)], 1, prompt_logprobs=1)
    values = [
        sorted((token, value.logprob) for token, value in of_token.items())
        for of_token in output.prompt_logprobs[1:]
    ]
    made = generate(llm, [prompt(seed, PROMPT, vocabulary) for seed in range(8)], MANY)
    tokens = [list(output.outputs[0].token_ids) for output in made]
    return {"logits": digest(values), "tokens": digest(tokens)}


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def make_checkpoint(folder: Path, layers: int) -> None:
    import torch
    from safetensors.torch import save_file

    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator(device).manual_seed(0)

    def normal(rows: int, columns: int) -> torch.Tensor:
        factors = torch.randn(rows, 1, generator=generator, device=device).mul(0.15).exp()
        weight = torch.randn(rows, columns, generator=generator, device=device)
        return (weight * factors * 0.02).bfloat16().cpu()

    config = LLAMA | {"num_hidden_layers": layers}
    hidden, inner, words = (
        LLAMA[key] for key in ("hidden_size", "intermediate_size", "vocab_size")
    )
    of_keys = hidden // LLAMA["num_attention_heads"] * LLAMA["num_key_value_heads"]
    ones = torch.ones(hidden, dtype=torch.bfloat16)
    folder.mkdir(parents=True)
    index = {}

    def save(name: str, tensors: dict[str, torch.Tensor]) -> None:
        save_file(tensors, folder / name, {"format": "pt"})
        index.update(dict.fromkeys(tensors, name))

    shapes = {
        "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (of_keys, hidden),
        "self_attn.v_proj": (of_keys, hidden), "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }  # fmt: skip
    for layer in range(layers):
        start = f"model.layers.{layer}."
        tensors = {f"{start}{name}.weight": normal(*shape) for name, shape in shapes.items()}
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{start}{norm}.weight"] = ones
        save(
            f"layer-{layer:02}.safetensors",
            {name: tensor.clone() for name, tensor in tensors.items()},
        )
    rest = {"model.embed_tokens.weight": normal(words, hidden), "model.norm.weight": ones}
    save("rest.safetensors", rest | {"lm_head.weight": normal(words, hidden)})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (folder / "config.json").write_text(json.dumps(config))


def print_tables(results: list[dict[str, Any]]) -> None:
    plain = next((result for result in results if result["weights"] == "bf16"), None)

    def with_ratio(value: float, reference: float | None, digits: int) -> str:
        return f"{value:.{digits}f}" + (f" ({reference / value:.2f})" if reference else "")

    batches = list(results[0]["step_ms"])
    print("\nMilliseconds a step, and tokens a second relative to bf16:\n")
    print_row(["weights", *batches, "first token ms"])
    print_row(["---"] * (len(batches) + 2))
    for result in results:
        steps = [
            with_ratio(result["step_ms"][batch], plain["step_ms"][batch] if plain else None, 2)
            for batch in batches
        ]
        first = with_ratio(result["first_ms"], plain["first_ms"] if plain else None, 1)
        print_row([result["weights"], *steps, first])

    print("\nMemory, and seconds to start:\n")
    columns = ["weights GiB", "of bf16", "peak GiB", "KV cache GiB", "tokens", "load s", "start s"]
    print_row(["weights", *columns, "again s", "logits", "tokens made"])
    print_row(["---"] * (len(columns) + 4))
    for result in results:
        share = f"{100 * result['weight_bytes'] / plain['weight_bytes']:.2f} %" if plain else ""
        same = [
            ("same" if result[key] == plain[key] else "differ") if plain else ""
            for key in ("logits", "tokens")
        ]
        measured = ["peak_gib", "kv_cache_gib", "kv_cache_tokens", "load_seconds", "start_seconds"]
        values = [
            f"{result[key]:.1f}" if key in result else "" for key in [*measured, "again_seconds"]
        ]
        print_row(
            [result["weights"], f"{result['weight_bytes'] / 2**30:.3f}", share, *values, *same]
        )


def print_row(cells: Iterable[object]) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |")


if __name__ == "__main__":
    main()
