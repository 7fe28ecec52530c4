"""The one exception of the client."""

from __future__ import annotations

from collections.abc import Sequence

from serving.client.answers import ConflictBody, ImageReport


class ClientError(Exception):
    """The service refused, or does not answer; the text is a sentence for people.

    Attributes:
        status: of the refusal; None when nobody answered.
        type: what kind of problem it is, such as ``unknown-identity``: the end of the problem's
            ``type``. None when what answered is not the service.
        detail: the problem's own sentence; the text of the exception may add why photos were not
            used.
        request_id: what the service's log has it under; None when nothing was sent.
        retry_after: seconds to wait before asking again, where the service says so.
        images: what became of each photo, in their order, where photos were refused.
        conflicts: what speaks against an enrolment that was refused for it.
        not_confirmed: it was a write, and nobody knows whether it was carried out, or how far.
            Look whether it is there before you send it again.
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
