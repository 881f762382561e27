"""Whether a server can be reached, asked before a library would wait for it for minutes."""

import threading
from concurrent.futures import Future

SECONDS = 5.0


def answers(address: str, seconds: float = SECONDS) -> bool:
    """Returns whether a server answers anything in time, also through the proxy that the environment names."""
    import requests  # the client of the library that uploads runs

    answer: Future[bool] = Future()

    def ask() -> None:
        try:
            requests.head(address, timeout=seconds)
            answer.set_result(True)
        except requests.RequestException:
            answer.set_result(False)

    threading.Thread(target=ask, daemon=True).start()  # because no time limit covers the search for the address
    try:
        return answer.result(seconds)
    except TimeoutError:
        return False
