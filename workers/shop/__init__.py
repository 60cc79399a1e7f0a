"""The sample shop: a catalogue, shoppers who have needs, and the logs that they leave."""
