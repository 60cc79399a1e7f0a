"""The model's own tokenizer: byte-level BPE with the prompt's special tokens, and known queries as tokens of their own.

A query that many searched is one token ("superwords", as in SuperBPE, arXiv 2503.13423): a list is then ten choices
among queries instead of forty among pieces of words. What a query's words say is not lost by it: see `parts` and
`workers.training.composed`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from workers.common.prompt import BOS, EOS, PAD, REASONS, SEPARATOR, SPECIAL_TOKENS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def train(texts: Iterable[str], vocabulary: int, phrases: Sequence[str] = ()) -> "PreTrainedTokenizerFast":
    """Return a tokenizer of `vocabulary` entries and the `phrases`; a separator is always a token of its own."""
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
    # What does not begin a line is never found within a word ("mid" in "midnight"). And only what comes back as it was:
    # a token of Latin-1 letters alone ("café") would be taken for bytes.
    whole = [
        AddedToken(phrase, single_word=not phrase.startswith(SEPARATOR), normalized=False)
        for phrase in phrases
        if _comes_back(phrase)
    ]
    tokenizer.add_tokens(whole)
    wrap: Callable[..., PreTrainedTokenizerFast] = PreTrainedTokenizerFast  # its constructor has no types
    return wrap(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD)


def learn_reasons(tokenizer: "PreTrainedTokenizerFast") -> None:
    """Add the token that asks for reasons, if it is not there; models without reasons have none."""
    tokenizer.add_tokens([AddedToken(REASONS, special=True)], special_tokens=True)


def _comes_back(phrase: str) -> bool:
    return decoders.ByteLevel().decode([phrase]) == phrase


def openings(tokenizer: "PreTrainedTokenizerFast") -> tuple[int, ...]:
    """Return the ids of the tokens that are a whole query with the separator before it."""
    added = tokenizer.added_tokens_decoder.items()
    return tuple(place for place, token in added if not token.special and token.content.startswith(SEPARATOR))


def parts(tokenizer: "PreTrainedTokenizerFast") -> dict[int, list[int]]:
    """Return, for each phrase that is one token, the tokens of its words: id -> ids, none of them such a phrase."""
    model = tokenizer.backend_tokenizer.model
    split = tokenizer.backend_tokenizer.pre_tokenizer
    found: dict[int, list[int]] = {}
    for place, token in tokenizer.added_tokens_decoder.items():
        if not token.special:
            pieces = split.pre_tokenize_str(token.content)
            spelled = [one.id for piece, _ in pieces for one in model.tokenize(piece)]
            if spelled != [place]:  # BPE made some words one token already
                found[place] = spelled
    return found
