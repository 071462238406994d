"""Tests of the engine kind ``openai``, on the simulator over TCP and on real Postgres."""
