"""Sends requests, each on a new connection, and prints the outcome; runs in a pod.

Arguments: base URL, the file that ends it, the most seconds, then PATH=RATE or PATH=RATE@PHOTO.
RATE is a number of requests a second, however long the answers take, or xN: N clients, each of
which sends its next request when it has its answer.
Who is asked to come again does, as callers should (docs/api.md).
Prints JSON: how many requests were sent, answers by status, and of each failure when it was sent,
what it asked, how long it took and what came back.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

_PATIENCE_S = 60
_AGAIN = {429, 503}
begun: list[float] = []
answers: list[tuple[float, float, str, str]] = []
again: Counter[int] = Counter()
threads: list[threading.Thread] = []
lock = threading.Lock()
headers = {"Authorization": f"Bearer {os.environ['FACES_KEY']}"}
context = ssl.create_default_context()  # takes longer to make than a request
begin = time.monotonic()


def one(url: str, path: str, photo: bytes | None) -> None:
    sent = time.monotonic()
    with lock:
        begun.append(sent)
    method, request = "GET", dict[str, Any]()
    if photo is not None:
        method = "POST"
        request = {"content": photo, "headers": {"Content-Type": "image/jpeg"}}
    try:
        # A client of its own: threads that share one have closed each other's sockets (EBADF).
        with httpx.Client(headers=headers, timeout=_PATIENCE_S, verify=context) as client:
            answer = client.request(method, url + path, **request)
            while asked_again(answer) and time.monotonic() - sent < _PATIENCE_S:
                with lock:
                    again[answer.status_code] += 1
                time.sleep(float(answer.headers["retry-after"]))
                answer = client.request(method, url + path, **request)
        outcome = "200" if answer.status_code == 200 else f"{answer.status_code} {answer.text}"
    except httpx.TransportError as error:
        outcome = f"{type(error).__name__} {error}"
    with lock:
        answers.append((sent - begin, time.monotonic() - sent, path, outcome[:300]))


def asked_again(answer: httpx.Response) -> bool:
    return answer.status_code in _AGAIN and "retry-after" in answer.headers


def repeat(url: str, path: str, photo: bytes | None, over: threading.Event) -> None:
    while not over.is_set():
        one(url, path, photo)


def send(url: str, path: str, rate: float, photo: bytes | None, over: threading.Event) -> None:
    count = 0
    while not over.wait(max(0.0, begin + count / rate - time.monotonic())):
        thread = threading.Thread(target=one, args=(url, path, photo))
        thread.start()
        with lock:
            threads.append(thread)
        count += 1


def main() -> None:
    url, end, seconds, *kinds = sys.argv[1:]
    over = threading.Event()
    senders = []
    for kind in kinds:
        path, _, rest = kind.partition("=")
        rate, _, photo = rest.partition("@")
        body = Path(photo).read_bytes() if photo else None
        if rate.startswith("x"):
            senders += [
                threading.Thread(target=repeat, args=(url, path, body, over))
                for _ in range(int(rate[1:]))
            ]
        else:
            arguments = (url, path, float(rate), body, over)
            senders.append(threading.Thread(target=send, args=arguments))
    for sender in senders:
        sender.start()
    while not Path(end).exists() and time.monotonic() - begin < float(seconds):
        time.sleep(0.2)
    over.set()
    for thread in senders:
        thread.join()
    for thread in threads:
        thread.join(_PATIENCE_S + 5)
    took = sorted(seconds for _, seconds, _, outcome in answers if outcome == "200")
    print(
        json.dumps(
            {
                "sent": len(begun),
                "seconds": round(time.monotonic() - begin, 1),
                "answers": Counter(outcome.split()[0] for *_, outcome in answers),
                "asked_again": again,
                "median_s": round(took[len(took) // 2], 3) if took else None,
                "longest_s": round(took[-1], 3) if took else None,
                "failures": sorted(answer for answer in answers if answer[3] != "200"),
            }
        )
    )


main()
