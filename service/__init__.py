"""HintQ: the endpoint that takes shoppers' events and answers with search hints."""
