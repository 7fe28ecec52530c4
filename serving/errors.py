"""Errors that a caller may see: one tree of exceptions, each class with its HTTP status.

An instance is built from one sentence that says what to do. ``__init__`` takes nothing else, since
Ray pickles an exception by its ``args`` and rebuilds it from them.
"""

from __future__ import annotations


class ServingError(Exception):
    """Base of all errors that the service returns on purpose."""

    status = 500
    type = "internal"
    title = "The service made a mistake"
    retry_after: int | None = None  # seconds; sent as Retry-After


class BadRequest(ServingError):
    status = 400
    type = "bad-request"
    title = "The request cannot be read"


class InvalidInput(ServingError):
    """A file, folder or bucket given to a command, or the file of API keys, has the wrong content.

    HTTP reports it as a `BadRequest`, should one get there: clients know no other type.
    """

    status = BadRequest.status
    type = BadRequest.type
    title = BadRequest.title


class Unauthorized(ServingError):
    status = 401
    type = "unauthorized"
    title = "A valid API key is needed"


class Forbidden(ServingError):
    status = 403
    type = "forbidden"
    title = "The API key does not allow this"


class ForeignPage(ServingError):
    """See `serving.api.middleware.browsers`."""

    status = 403
    type = "foreign-page"
    title = "A page of another site may not ask this"


class UnknownHost(ServingError):
    status = 403
    type = "unknown-host"
    title = "The service does not go by this name"


class UnknownIdentity(ServingError):
    status = 404
    type = "unknown-identity"
    title = "Nobody is enrolled under this id"


class UnknownPhoto(ServingError):
    status = 404
    type = "unknown-photo"
    title = "The person has no such photo"


class UnknownPair(ServingError):
    status = 404
    type = "unknown-pair"
    title = "These two are not known to be two people"


class AuditOff(ServingError):
    """By the settings, the audit's records are in no objects that could be searched."""

    status = 404
    type = "audit-off"
    title = "The audit is not kept where it can be searched"


class UnknownModel(ServingError):
    status = 404
    type = "unknown-model"
    title = "There is no such model here"


class RequestTimeout(ServingError):
    status = 408
    type = "request-timeout"
    title = "The request did not arrive in time"


class CommitConflict(ServingError):
    """A write lost the race against other writers in all of its attempts."""

    status = 409
    type = "conflict"
    title = "Other writers were faster"
    retry_after = 1


class EnrolmentConflict(ServingError):
    """The photos contradict one another or the enrolled people; nothing was written."""

    status = 409
    type = "enrolment-conflict"
    title = "The photos contradict who is enrolled"


class AmbiguousName(ServingError):
    """Several people have the name by which one is meant; nothing was written."""

    status = 409
    type = "ambiguous-name"
    title = "Several people have this name"


class CollectionFull(ServingError):
    """The collection holds as many people as it may; nothing was written."""

    status = 409
    type = "collection-full"
    title = "The collection is full"


class RetentionEnded(ServingError):
    """The record may only be erased any more; nothing was written."""

    status = 409
    type = "retention-ended"
    title = "The retention of this person has ended"


class TooLarge(ServingError):
    status = 413
    type = "too-large"
    title = "More bytes or pixels than this service takes"


class UnsupportedImage(ServingError):
    status = 415
    type = "unsupported-image"
    title = "Not an image that this service can read"


class UnsupportedEncoding(ServingError):
    status = 415
    type = "unsupported-encoding"
    title = "The body is compressed"


class NoUsableFace(ServingError):
    status = 422
    type = "no-usable-face"
    title = "A usable face is missing"


class SeveralFaces(ServingError):
    """A photo has to show one face alone, and shows more; nothing was written."""

    status = 422
    type = "several-faces"
    title = "The photo shows more than one face"


class OtherModel(ServingError):
    status = 422
    type = "other-model"
    title = "These are embeddings of another model"


class NotUndoable(ServingError):
    """What is to be undone is in no version that is kept, or it cannot be told any more whose a
    photo was; nothing was written."""

    status = 422
    type = "not-undoable"
    title = "This cannot be undone"


class UnusableRetention(ServingError):
    """A date or a legal basis that is well written, but cannot be meant; nothing was written."""

    status = 422
    type = "unusable-retention"
    title = "This retention cannot be meant"


class TooManyRequests(ServingError):
    status = 429
    type = "too-many-requests"
    title = "The API key asks too often or too much"
    retry_after = 1


class Unavailable(ServingError):
    """A dependency (Triton, S3, a stage) is away; a retry later can help."""

    status = 503
    type = "unavailable"
    title = "A part of the service is away"
    retry_after: int | None = 2


class NotConfirmed(Unavailable):
    """A write may have been carried out or not; only reading shows which."""

    type = "not-confirmed"
    title = "Whether it was written is not known"
    retry_after = None  # clients must not send it again blindly: it may be written


class NotReadBack(Unavailable):
    type = "not-read-back"
    title = "It is written, but cannot be read back"
    retry_after = None


class Overloaded(Unavailable):
    type = "overloaded"
    title = "Too many requests at once"
    retry_after = 1


class NoRoom(Overloaded):
    """Ray's object store, or the memory for bodies, is full of what is under way; nothing was
    written."""

    type = "no-room"
    title = "No room for another photo or body"


class TimedOut(ServingError):
    status = 504
    type = "timed-out"
    title = "The answer took too long"


class GalleryError(Unavailable):
    """The gallery in the store cannot be used as it is; waiting alone does not repair it."""

    type = "gallery"
    title = "The gallery cannot be read"


class GalleryCorrupt(GalleryError):
    """An object of the gallery is missing or its bytes differ from their checksum."""

    type = "gallery-corrupt"
    title = "The gallery is damaged"


class GalleryTooNew(GalleryError):
    """A newer version of this software wrote it, in a format that this one does not know."""

    type = "gallery-too-new"
    title = "A newer version wrote this gallery"


class ModelMismatch(GalleryError):
    """The gallery holds embeddings of another model than the served one."""

    type = "model-mismatch"
    title = "The gallery belongs to another model"


class GalleryTooLarge(GalleryError):
    """The people of the gallery do not fit into the memory, or the disk, that a matcher has for
    them."""

    type = "gallery-too-large"
    title = "The gallery does not fit into a matcher"


class StoreUnfit(GalleryError):
    """The object store lacks what the gallery needs (conditional writes)."""

    type = "store-unfit"
    title = "This object store cannot hold a gallery"


# Answered with 503 too, but they do not pass by waiting.
LASTING = frozenset(
    error.type
    for error in (
        GalleryError,
        GalleryCorrupt,
        GalleryTooLarge,
        GalleryTooNew,
        ModelMismatch,
        StoreUnfit,
    )
)
