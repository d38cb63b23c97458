"""Other libraries' data and policies, in and out. Nothing here is imported by ``import nlf_sb3``."""
