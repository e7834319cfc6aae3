"""The load format: model folders whose shards are Unweight files."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

from .._errors import BadFile, WrongArgument
from .._folder import shards
from ._config import METHODS
from ._versions import LOGGER, warn_if_untested
from ._weights import Weights

FORMAT = "unweight"


class UnweightLoader(DefaultModelLoader):
    """Gives the model tensors that are read when it copies them: on the device of the parameter, and
    the range of rows that a tensor-parallel rank copies."""

    # The base class has it.
    enable_weights_track: Any
    _sources: list[Weights]

    def download_model(self, model_config: Any) -> None:
        shards(model_config.model)

    def _get_weights_iterator(self, source: Any) -> Generator[tuple[str, Any], None, None]:
        folder = source.model_or_path
        if source.subfolder is not None:
            raise WrongArgument(
                f"found weights in the subfolder {source.subfolder!r}, expected all of them in "
                f"{folder}; decompress the folder, and use --load-format auto"
            )
        weights = Weights(folder, LOGGER.warning)
        self._sources.append(weights)
        for name, tensor in weights:
            yield source.prefix + name, tensor

    def load_model(self, *args: Any, **kwargs: Any) -> Any:
        # Some models have weights of several folders.
        self._sources = []
        model = super().load_model(*args, **kwargs)
        read = sum(weights.decoded_bytes for weights in self._sources)
        every = sum(weights.nbytes for weights in self._sources)
        share = 100 * read / max(every, 1)
        LOGGER.info("decoded %d of %d bytes of weights (%.1f %%)", read, every, share)
        self._sources = []
        return model

    def load_weights(self, model: Any, model_config: Any) -> None:
        warn_if_untested()
        # Packing replaces parameters as they are loaded, so they are listed before.
        self._named = {name for name, _ in model.named_parameters()}
        if self.enable_weights_track is None and model_config.quantization in METHODS:
            self.enable_weights_track = True
        # For the time that vLLM prints.
        self.counter_before_loading_weights = time.perf_counter()
        super().load_weights(model, model_config)

    def track_weights_loading(self, model: Any, loaded_weights: set[str] | None) -> None:
        # vLLM's own check leaves out the layers that it may quantize. It calls this for models
        # without quantization, unless enable_weights_track says otherwise.
        loaded = self._named if loaded_weights is None else loaded_weights
        missing = sorted(self._named - loaded)
        if missing:
            raise BadFile(
                f"the folder lacks the weights of {len(missing)} of {len(self._named)} parameters "
                f"of {type(model).__name__}: {', '.join(missing[:10])}"
            )
