"""The application's settings: plain frozen data, given as the ``args`` of ``serveConfigV2``.

Unknown keys are refused, so a typing error in a values file is an error and not a default.
Secrets are never settings: the S3 keys come from the environment (boto3's own chain).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from serving.written import Written

# A part of URLs and of keys in the bucket.
COLLECTION_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
COLLECTION_RULE = (
    "a collection's name is up to 63 small letters, digits and dashes, with no dash at its ends"
)
CollectionName = Annotated[
    str,
    Written(COLLECTION_PATTERN, COLLECTION_RULE),
]


def is_collection(name: str) -> bool:
    """Whether a collection can have the name; `COLLECTION_RULE` says what is wrong otherwise."""
    return re.fullmatch(COLLECTION_PATTERN, name) is not None


# As browsers send it: lower case, no port.
HostName = Annotated[
    str,
    Written(
        r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
        "a host is named in small letters, digits, dots and dashes, without a port",
    ),
]

# Without its scheme a library would take the host for one, or send nothing.
Address = Annotated[
    str,
    Written(
        r"^https?://[^/?#\s]+[^?#\s]*$",
        "an address begins with http:// or https://, and has no blanks, ? or #",
    ),
]

# As S3 knows buckets, or the ARN of an access point: boto3 sends no other, and says nothing of why.
BUCKET_PATTERN = r"^([A-Za-z0-9._-]{1,255}|arn:[A-Za-z0-9:/._-]{1,255})$"
BucketName = Annotated[
    str,
    Written(
        BUCKET_PATTERN,
        "a bucket is named in letters, digits, dots, dashes and underscores, without s3:// "
        "before it and without a / behind it",
    ),
]

# A budget of bytes below this is one that was written in MiB.
LEAST_MEMORY = 2**20
# A trillion bytes, pixels or people. The chart computes with these in 64 bits.
MOST = 2**40
# The largest id of a person: a signed 64-bit number, as in the gallery's files and in /v2.
MAX_ID = 2**63 - 1
# Upper limit of faces processed in one photo, whatever a caller or the settings request.
MAX_FACES = 1000
# Photos of one request that are processed at once: leaves capacity for other requests.
PHOTOS_AT_ONCE = 4

Cosine = Annotated[float, Field(ge=-1, le=1)]

_WITH_EXPONENT = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,99})?[eE][+-]?[0-9]{1,3}")


class Settings(BaseModel):
    # Strict: `threads: "2"` and `threshold: true` are slips, not numbers. Nor is infinity a time to
    # wait for, or a share.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _with_exponent(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        # The YAML of Python and so of Ray reads 1e-3 as text, that of Helm as a number.
        try:
            return validate(value)
        except ValidationError:
            if not isinstance(value, str) or _WITH_EXPONENT.fullmatch(value) is None:
                raise
            return validate(float(value))


class Scale(Settings):
    """How many replicas one deployment has, and how much each takes on."""

    min_replicas: int = Field(1, ge=1)
    max_replicas: int = Field(4, ge=1)
    target_ongoing_requests: float = Field(2, gt=0)
    # More than one key may have in flight (`limits.key_share`): a replica takes its callers in
    # turns, and what waits at the ingress for a place in it is first come, first served.
    max_ongoing_requests: int = Field(24, ge=1)
    # When this many wait at one caller, further ones get 503 at once instead of a late answer.
    max_queued_requests: int = Field(64, ge=1)
    upscale_delay_s: float = Field(10, ge=0)
    downscale_delay_s: float = Field(300, ge=0)
    num_cpus: float = Field(1, ge=0)
    num_gpus: float = Field(0, ge=0)
    # Ray's custom resources. On Kubernetes they bind a deployment to its group of pods.
    resources: dict[str, Annotated[float, Field(gt=0)]] = {}
    graceful_shutdown_timeout_s: float = Field(30, ge=0)

    @model_validator(mode="after")
    def _bounds(self) -> Scale:
        if self.max_replicas < self.min_replicas:
            raise ValueError("max_replicas is smaller than min_replicas")
        return self


# A class for each stage with its own defaults: an entry that sets one key keeps the others.
class IngressScale(Scale):
    max_ongoing_requests: int = Field(64, ge=1)
    target_ongoing_requests: float = Field(16, gt=0)


class MatchScale(Scale):
    max_ongoing_requests: int = Field(32, ge=1)
    target_ongoing_requests: float = Field(8, gt=0)


class ScaleSettings(Settings):
    """For the one-machine stack, where nobody changes it while it runs. Serve restarts all stages
    after any change of ``args``, but not after one of the application's ``deployments``, where
    the chart says the same."""

    ingress: IngressScale = IngressScale()
    decode: Scale = Scale()
    detect: Scale = Scale()
    match: MatchScale = MatchScale()


class DecodeSettings(Settings):
    max_pixels: int = Field(50_000_000, ge=1, le=MOST)
    # A baseline JPEG is decoded at 1/2, 1/4 or 1/8 of its size, so it may be larger.
    max_jpeg_pixels: int = Field(250_000_000, ge=1, le=MOST)
    # A baseline JPEG larger than this is decoded reduced, to no less than this many pixels a side.
    reduce_above_side: int = Field(4096, ge=64)
    threads: int = Field(2, ge=1, description="photos decoded at once in one replica")
    # By estimates that `serving.vision.formats.memory` has. What takes more than an eighth of it is
    # decoded alone, beside the others. Beside it the process itself needs memory, and Ray's object
    # store, the files and the photos that are handed on.
    memory_bytes: int = Field(
        2**30, ge=LEAST_MEMORY, description="memory for the largest photo that a replica decodes"
    )


class DetectSettings(Settings):
    model: Literal["mtcnn", "yunet"] = Field(
        "mtcnn",
        description="the face detector; yunet is faster, and only for models that take aligned "
        "faces, such as sface",
    )
    threads: int = Field(2, ge=1, description="torch threads of one replica")
    # A larger photo is searched reduced to this size, and cropped at full size. The time of a
    # search is in proportion to the pixels.
    max_side: int = Field(1440, ge=64, description="photos are searched at this size, in pixels")
    # Half of it takes four times as long. docs/detection.md says which sizes can be identified.
    min_face_size: int = Field(20, ge=12, description="pixels, at the size that is searched")
    min_score: float = Field(0.9, ge=0, le=1, description="below it a detection is no face")
    # Tight crops mislead MTCNN: when it finds nothing, it searches the photo again with a border.
    second_look: bool = True
    # A photo without a face takes up to four times as long.
    turned: bool = Field(
        True, description="find faces that lie or stand upside-down, by searching the photo turned"
    )


# A folder of triton/models. On a CPU OpenVINO is faster than TorchScript. On a GPU, and in NVIDIA's
# image for arm64, it has to be facenet-casia-webface, which has the same gallery.
DEFAULT_MODEL = "facenet-casia-webface-openvino"

_InferenceUrl = Annotated[
    str,
    Written(
        r"^(https?://[^/?#\s]+[^?#\s]*|unix:/.+)$",
        "the address begins with http://, https:// or unix:/",
    ),
]


class TritonSettings(Settings):
    url: _InferenceUrl = Field(
        "http://127.0.0.1:8001",
        description="http(s)://host:port of KServe or Triton; or unix:/its/socket",
    )
    model: str = DEFAULT_MODEL
    ca_file: str | None = Field(None, description="authorities to trust, PEM; None: the system's")
    timeout_s: float = Field(10, gt=0)
    connections: int = Field(16, ge=1)


class GallerySettings(Settings):
    bucket: BucketName = "faces"
    prefix: str = "galleries"
    collection: CollectionName = Field("default", description="where a path names none")
    endpoint: Address | None = Field(
        None, description="None: AWS; otherwise the URL of the S3 server"
    )
    region: str = "us-east-1"
    ca_file: str | None = Field(
        None, description="authorities to trust, PEM; None: AWS_CA_BUNDLE or botocore's"
    )
    connect_timeout_s: float = Field(2, gt=0)
    read_timeout_s: float = Field(10, gt=0, description="between two packets of an answer")
    # After it identification goes on with the people in memory, as while the store is away.
    freshness_timeout_s: float = Field(
        1, gt=0, description="what the question for the gallery's version may take"
    )


class MatchSettings(Settings):
    threshold: Cosine | Literal["auto"] | None = Field(
        None,
        description=(
            "cosine; auto: for the gallery's size, so that fpir is kept; None: auto, and where the "
            "model's card does not allow it, the card's threshold"
        ),
    )
    fpir: float = Field(
        0.01, gt=0, lt=1, description="auto: the share of strangers that may be given a name"
    )
    verify_threshold: float | None = Field(
        None, ge=-1, le=1, description="cosine of two photos; None: the card's for verification"
    )
    # docs/accuracy.md has what both were measured on.
    ambiguous: Literal["unnamed", "nearest"] = Field(
        "unnamed",
        description="whether a face that the model cannot tell between two people has no name, or "
        "that of the nearest; the answer has both people in any case",
    )
    ambiguous_margin: float | None = Field(
        None,
        ge=0,
        le=2,
        description="cosine by which the nearest person has to exceed others, or the face is "
        "ambiguous; None: the card's",
    )
    # docs/api.md says what callers with other keys learn.
    near_misses: Literal["identify", "enrol"] = Field(
        "enrol",
        description="where keys are required: the scope of keys that learn who is nearest to a "
        "face without a name, and may lower the threshold",
    )
    threads: int = Field(2, ge=1, description="searches at once in one replica")
    store_threads: int = Field(16, ge=1, description="reads and commits at once in one replica")
    # They take seconds and memory. Further ones would wait in places that identification needs.
    long_calls: int = Field(
        2,
        ge=1,
        description="pages of likely duplicates, and as many erasures and corrections, that run or "
        "wait in one replica, where one of each runs; more are refused",
    )
    # The most recently used ones stay in memory; another one is read again when it is needed.
    galleries: int = Field(64, ge=1, description="galleries (collections) that one replica holds")
    # Beside it the process itself needs memory, and what is read, written and compared at once.
    memory_bytes: int = Field(
        1536 * 2**20,
        ge=LEAST_MEMORY,
        description="memory for the people of all galleries that it holds",
    )
    # docs/gallery-size.md has what a search then takes.
    vectors: Literal["memory", "disk"] = Field(
        "memory",
        description="where the vectors of people lie, four fifths of what they take: disk leaves "
        "it to the system how much of them is in memory",
    )
    # In a tmpfs they would take memory.
    vectors_folder: Annotated[str, Written("^/.*$", "a path that begins with a slash")] = Field(
        "/var/tmp",
        description="a folder on local disk; its files have no names, and go with the process",
    )
    vectors_bytes: int = Field(
        16 * 2**30,
        ge=LEAST_MEMORY,
        le=MOST,
        description="disk for the vectors of all galleries that one replica holds",
    )
    max_people: int = Field(
        1_000_000,
        ge=1,
        le=MOST,
        description="people in one collection; enrolments of more are refused",
    )


class QualityLimits(Settings):
    """What a face has to show. docs/quality.md has what the limits were measured on.

    A class for each use with its own defaults: an entry that sets one key keeps the others."""

    min_side: int = Field(0, ge=0, description="pixels of the face's box, its shorter side")
    min_sharpness: float = Field(
        0.0015,
        ge=0,
        description="variance of the second difference of the grey crop, over that of the crop; "
        "0: any",
    )
    min_evenness: float = Field(
        0.85,
        ge=0,
        le=1,
        description="how evenly edges are spread over rows and columns; low in a mosaic; 0: any",
    )
    min_tones: float = Field(
        3,
        ge=0,
        le=6,
        description="entropy of the grey values, bits; low in black and white; 0: any",
    )
    max_blankness: float = Field(
        0.5,
        ge=-1,
        le=1,
        description="cosine of the embedding with those of faces that show nothing; 1: any",
    )


class LookupSettings(QualityLimits):
    """Faces that are looked up or compared. A face that shows less is answered as too poor to say
    who it is. More lenient than enrolment."""


class EnrolmentSettings(QualityLimits):
    """What is enrolled, and what is not unless the caller insists (``force``). docs/enrolment.md
    has what the limits were measured on."""

    conflicts: Literal["report", "refuse"] = Field(
        "report", description="photos of somebody else, or of somebody who is enrolled already"
    )
    min_side: int = Field(20, ge=0, description="pixels of the face's box, its shorter side")
    min_sharpness: float = Field(
        0.004,
        ge=0,
        description="variance of the second difference of the grey crop, over that of the crop; "
        "0: any",
    )
    max_blankness: float = Field(
        0.45,
        ge=-1,
        le=1,
        description="cosine of the embedding with those of faces that show nothing; 1: any",
    )
    max_turn: float = Field(
        0.45, gt=0, description="the nose from the middle of the eyes, in distances of the eyes"
    )
    min_eyes: float = Field(0.2, ge=0, description="distance of the eyes, in heights of the box")


class LivenessSettings(Settings):
    """Presentation attack detection, by a model of the operator's own. See docs/liveness.md for
    what the model has to be."""

    model: str | None = Field(
        None, min_length=1, description="its name in Triton; None: faces are not checked"
    )
    url: _InferenceUrl | None = Field(
        None, description="where it is served, as triton.url; None: there"
    )
    # The accuracy of a model depends on all of these, so they are those that it was trained with.
    region: Literal["square", "box"] = Field(
        "square",
        description="what is cut around a face: a square over the longer side of its box, or a "
        "region in the proportions of the box",
    )
    scale: float = Field(
        2.7, ge=1, le=10, description="sides of the region, in sides of the face's box"
    )
    channels: Literal["RGB", "BGR"] = Field("RGB", description="order of the colours in its input")
    # Not strict, since YAML has lists, and no tuples.
    mean: Annotated[tuple[float, ...], Field(strict=False, min_length=3, max_length=3)] = Field(
        (0.0, 0.0, 0.0),
        description="what is subtracted from the pixels, 0 to 255, one for each of the channels in "
        "their order",
    )
    std: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...], Field(strict=False, min_length=3, max_length=3)
    ] = Field((255.0, 255.0, 255.0), description="what they are divided by then")
    output: str | None = Field(
        None, min_length=1, description="the output that is read; None: the only one"
    )
    activation: Literal["none", "softmax", "sigmoid"] = Field(
        "softmax",
        description="what makes probabilities of the output; none: it holds probabilities",
    )
    index: int = Field(1, ge=0, description="the place that counts in the output of a face, from 0")
    index_is: Literal["live", "attack"] = Field(
        "live", description="whose probability is in that place"
    )
    threshold: float = Field(
        0.5, ge=0, le=1, description="probability of live from which on a face counts as live"
    )
    batch: int = Field(8, ge=1, le=64, description="faces in one inference, at most")
    enrolment: bool = Field(
        True, description="check photos that are enrolled, too; false: look-ups alone"
    )


# A century, as for an ``expires_at``.
_Days = Annotated[int, Field(ge=1, le=36_500)]


class RetentionSettings(Settings):
    """How long a person is kept who is enrolled without an ``expires_at``; see docs/gallery.md."""

    days: _Days | None = Field(
        None,
        description="from the enrolment on, where ``collections`` names no other; None: no end",
    )
    collections: dict[CollectionName, _Days | None] = Field(
        {},
        description="days by the name of the collection; None: no end",
        json_schema_extra={"additionalProperties": False},
    )

    def days_in(self, collection: str) -> int | None:
        """Those of one collection."""
        return self.collections.get(collection, self.days)


class KeySettings(Settings):
    """API keys; see `serving.keys` for the file. The keys themselves are nowhere but with their
    callers."""

    required: bool = False
    file: str | None = Field(None, description="None: the environment's FACES_KEYS")


class TracingSettings(Settings):
    endpoint: Address | None = Field(
        None, description="OTLP/HTTP collector, as http://host:4318; None: no traces"
    )
    # Share of the requests whose caller has not decided it by a traceparent.
    sample_ratio: float = Field(0.1, ge=0, le=1)


class AuditObjectSettings(Settings):
    """The audit's records as objects in S3; see docs/audit.md."""

    enabled: bool = Field(False, description="write each record to append-only objects, too")
    bucket: BucketName | None = Field(
        None, description="of the records; None: the gallery's, where there is no Object Lock"
    )
    # In the gallery's bucket, too: there are the ids of the people that the records are about.
    prefix: Annotated[
        str,
        Written(
            r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$",
            "a prefix is letters, digits, dots, dashes and underscores, with / between its parts",
        ),
    ] = "audit"
    lock: Literal["none", "governance", "compliance"] = Field(
        "none", description="Object Lock of each record's object, for retention_days"
    )
    retention_days: int | None = Field(
        None, ge=1, description="records older than this are removed; None: never"
    )
    flush_s: float = Field(10, gt=0, description="what a record waits for others of its object")
    buffer_bytes: int = Field(
        16 * 2**20, ge=2**16, description="memory for the records that are not written yet"
    )
    when_full: Literal["refuse", "lose"] = Field(
        "refuse",
        description="while the store is away and the memory is full: answer 503, or go on and "
        "count the records that are lost",
    )

    @model_validator(mode="after")
    def _lockable(self) -> AuditObjectSettings:
        if self.lock != "none" and (self.retention_days is None or self.bucket is None):
            raise ValueError(
                "a lock needs retention_days and a bucket of its own: in the gallery's, people "
                "could not be erased"
            )
        return self


