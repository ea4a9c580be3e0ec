"""Creating an upload twice makes one: what an ``Idempotency-Key`` means on a creation.

A key stands for a creation together with what was asked for, so that the same request gets the same upload for as
long as that upload lives. The same key with another request makes another upload: unlike a job, an upload costs
nothing, and a client that joins other lanes under an old key means just that.

An upload's id is a capability and not kept, so the answer is kept sealed with the key, which is not kept either.
"""

import base64
import hashlib
import json
from typing import Self

from cryptography.fernet import Fernet
from msgspec import Struct

from .store import Upload


def seal_of(secret: str, purpose: bytes) -> Fernet:
    """A seal that only who knows the secret can open; ``purpose`` has at most 16 bytes."""
    key = hashlib.blake2b(secret.encode(), digest_size=32, person=purpose).digest()
    return Fernet(base64.urlsafe_b64encode(key))


class Creation(Struct, frozen=True):
    """A creation under an idempotency key.

    Attributes:
        request: Hash of the account, the key and what was asked for.
        sealed: The id of the upload made, as only the key's owner can read it.
    """

    request: str
    sealed: bytes

    @classmethod
    def of(cls, upload: Upload, upload_id: str, key: str, concat: str) -> Self:
        """Name the creation of ``upload``, asked for with this ``Upload-Concat``."""
        asked = json.dumps([upload.account, key, upload.length, upload.metadata, concat])
        request = hashlib.blake2b(asked.encode(), digest_size=32, person=b"creation").hexdigest()
        return cls(request, seal_of(key, b"creation").encrypt(upload_id.encode()))


def unsealed(sealed: bytes, key: str) -> str:
    """The id of the upload that an earlier creation with this key made."""
    return seal_of(key, b"creation").decrypt(sealed).decode()
