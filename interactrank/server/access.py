"""Who may do what: a token for what writes, and the names by which a server of one machine is called."""

from __future__ import annotations

import hmac
import ipaddress

from starlette.requests import Request

from interactrank.server.failures import Refusal
from interactrank.server.settings import TOKEN

__all__ = ["Access", "is_loopback"]


class Access:
    """Checks requests.

    Args:
        token: that writing needs; None without one.
        host: the address that the server listens on.
    """

    def __init__(self, token: str | None, host: str) -> None:
        self._token = None if not token else token.encode()
        self._is_local = is_loopback(host)

    def check_host(self, host: str) -> None:
        """Refuse names that a page of another site may have made lead to a server of one machine.

        Args:
            host: what the request calls the server.

        Raises:
            Refusal: the server listens on loopback, and is called by another name.
        """
        if self._is_local and not is_loopback(_without_port(host)):
            raise Refusal(
                421, "host", "this server is for its own machine; call it 127.0.0.1, or start it with --host"
            )

    def check_write(self, request: Request) -> None:
        """Refuse what writes without the token.

        Raises:
            Refusal: the token is absent or wrong; or none was set, and other machines hear the server.
        """
        if self._token is None:
            if self._is_local:
                return
            raise Refusal(403, "token", f"nothing may be written here: start the server with {TOKEN} set")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
            raise Refusal(
                401,
                "token",
                "authorization: send 'Bearer TOKEN' with the token of this server",
                headers={"WWW-Authenticate": "Bearer"},
            )


def is_loopback(host: str) -> bool:
    """Return whether only the same machine is meant.

    Example::

        >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("shop.example")
        (True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without_port(host: str) -> str:
    """Return the name of a Host header.

    Example::

        >>> _without_port("[::1]:8000"), _without_port("localhost:8000"), _without_port("localhost")
        ('::1', 'localhost', 'localhost')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
