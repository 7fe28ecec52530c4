"""`ClientError`, the one exception of the client."""

from __future__ import annotations

from collections.abc import Sequence

from serving.client.answers import ConflictBody, ImageReport


class ClientError(Exception):
    """The service refused or did not answer; the text is written for people to read.

    Attributes:
        status: of the refusal; None when there was no answer.
        type: the kind of problem, such as ``unknown-identity``: the end of the problem's ``type``.
            None when the answer is not from the service.
        detail: the problem's own sentence; the text of the exception may add why photos were not
            used.
        request_id: the id of the request in the service's log; None when nothing was sent.
        retry_after: seconds to wait before a retry, where the service says so.
        images: the outcome of each photo, in order, where photos were refused.
        conflicts: the conflicts for which an enrolment was refused.
        not_confirmed: a write with an unknown outcome: it may be done, partly done or not done.
            Check the gallery before you send it again.
    """

    def __init__(
        self,
        text: str,
        status: int | None = None,
        *,
        type: str | None = None,
        detail: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        images: Sequence[ImageReport] = (),
        conflicts: Sequence[ConflictBody] = (),
        not_confirmed: bool = False,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.type = type
        self.detail = text if detail is None else detail
        self.request_id = request_id
        self.retry_after = retry_after
        self.images = images
        self.conflicts = conflicts
        self.not_confirmed = not_confirmed
