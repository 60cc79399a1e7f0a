"""`aigq capacity`: what a shop of a given size needs, computed from measured figures."""
