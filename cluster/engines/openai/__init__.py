"""The engine kind ``openai``: vectors from OpenAI, or from any server that speaks OpenAI's protocol."""
