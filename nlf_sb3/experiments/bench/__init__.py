"""How fast this library is beside plain Stable-Baselines3, measured in the same run: nlf-sb3 bench."""
