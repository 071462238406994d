"""Finds stored provider keys and webhook secrets that ``CLUSTER_SECRET_KEY`` does not decrypt.

Only an operator can repair this.
"""

from collections.abc import Sequence

from cluster.database import translated
from cluster.doctor.ailment import Ailment, Case, Patient
from cluster.errors import Misconfigured
from cluster.secrets import SecretCipher, open_cipher, webhook_secrets
from cluster.secrets.provider_keys import undecryptable

WHAT_TO_DO = (
    "add the Fernet key that encrypted them to CLUSTER_SECRET_KEY, or set keys again with "
    "python -m cluster.secrets set, and rotate secrets of webhooks with their route rotate_secret"
)


def _cipher(patient: Patient) -> SecretCipher | None:
    try:
        return open_cipher(patient.settings.secret_key)
    except Misconfigured:
        return None  # the setting is missing or wrong, so it decrypts no key


def _keys(patient: Patient) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        cipher = _cipher(patient)
        found = undecryptable(connection, cipher) + webhook_secrets.undecryptable(connection, cipher)
    return [Case(organisation=organisation, id=named) for organisation, named in found]


def _leave(_: Patient, __: Sequence[Case]) -> None:
    """Change nothing, because a lost key cannot be computed again, and deleting the stored key would hide the
    fault.
    """


def _only_an_operator(_: Patient, __: Sequence[Case]) -> str:
    return WHAT_TO_DO


SECRETS = Ailment(
    name="undecryptable_keys",
    says="keys of organisations with remote providers, or secrets of webhooks, cannot be decrypted with "
    "CLUSTER_SECRET_KEY",
    remedy=f"changes nothing; {WHAT_TO_DO}",
    find=_keys,
    mend=_leave,
    doubt=_only_an_operator,
)
