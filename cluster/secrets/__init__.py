"""Hold secrets in a type that never shows their values, and store the keys and secrets of organisations.

key = find_key(pool, "acme", "openai", "OPENAI_API_KEY", secret_key=settings.secret_key)
"""

from cluster.secrets.cipher import SecretCipher, new_key, open_cipher
from cluster.secrets.provider_keys import ProviderKey, find_key
from cluster.secrets.secret import Secret

__all__ = ["ProviderKey", "Secret", "SecretCipher", "find_key", "new_key", "open_cipher"]
