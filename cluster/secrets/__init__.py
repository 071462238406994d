"""Secrets: a type that never shows its value, and the keys that organisations have for remote providers.

key = find_key(pool, "acme", "openai", "OPENAI_API_KEY", secret_key=settings.secret_key)
"""

from cluster.secrets.cipher import SecretCipher, new_key, open_cipher
from cluster.secrets.provider_keys import ProviderKey, find_key
from cluster.secrets.secret import Secret

__all__ = ["ProviderKey", "Secret", "SecretCipher", "find_key", "new_key", "open_cipher"]