class AuditSettings(Settings):
    """The audit log has every change and every refusal; see docs/audit.md."""

    identifications: bool = Field(
        False,
        description="also a record for each identification and verification, with the ids and "
        "similarities of the answer",
    )
    # The key of the hash is no setting: the environment's FACES_AUDIT_KEY.
    input_hash: bool = Field(
        False, description="with a keyed hash of each photo that was looked up (HMAC-SHA256)"
    )
    objects: AuditObjectSettings = AuditObjectSettings()


# Plain HTTP would show who was seen to everybody on the way.
WebhookUrl = Annotated[
    str,
    Written(
        r"^(https://[^/?#@\s]+|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?)(/[^#\s]*)?$",
        "the URL of a webhook begins with https://, or with http:// on this machine, and has no "
        "user and no #",
    ),
]

EventKind = Literal["enrolled", "changed", "deleted", "erased", "identified", "unknown"]


class EventSettings(Settings):
    """Events for a webhook; see docs/events.md."""

    url: WebhookUrl | None = Field(
        None, description="where events are delivered, by HTTPS; None: there are no events"
    )
    key_file: str | None = Field(
        None, description="the keys of the signatures, one a line; the first one is the newest"
    )
    ca_file: str | None = Field(None, description="authorities to trust, PEM; None: the system's")
    # Not strict, since YAML has lists, and no tuples.
    kinds: Annotated[tuple[EventKind, ...], Field(strict=False, min_length=1)] = Field(
        ("enrolled", "changed", "deleted", "erased"),
        description="which events; identified and unknown are those of look-ups",
    )
    collections: Annotated[tuple[CollectionName, ...], Field(strict=False)] | None = Field(
        None, description="the collections that events are about; None: all"
    )
    prefix: Annotated[
        str,
        Written(
            r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$",
            "a prefix is letters, digits, dots, dashes and underscores, with / between its parts",
        ),
    ] = Field("events", description="of the queue, in the gallery's bucket")
    timeout_s: float = Field(10, gt=0, le=60, description="what one delivery may take")
    pause_s: float = Field(
        1, gt=0, description="after a first failure; doubled with each, less up to a half of it"
    )
    max_pause_s: float = Field(300, gt=0, description="the longest pause between two tries")
    max_age_s: float = Field(
        259_200, gt=0, description="an event that is older is given up after its next failure"
    )
    poll_s: float = Field(1, gt=0, description="how often changes of the galleries are looked for")
    flush_s: float = Field(
        0.5, ge=0, description="what an event of a look-up waits for others before it is written"
    )
    before_answer: bool = Field(
        False, description="a look-up is answered only when its events are written"
    )
    buffer_events: int = Field(
        10_000, ge=1, description="events of look-ups in memory while the store is away"
    )

    @model_validator(mode="after")
    def _signed(self) -> EventSettings:
        if self.url is not None and self.key_file is None:
            raise ValueError("events.url needs events.key_file: events are signed")
        return self


