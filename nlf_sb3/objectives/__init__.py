"""The terms of an update: imitation, injected episodes, interventions and auxiliary losses."""
