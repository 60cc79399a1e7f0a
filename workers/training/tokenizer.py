"""The model's own tokenizer: byte-level BPE with the prompt's special tokens."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from workers.common.prompt import BOS, EOS, PAD, SEPARATOR, SPECIAL_TOKENS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def train(texts: Iterable[str], vocabulary: int) -> "PreTrainedTokenizerFast":
    """Return a tokenizer of `vocabulary` entries; a separator is always a token of its own."""
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415  (slow import)

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SEPARATOR), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrap: Callable[..., PreTrainedTokenizerFast] = PreTrainedTokenizerFast  # its constructor has no types
    return wrap(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD)