class LimitSettings(Settings):
    max_body_bytes: int = Field(64 * 2**20, ge=1, le=MOST)
    # Bodies and what they become, by estimates that `serving.api.memory` has. Beside it the process
    # itself needs memory, and Ray's object store.
    body_memory_bytes: int = Field(
        2**30, ge=1, description="memory for the bodies in flight in one ingress replica"
    )
    max_image_bytes: int = Field(20 * 2**20, ge=1, le=MOST)
    max_images: int = Field(100, ge=1, description="photos in one enrolment")
    max_photos: int = Field(32, ge=1, description="photos in one request of /v2")
    # Each takes as long as a small photo: one with a thousand would hold up everybody.
    max_faces: int = Field(
        100, ge=1, le=MAX_FACES, description="faces that are looked at in one photo, the largest"
    )
    # Below the ingress's max_ongoing_requests: above that Serve refuses without an explanation.
    max_in_flight: int = Field(48, ge=1, description="requests at once in one ingress replica")
    # So that what is accepted is answered soon when more comes than can be served; the rest is
    # refused at once. docs/overload.md has what it does.
    max_wait: float = Field(
        1,
        ge=0,
        description="how long a photo may wait for its turns, in times of the work on it, before "
        "further look-ups of its caller are refused; 0: any",
    )
    # So that no caller takes all places: one that does is refused, and the others are served.
    key_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="part of max_in_flight that one key may take; and, where keys are required, "
        "as many more for all callers without one",
    )
    timeout_s: float = Field(60, gt=0, description="a whole request")
    # A body that drips in holds its place until timeout_s.
    min_upload_rate: float = Field(
        4096, ge=0, description="bytes a second of a body that is waited for; 0: any"
    )
    upload_grace_s: float = Field(
        5, ge=0, description="seconds that a body may take whatever its size"
    )


