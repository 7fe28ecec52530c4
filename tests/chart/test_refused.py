"""Values that contradict each other are refused with a sentence that says what to do."""

from __future__ import annotations

import pytest

from tests.chart.rules import check
from tests.support.chart.helm import Helm, HelmError, Values
from tests.support.chart.objects import only
from tests.support.chart.values import VARIANTS

HASHED = {"name": "kiosk", "hash": f"sha256:{'7' * 64}", "scopes": ["identify"]}

JOB = {"name": "photos", "kind": "batch", "source": "s3://photos", "out": "s3://results/a"}
KEYED = {**JOB, "keySecret": {"name": "batch-key"}}


def jobs(*each: Values) -> Values:
    return {"batch": {"jobs": list(each)}}


# What is wrong -> (values over the defaults, what the sentence says).
REFUSED: dict[str, tuple[Values, str]] = {
    "a label that the chart sets itself": (
        {"commonLabels": {"team": "x", "app.kubernetes.io/component": "x"}},
        'the chart sets the label "app.kubernetes.io/component" itself; leave it out',
    ),
    "a name that YAML takes for a boolean": (
        {"fullnameOverride": "on"},
        'The name "on" is no text in YAML. Set another fullnameOverride',
    ),
    "a Job over buckets without an API key": (
        jobs(JOB),
        "photos needs an API key of the scope identify: set its keySecret.name",
    ),
    "a Job that enrols without an API key": (
        jobs({**JOB, "kind": "enroll"}),
        "photos needs an API key of the scope enrol:",
    ),
    "two Jobs of one name": (
        jobs(KEYED, {**KEYED, "out": "s3://results/b"}),
        '"photos" is there twice',
    ),
    "two Jobs with results in one place": (
        jobs(KEYED, {**KEYED, "name": "other", "out": "s3://results/a/"}),
        "two Jobs have the results in s3://results/a/; give each a place of its own",
    ),
    "a Job with a long name": (
        jobs({**KEYED, "name": "n" * 40}),
        "more than 63 do not work; give it a shorter name",
    ),
    "a Job with a name in capitals": (jobs({**KEYED, "name": "Photos"}), "name"),
    "a Job of another kind": (jobs({**KEYED, "kind": "migrate"}), "kind"),
    "a Job with a path for its source": (jobs({**KEYED, "source": "/photos"}), "source"),
    "a Job with the other kind's option": (
        jobs({**KEYED, "options": {"append": True}}),
        "photos is of kind batch, which has no option append; it has collection, concurrency",
    ),
    "a Job with an option that is not there": (
        jobs({**KEYED, "options": {"top-kk": 3}}),
        "top-kk",
    ),
    "a Job that takes more memory than it has": (
        jobs({**KEYED, "options": {"concurrency": 32}}),
        "photos reads up to 20971520 bytes 32 times at once, which may take 2181038080 bytes",
    ),
    "a Job that enrols photos as large as few are": (
        jobs({**KEYED, "kind": "enroll", "options": {"max-bytes": 50_000_000}}),
        "photos reads up to 83554432 bytes 4 times at once",
    ),
    "results of a Job among the galleries": (
        jobs({**KEYED, "out": "s3://faces/galleries/results"}),
        "would be among the galleries or models",
    ),
    "a Job with an S3 server without a scheme": (
        jobs({**KEYED, "s3": {"endpoint": "s3.example.com"}}),
        "the s3.endpoint of photos is a URL",
    ),
    "a Job whose account has no role": (
        {
            **jobs(KEYED),
            "s3": {"existingSecret": ""},
            "serviceAccount": {
                "roles": {
                    role: {"eks.amazonaws.com/role-arn": role}
                    for role in ("gallery", "jobs", "triton")
                }
            },
        },
        "photos has no keys for S3: set its s3.existingSecret, or serviceAccount.roles.batch",
    ),
    "a bucket with its scheme": ({"s3": {"bucket": "s3://faces"}}, "s3.bucket is a name"),
    "a bucket with a folder": ({"s3": {"bucket": "faces/a"}}, "s3.bucket is a name"),
    "a host with a scheme": (
        {"ingress": {"enabled": True, "hosts": ["https://faces.example.com"]}},
        "ingress.hosts: a host is named",
    ),
    "a host with a port": (
        {"ingress": {"enabled": True, "hosts": ["faces.example.com:8443"]}},
        "ingress.hosts: a host is named",
    ),
    "a host in capitals": (
        {"httpRoute": {"hostnames": ["Faces.example.com"]}},
        "httpRoute.hostnames: a host is named",
    ),
    "a variable twice": (
        {"triton": {"pod": {"extraEnv": [{"name": "A", "value": "1"}, {"name": "A"}]}}},
        "triton.pod.extraEnv has A twice",
    ),
    "other GPUs in the limits": (
        {"triton": {"gpu": {"count": 1}, "resources": {"limits": {"nvidia.com/gpu": 2}}}},
        "triton.gpu.count \\(1\\) and triton.resources.limits of nvidia.com/gpu \\(2\\)",
    ),
    "an image with a scheme": (
        {"image": {"repository": "https://registry.example.com/faces"}},
        "image.repository is a name",
    ),
    "an image with a tag": (
        {"image": {"repository": "registry.example.com:5000/faces:1.2"}},
        "image.repository is a name .* image.tag",
    ),
    "a minute that is none": (
        {"maintenance": {"schedule": "61 * * * *"}},
        "maintenance.schedule .*: the minute is a number from 0 to 59, not 61",
    ),
    "an hour that is none": (
        {"maintenance": {"schedule": "0 0-24/2 * * *"}},
        "the hour is a number from 0 to 23, not 24",
    ),
    "a step of nothing": ({"maintenance": {"schedule": "*/0 * * * *"}}, "a step is 1 or more"),
    "a long name": ({"fullnameOverride": "n" * 41}, "41 characters|fullnameOverride"),
    "no name": ({"fullnameOverride": "Faces_1"}, "fullnameOverride"),
    "two sources of keys": (
        {"s3": {"accessKeyId": "a", "secretAccessKey": "b"}},
        "s3.existingSecret, or s3.accessKeyId and s3.secretAccessKey, not both",
    ),
    "half a key": (
        {"s3": {"existingSecret": "", "accessKeyId": "a"}},
        "needed together",
    ),
    "keys of one role alone": (
        {"s3": {"existingSecret": "", "secrets": {"gallery": "own"}}},
        "set s3.existingSecret for the others",
    ),
    "keys and none": ({"s3": {"workloadIdentity": True}}, "s3.workloadIdentity means"),
    "no keys": ({"s3": {"existingSecret": ""}}, "No keys for S3: set s3.existingSecret"),
    "no API keys": (
        {"auth": {"existingSecret": ""}},
        "auth.enabled needs API keys. Make one: faces key new .* or auth.keys|auth.enabled=false",
    ),
    "hashes of photos without a secret": (
        {"settings": {"audit": {"input_hash": True}}},
        "input_hash needs a secret .* audit.existingSecret",
    ),
    "a lock of the audit in the gallery's bucket": (
        {"settings": {"audit": {"objects": {"lock": "governance", "retention_days": 30}}}},
        "lock needs retention_days and a bucket of its own",
    ),
    "the audit among the galleries": (
        {"settings": {"audit": {"objects": {"prefix": "galleries/audit"}}}},
        "have to be apart",
    ),
    "events without keys": (
        {"settings": {"events": {"url": "https://hooks.example.com"}}},
        "needs keys for the signatures: set events.existingSecret",
    ),
    "events among the audit": (
        {"settings": {"events": {"prefix": "audit/events"}}},
        "settings.events.prefix .* settings.audit.objects.prefix .* have to be apart",
    ),
    "the retention of a collection that cannot be": (
        {"settings": {"retention": {"collections": {"My Shop": 365}}}},
        "My Shop",
    ),
    "a retention of no day": (
        {"settings": {"retention": {"days": 0}}},
        "retention.days|retention/days",
    ),
    "two sources of API keys": (
        {"auth": {"keys": [HASHED]}},
        "auth.existingSecret or auth.keys, not both",
    ),
    "two API keys of one hash": (
        {"auth": {"existingSecret": "", "keys": [HASHED, {**HASHED, "name": "other"}]}},
        'the hash of "other" is there under another name',
    ),
    "two API keys of one name": (
        {"auth": {"existingSecret": "", "keys": [HASHED, HASHED]}},
        '"kiosk" is there twice',
    ),
    "a key in place of its hash": (
        {"auth": {"existingSecret": "", "keys": [{**HASHED, "hash": "faces_abc"}]}},
        "hash",
    ),
    "MinIO without keys": (
        {"s3": {"existingSecret": ""}, "minio": {"enabled": True}},
        "minio.enabled needs keys",
    ),
    "two S3 servers": (
        {"s3": {"endpoint": "http://s3:9000"}, "minio": {"enabled": True}},
        "take s3.endpoint away",
    ),
    "an endpoint whose port is no number": (
        {"s3": {"endpoint": "http://s3:api"}},
        "s3.endpoint is a URL like",
    ),
    "keys in the endpoint": (
        {"s3": {"endpoint": "http://key:secret@s3"}},
        "s3.endpoint is a URL like",
    ),
    "a Redis by another protocol": (
        {"ray": {"gcsFaultTolerance": {"enabled": True, "redisAddress": "http://redis:6379"}}},
        "redisAddress is an address like",
    ),
    "an endpoint without a scheme": ({"s3": {"endpoint": "s3:9000"}}, "s3.endpoint|/s3/endpoint"),
    "an S3 server that KServe would not learn of": (
        {
            "s3": {
                "existingSecret": "",
                "workloadIdentity": True,
                "endpoint": "https://s3.example.com",
            }
        },
        "KServe learns s3.endpoint and s3.caBundle .*set triton.storageSecret",
    ),
    "authorities that KServe would not learn of": (
        {
            "s3": {"existingSecret": "", "caBundle": {"configMap": "ca"}},
            "serviceAccount": {"annotations": {"example.com/role": "faces"}},
        },
        "KServe learns s3.endpoint",
    ),
    "Triton nowhere": ({"triton": {"create": False}}, "set triton.url"),
    "liveness without an address": (
        {"settings": {"liveness": {"model": "spoof"}}},
        "settings.liveness.url",
    ),
    "Triton twice": ({"triton": {"url": "http://triton:8000"}}, "triton.create=false"),
    "Triton scaled backwards": (
        {"triton": {"autoscaling": {"minReplicas": 4}}},
        r"minReplicas \(4\) is more than maxReplicas \(3\)",
    ),
    "KEDA without a metric": (
        {"triton": {"autoscaling": {"class": "keda"}}},
        "set triton.autoscaling.metrics",
    ),
    "a stage scaled backwards": (
        {"stages": {"match": {"scale": {"min_replicas": 9}}}},
        r"stages.match.scale: min_replicas \(9\) is more than max_replicas \(3\)",
    ),
    "pods scaled backwards": (
        {"stages": {"match": {"group": {"minReplicas": 9}}}},
        r"stages.match.group: the fewest pods \(9\) are more than the most",
    ),
    "replicas without pods": (
        {"stages": {"match": {"group": {"maxReplicas": 2}}}},
        r"stages.match: max_replicas \(3\) do not fit into 2 pods",
    ),
    "replicas larger than pods": (
        {"stages": {"detect": {"scale": {"num_cpus": 2.5}}}},
        "stages.detect: 1 replicas of num_cpus 2.5 need more CPU than the pod has",
    ),
    "more replicas than a pod holds": (
        {"stages": {"detect": {"replicasPerPod": 2}}},
        "stages.detect: 2 replicas of num_cpus 2 need more CPU",
    ),
    "a GPU that is not there": (
        {"stages": {"match": {"scale": {"num_gpus": 1}}}},
        "need more GPUs than resources.limits has",
    ),
    "OpenVINO on a GPU": (
        {"triton": {"gpu": {"count": 1}}, "model": {"name": "sface-openvino"}},
        r"triton\.gpu\.count: OpenVINO computes on CPUs only; set model\.name to sface\.",
    ),
    "float16 without a GPU": (
        {"model": {"name": "sface-fp16"}},
        r"sface-fp16 is for GPUs, .*; set triton\.gpu\.count, or model\.name to sface-openvino\.",
    ),
    "an object store of all memory": (
        {"stages": {"decode": {"objectStoreMemory": "3Gi"}}},
        r"objectStoreMemory \(3Gi\) is a part of the pod's memory \(3Gi\)",
    ),
    # Ray does not start with less than 75 MiB.
    "an object store that Ray refuses": (
        {"stages": {"decode": {"objectStoreMemory": "64Mi"}}},
        r"stages\.decode\.objectStoreMemory \(64Mi\) is too little: .*80Mi or more",
    ),
    "no object store": (
        {"stages": {"match": {"objectStoreMemory": 0}}},
        r"stages\.match\.objectStoreMemory \(0\) is too little",
    ),
    "an object store of the head that Ray refuses": (
        {"ray": {"head": {"objectStoreMemory": 1000}}},
        r"ray\.head\.objectStoreMemory \(1000\) is too little",
    ),
    # Kubernetes would refuse each pod.
    "a request of memory above its limit": (
        {"stages": {"match": {"resources": {"requests": {"memory": "8Gi"}}}}},
        r"stages\.match\.resources\.requests\.memory \(8Gi\) is more than "
        r"stages\.match\.resources\.limits\.memory \(3Gi\)",
    ),
    "a request of CPU above its limit": (
        {"triton": {"resources": {"limits": {"cpu": "1500m"}}}},
        r"triton\.resources\.requests\.cpu \(2\) is more than .*limits\.cpu \(1500m\)",
    ),
    "a request of disk above its limit": (
        {"ray": {"tls": {"resources": {"requests": {"ephemeral-storage": "65Mi"}}}}},
        r"ray\.tls\.resources\.requests\.ephemeral-storage \(65Mi\) is more than .*\(64Mi\)",
    ),
    "a request above its limit by its unit alone": (
        {"maintenance": {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "2G"}}}},
        r"maintenance\.resources\.requests\.memory \(2Gi\) is more than .*\(2G\)",
    ),
    "a Job's request above its limit": (
        {"minio": {"bucketJob": {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": 1}}}}},
        r"minio\.bucketJob\.resources\.requests\.cpu \(2\) is more than .*\(1\)",
    ),
    "no room for a body": (
        {"stages": {"ingress": {"objectStoreMemory": "1.6Gi"}}},
        r"stages\.ingress: half of the memory .*max_body_bytes \(67108864\) takes as JSON",
    ),
    "bodies that find no room": (
        {"settings": {"limits": {"max_body_bytes": 200 * 2**20}}},
        r"max_body_bytes \(209715200\) takes as JSON|raise resources.limits.memory",
    ),
    "more than 64 bits": ({"settings": {"decode": {"max_pixels": 10**30}}}, "max_pixels"),
    "a part of a face": ({"settings": {"limits": {"max_faces": 0.5}}}, "max_faces"),
    "memory for bodies beside the derived one": (
        {"settings": {"limits": {"body_memory_bytes": 2**30}}},
        "body_memory_bytes",
    ),
    "no room for a photo": (
        {"stages": {"decode": {"objectStoreMemory": "1.5Gi"}}},
        r"stages\.decode: half of the memory .*max_pixels \(50000000\)",
    ),
    "photos that find no room": (
        {"settings": {"decode": {"max_pixels": 10**8}}},
        r"max_pixels \(100000000\) and .*may take while it is decoded",
    ),
    "memory for photos beside the derived one": (
        {"settings": {"decode": {"memory_bytes": 2**30}}},
        "memory_bytes",
    ),
    "no room for a collection": (
        {"stages": {"match": {"objectStoreMemory": "512Mi"}}},
        r"stages\.match: a collection of settings\.match\.max_people \(1000000\) takes 1600000000",
    ),
    "a collection that finds no room": (
        {"settings": {"match": {"max_people": 1_100_000}}},
        r"max_people \(1100000\) takes .*raise resources\.limits\.memory",
    ),
    "vectors that find no room on disk": (
        {"settings": {"match": {"vectors": "disk", "vectors_bytes": 10**9}}},
        r"vectors_bytes \(1000000000\) is less disk than .*max_people \(1000000\) take, 1024000000",
    ),
    "a folder for vectors beside the derived one": (
        {"settings": {"match": {"vectors_folder": "/data"}}},
        "vectors_folder",
    ),
    "a maintenance that cannot fold a collection": (
        {"maintenance": {"resources": {"limits": {"memory": "1Gi"}}}},
        r"maintenance: to fold .*max_people \(1000000\) may take 1468435456 bytes",
    ),
    "memory for galleries beside the derived one": (
        {"settings": {"match": {"memory_bytes": 2**30}}},
        "memory_bytes",
    ),
    "memory in no unit": (
        {"stages": {"decode": {"objectStoreMemory": "1 GB"}}},
        "objectStoreMemory|1 GB",
    ),
    "a drain that never ends": (
        {"stages": {"match": {"podDisruptionBudget": {"minAvailable": 1}}}},
        "or no node could be drained",
    ),
    "a settings key that the chart derives": (
        {"settings": {"gallery": {"bucket": "other"}}},
        "bucket",
    ),
    "a setting out of its range": ({"settings": {"match": {"threshold": 2}}}, "threshold"),
    "an Ingress for nobody": ({"ingress": {"enabled": True}}, "set ingress.hosts"),
    "a route from nowhere": ({"httpRoute": {"enabled": True}}, "set httpRoute.parentRefs"),
    "a head without a limit of memory": (
        {"ray": {"head": {"resources": {"limits": None}}}},
        r"ray\.head\.resources\.limits needs memory",
    ),
    "a head that is all object store": (
        {"ray": {"head": {"objectStoreMemory": "3Gi"}}},
        r"ray\.head: objectStoreMemory",
    ),
    # KubeRay tells Ray of no request.
    "a stage with a request of memory alone": (
        {"stages": {"decode": {"resources": {"limits": None}}}},
        r"stages\.decode\.resources\.limits needs memory",
    ),
    "one place in Redis for two clusters": (
        {
            "ray": {
                "gcsFaultTolerance": {
                    "enabled": True,
                    "redisAddress": "redis:6379",
                    "externalStorageNamespace": "faces",
                }
            }
        },
        r"both clusters in an upgrade \(NewCluster\).*leave it empty",
    ),
    "no Redis": ({"ray": {"gcsFaultTolerance": {"enabled": True}}}, "redisAddress"),
    "no CA": ({"ray": {"tls": {"enabled": True}}}, "ray.tls.enabled needs a CA"),
    "two CAs": (
        {
            "ray": {
                "tls": {"enabled": True, "existingSecret": "a", "certManager": {"enabled": True}}
            }
        },
        "ray.tls.existingSecret or ray.tls.certManager.enabled, not both",
    ),
    # There would be no Service of the name that Ingress, route, test and notes have.
    "an upgrade by a Gateway of KubeRay's": (
        {"ray": {"upgradeStrategy": {"type": "NewClusterWithIncrementalUpgrade"}}},
        "/ray/upgradeStrategy/type.*'NewCluster', 'None'",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_contradiction(helm4: Helm, what: str) -> None:
    values, sentence = REFUSED[what]
    with pytest.raises(HelmError, match=sentence) as caught:
        helm4.template(values, files=[VARIANTS["defaults"]])
    assert "nil pointer" not in str(caught.value)
    assert "wrong type" not in str(caught.value)


def test_a_request_as_large_as_its_limit_and_the_least_of_object_stores(helm4: Helm) -> None:
    resources = {
        "requests": {"cpu": 2, "memory": "4096Mi"},
        "limits": {"cpu": "2000m", "memory": 4 * 2**30},
    }
    detect = {"resources": resources, "objectStoreMemory": "80Mi"}
    values = {"stages": {"detect": detect}, "commonLabels": {"resources": "requests"}}
    assert helm4.template(values, files=[VARIANTS["defaults"]])


def test_a_contradiction_is_one_for_both(helm: Helm) -> None:
    values, sentence = REFUSED["a stage scaled backwards"]
    with pytest.raises(HelmError, match=sentence):
        helm.template(values, files=[VARIANTS["defaults"]])


def test_what_the_chart_cannot_know_is_asked_for(helm: Helm) -> None:
    """Without any values: lint is content, and the installation says what is missing."""
    helm.lint()
    with pytest.raises(HelmError, match=r"No keys for S3: set s3\.existingSecret"):
        helm.template()
    with pytest.raises(HelmError, match=r"auth\.enabled needs API keys"):
        helm.template({"s3": {"existingSecret": "s3-keys"}})


def test_the_longest_name_that_is_allowed(helm4: Helm) -> None:
    objects = helm4.template({"fullnameOverride": "n" * 40}, files=[VARIANTS["everything"]])
    assert only(objects, "RayService")["metadata"]["name"] == "n" * 40


def test_a_cluster_that_is_never_replaced_may_have_a_place_of_its_own_in_redis(
    helm4: Helm,
) -> None:
    fault_tolerance = {
        "enabled": True,
        "redisAddress": "redis:6379",
        "externalStorageNamespace": "faces",
    }
    values = {
        "ray": {"gcsFaultTolerance": fault_tolerance, "upgradeStrategy": {"type": "None"}},
    }
    service = only(helm4.template(values, files=[VARIANTS["defaults"]]), "RayService")["spec"]
    options = service["rayClusterConfig"]["gcsFaultToleranceOptions"]
    assert options["externalStorageNamespace"] == "faces"


def test_a_name_and_a_namespace_that_make_a_host_too_long(helm4: Helm) -> None:
    values = {"fullnameOverride": "n" * 40}
    files = [VARIANTS["defaults"]]
    objects = helm4.template(values, files=files, namespace="m" * 12)
    assert not [fault for fault in check(objects, namespace="m" * 12) if "host" in fault]
    with pytest.raises(HelmError, match=r"53 characters together.*fullnameOverride"):
        helm4.template(values, files=files, namespace="m" * 13)
    elsewhere = {**values, "triton": {"create": False, "url": "http://triton:8000"}}
    assert helm4.template(elsewhere, files=files, namespace="m" * 13)


@pytest.mark.parametrize(
    "also",
    [
        {"triton": {"storageSecret": "for-kserve"}},
        {"triton": {"create": False, "url": "http://triton:8000"}},
        {
            "serviceAccount": {
                "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"}
            }
        },
    ],
)
def test_an_s3_server_without_keys_that_kserve_learns_of(helm4: Helm, also: Values) -> None:
    s3 = {"existingSecret": "", "workloadIdentity": True, "endpoint": "https://s3.example.com"}
    assert helm4.template({"s3": s3, **also}, files=[VARIANTS["defaults"]])


def test_an_old_kubernetes_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmError, match="kubeVersion"):
        helm.template(files=[VARIANTS["defaults"]], flags=["--kube-version", "1.29.0"])
