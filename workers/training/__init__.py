"""Training, one stage a file: samples, tokenizer, sft, card."""