class AppArgs(Settings):
    triton: TritonSettings = TritonSettings()
    gallery: GallerySettings = GallerySettings()
    decode: DecodeSettings = DecodeSettings()
    detect: DetectSettings = DetectSettings()
    match: MatchSettings = MatchSettings()
    lookup: LookupSettings = LookupSettings()
    enrolment: EnrolmentSettings = EnrolmentSettings()
    liveness: LivenessSettings = LivenessSettings()
    retention: RetentionSettings = RetentionSettings()
    keys: KeySettings = KeySettings()
    limits: LimitSettings = LimitSettings()
    audit: AuditSettings = AuditSettings()
    events: EventSettings = EventSettings()
    tracing: TracingSettings = TracingSettings()
    console: bool = Field(True, description="serve the page for people at /")
    compreface: bool = Field(
        False,
        description="serve the routes of CompreFace's recognition, detection and verification "
        "services below /api/v1, for its clients; docs/compreface.md",
    )
    docs: bool = Field(True, description="serve the API's description to try in a browser at /docs")
    # Not strict, since YAML has lists, and no tuples.
    hosts: Annotated[tuple[HostName, ...], Field(strict=False)] | None = Field(
        None, description="names that the service is called by, besides addresses; None: any"
    )
    scale: ScaleSettings = ScaleSettings()

    @model_validator(mode="after")
    def _apart(self) -> AppArgs:
        audit, galleries = f"{self.audit.objects.prefix}/", f"{self.gallery.prefix}/"
        if audit.startswith(galleries) or galleries.startswith(audit):
            raise ValueError("audit.objects.prefix and gallery.prefix have to be apart")
        events = f"{self.events.prefix}/"
        for name, other in (("gallery.prefix", galleries), ("audit.objects.prefix", audit)):
            if events.startswith(other) or other.startswith(events):
                raise ValueError(f"events.prefix and {name} have to be apart")
        return self
