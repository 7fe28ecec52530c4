{{/* What a schema cannot say. Every contradiction is one sentence. */}}
{{- define "facenet-serving.validate" -}}
{{- $name := include "facenet-serving.fullname" . -}}
{{- if gt (len $name) 40 -}}
{{- fail (printf "The name %q has %d characters, and more than 40 do not work: KubeRay allows 47 for the RayService, and the names that begin with it (%s-maintenance, a CronJob) have to be short, too. Set fullnameOverride." $name (len $name) $name) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "%q is no name for a RayService: lower-case letters, digits and -, beginning with a letter. Set fullnameOverride." $name) -}}
{{- end -}}
{{- if ne (toYaml $name) $name -}}
{{- fail (printf "The name %q is no text in YAML. Set another fullnameOverride." $name) -}}
{{- end -}}
{{- range $label := list "helm.sh/chart" "app.kubernetes.io/name" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/instance" "app.kubernetes.io/part-of" "app.kubernetes.io/component" -}}
{{- if hasKey ($.Values.commonLabels | default dict) $label -}}
{{- fail (printf "commonLabels: the chart sets the label %q itself; leave it out." $label) -}}
{{- end -}}
{{- end -}}
{{- $both := add (len $name) (len .Release.Namespace) | int -}}
{{- if and .Values.triton.create (gt $both 52) -}}
{{- fail (printf "The name %q and the namespace %q have %d characters together, and more than 52 do not work: KServe makes the host %s-predictor-%s of them, and a label of a host has at most 63. Set a shorter fullnameOverride." $name .Release.Namespace $both $name .Release.Namespace) -}}
{{- end -}}
{{- include "facenet-serving.validate.resources" (list "" .Values) -}}
{{- include "facenet-serving.validate.stages" . -}}
{{- include "facenet-serving.validate.bodies" . -}}
{{- include "facenet-serving.validate.photos" . -}}
{{- include "facenet-serving.validate.people" . -}}
{{- include "facenet-serving.validate.s3" . -}}
{{- include "facenet-serving.validate.auth" . -}}
{{- include "facenet-serving.validate.audit" . -}}
{{- include "facenet-serving.validate.events" . -}}
{{- include "facenet-serving.validate.batch" . -}}
{{- include "facenet-serving.validate.triton" . -}}
{{- include "facenet-serving.validate.ray" . -}}
{{- $env := dict "pod" .Values.pod "ray" .Values.ray "ray.head.pod" .Values.ray.head.pod "triton.pod" .Values.triton.pod "model.publish.pod" .Values.model.publish.pod "maintenance.pod" .Values.maintenance.pod "minio.pod" .Values.minio.pod "test.pod" .Values.test.pod -}}
{{- range $stage, $values := .Values.stages -}}
{{- $_ := set $env (printf "stages.%s.pod" $stage) $values.pod -}}
{{- end -}}
{{- range $place, $values := $env -}}
{{- $names := list -}}
{{- range (get ($values | default dict) "extraEnv" | default list) -}}
{{- if has .name $names -}}
{{- fail (printf "%s.extraEnv has %s twice, and only the last would count; take one away." $place .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- $repository := .Values.image.repository -}}
{{- if or (contains "://" $repository) (contains "@" $repository) (regexMatch ":[^/]*$" $repository) -}}
{{- fail (printf "image.repository is a name like registry.example.com:5000/facenet-serving, without https:// and without a tag or digest, which are image.tag and image.digest, not %q." $repository) -}}
{{- end -}}
{{- include "facenet-serving.validate.schedule" .Values.maintenance.schedule -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.enabled needs a host: set ingress.hosts." -}}
{{- end -}}
{{- range $place, $hosts := dict "ingress.hosts" .Values.ingress.hosts "httpRoute.hostnames" .Values.httpRoute.hostnames -}}
{{- range $hosts -}}
{{- if not (regexMatch "^([*]\\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$" .) -}}
{{- fail (printf "%s: a host is named in small letters, digits, dots and dashes, without https:// and without a port, like faces.example.com or *.example.com, not %q." $place .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled needs a Gateway: set httpRoute.parentRefs." -}}
{{- end -}}
{{- end -}}

{{/* All `resources` in a part of the values: (list path part). Kubernetes refuses a pod with a request above its limit. */}}
{{- define "facenet-serving.validate.resources" -}}
{{- $path := index . 0 -}}
{{- range $key, $value := index . 1 -}}
{{- $here := printf "%s%s" $path $key -}}
{{- if and (eq $key "resources") (kindIs "map" $value) -}}
{{- range $what, $much := $value.requests -}}
{{- $limit := dig "limits" $what $much $value -}}
{{- if gt (include "facenet-serving.thousandths" $much | int64) (include "facenet-serving.thousandths" $limit | int64) -}}
{{- fail (printf "%s.requests.%s (%v) is more than %s.limits.%s (%v); raise the limit or lower the request." $here $what $much $here $what $limit) -}}
{{- end -}}
{{- end -}}
{{- else if and (kindIs "map" $value) (not (has $here (list "global" "settings"))) -}}
{{- include "facenet-serving.validate.resources" (list (printf "%s." $here) $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "facenet-serving.validate.stages" -}}
{{- range $stage, $values := .Values.stages -}}
{{- $scale := include "facenet-serving.scale" $values | fromYaml -}}
{{- if gt (int $scale.min_replicas) (int $scale.max_replicas) -}}
{{- fail (printf "stages.%s.scale: min_replicas (%d) is more than max_replicas (%d)." $stage (int $scale.min_replicas) (int $scale.max_replicas)) -}}
{{- end -}}
{{- $group := include "facenet-serving.group" $values | fromYaml -}}
{{- if gt (int $group.min) (int $group.max) -}}
{{- fail (printf "stages.%s.group: the fewest pods (%d) are more than the most (%d)." $stage (int $group.min) (int $group.max)) -}}
{{- end -}}
{{- $each := int $values.replicasPerPod -}}
{{- if lt (mul (int $group.max) $each) (int $scale.max_replicas) -}}
{{- fail (printf "stages.%s: max_replicas (%d) do not fit into %d pods of %d replicas; raise group.maxReplicas." $stage (int $scale.max_replicas) (int $group.max) $each) -}}
{{- end -}}
{{- $ready := include "facenet-serving.readyPods" $values | int -}}
{{- if and $values.podDisruptionBudget.enabled (ge (int $values.podDisruptionBudget.minAvailable) $ready) -}}
{{- fail (printf "stages.%s.podDisruptionBudget.minAvailable (%d) must be below the pods that min_replicas need (%d), or no node could be drained." $stage (int $values.podDisruptionBudget.minAvailable) $ready) -}}
{{- end -}}
{{- $has := include "facenet-serving.cpus" $values.resources | int -}}
{{- $cpus := float64 $scale.num_cpus -}}
{{- if gt (mulf $cpus $each 1000 | ceil | int) $has -}}
{{- fail (printf "stages.%s: %d replicas of num_cpus %v need more CPU than the pod has (%dm); raise resources or lower num_cpus or replicasPerPod." $stage $each $cpus $has) -}}
{{- end -}}
{{- include "facenet-serving.validate.memory" (list (printf "stages.%s" $stage) $values) -}}
{{- $gpus := 0 -}}
{{- range $resource, $count := $values.resources.limits -}}
{{- if hasSuffix "gpu" $resource -}}{{- $gpus = int $count -}}{{- end -}}
{{- end -}}
{{- if gt (mulf $scale.num_gpus $each) (float64 $gpus) -}}
{{- fail (printf "stages.%s: %d replicas of num_gpus %v need more GPUs than resources.limits has (%d)." $stage $each $scale.num_gpus $gpus) -}}
{{- end -}}
{{- if lt (int $values.terminationGracePeriodSeconds) 30 -}}
{{- fail (printf "stages.%s.terminationGracePeriodSeconds is too short for a replica to be replaced; give it 30 or more." $stage) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The memory of a pod of Ray: (list where values). KubeRay tells Ray of a limit only. */}}
{{- define "facenet-serving.validate.memory" -}}
{{- $where := index . 0 -}}
{{- $store := (index . 1).objectStoreMemory -}}
{{- $memory := dig "limits" "memory" "" ((index . 1).resources | default dict) -}}
{{- if not $memory -}}
{{- fail (printf "%s.resources.limits needs memory: Ray would count on that of the whole node." $where) -}}
{{- end -}}
{{- if lt (include "facenet-serving.bytes" $store | int64) (int64 83886080) -}}
{{- fail (printf "%s.objectStoreMemory (%v) is too little: Ray starts with 75 MiB or more; give it 80Mi or more." $where $store) -}}
{{- end -}}
{{- if ge (include "facenet-serving.bytes" $store | int64) (include "facenet-serving.bytes" $memory | int64) -}}
{{- fail (printf "%s: objectStoreMemory (%v) is a part of the pod's memory (%v) and must leave room for the processes." $where $store $memory) -}}
{{- end -}}
{{- end -}}

{{/* The largest body, as JSON with base64 (`JSON_FACTOR` of serving/api/memory.py), has to find room. */}}
{{- define "facenet-serving.validate.bodies" -}}
{{- $ingress := .Values.stages.ingress -}}
{{- $memory := include "facenet-serving.workMemory" $ingress | int64 -}}
{{- $body := dig "limits" "max_body_bytes" 67108864 (.Values.settings | default dict) | int64 -}}
{{- if gt (mulf $body 4.4 | int64) $memory -}}
{{- fail (printf "stages.ingress: half of the memory beside the object store, %d bytes for each of %d replicas, is less than one body of settings.limits.max_body_bytes (%d) takes as JSON, 4.4 times its bytes; raise resources.limits.memory or lower objectStoreMemory, replicasPerPod or max_body_bytes." $memory (int $ingress.replicasPerPod) $body) -}}
{{- end -}}
{{- end -}}

{{/*
The largest photo has to find room, by the numbers of serving/vision/formats/memory.py: 18 bytes a pixel, 80 MiB, and
4 times the file.
*/}}
{{- define "facenet-serving.validate.photos" -}}
{{- $decode := .Values.stages.decode -}}
{{- $memory := include "facenet-serving.workMemory" $decode | int64 -}}
{{- $settings := .Values.settings | default dict -}}
{{- $pixels := dig "decode" "max_pixels" 50000000 $settings | int64 -}}
{{- $file := dig "limits" "max_image_bytes" 20971520 $settings | int64 -}}
{{- $photo := add (mul $pixels 18) 83886080 (mul $file 4) | int64 -}}
{{- if gt $photo $memory -}}
{{- fail (printf "stages.decode: half of the memory beside the object store, %d bytes for each of %d replicas, is less than one photo of settings.decode.max_pixels (%d) and settings.limits.max_image_bytes (%d) may take while it is decoded, %d bytes; raise resources.limits.memory or lower objectStoreMemory, replicasPerPod, max_pixels or max_image_bytes." $memory (int $decode.replicasPerPod) $pixels $file $photo) -}}
{{- end -}}
{{- end -}}

{{/*
The largest collection has to find room in a matcher: 1,600 bytes a person, with a name and some metadata, or 500 and
1,024 of disk for the vector of a model with 512 dimensions; and in the maintenance, which may have to fold the whole of
it: 1,200 bytes a person and 256 MiB (docs/bench-gallery.md).
*/}}
{{- define "facenet-serving.validate.people" -}}
{{- $match := .Values.stages.match -}}
{{- $settings := dig "match" dict (.Values.settings | default dict) -}}
{{- $memory := include "facenet-serving.galleryMemory" $match | int64 -}}
{{- $people := dig "max_people" 1000000 $settings | int64 -}}
{{- $disk := include "facenet-serving.vectorsDisk" . -}}
{{- $each := ternary 500 1600 (ne $disk "") -}}
{{- if gt (mul $people $each) $memory -}}
{{- fail (printf "stages.match: a collection of settings.match.max_people (%d) takes %d bytes, and each of %d replicas has %d for galleries: what is left of the pod beside the object store, 512 MiB for Ray and 768 MiB for each replica; raise resources.limits.memory or lower objectStoreMemory, replicasPerPod or max_people." $people (mul $people $each) (int $match.replicasPerPod) $memory) -}}
{{- end -}}
{{- $most := dig "vectors_bytes" 17179869184 $settings | int64 -}}
{{- if and $disk (gt (mul $people 1024) $most) -}}
{{- fail (printf "settings.match.vectors_bytes (%d) is less disk than the vectors of settings.match.max_people (%d) take, %d bytes; raise it, or lower max_people." $most $people (mul $people 1024)) -}}
{{- end -}}
{{- $job := include "facenet-serving.bytes" (dig "limits" "memory" "0" .Values.maintenance.resources) | int64 -}}
{{- $folding := add (mul $people 1200) 268435456 | int64 -}}
{{- if and .Values.maintenance.enabled (gt $job (int64 0)) (gt $folding $job) -}}
{{- fail (printf "maintenance: to fold a collection of settings.match.max_people (%d) may take %d bytes, and maintenance.resources.limits.memory is %d; raise it, or lower max_people." $people $folding $job) -}}
{{- end -}}
{{- end -}}

{{- define "facenet-serving.validate.s3" -}}
{{- $s3 := .Values.s3 -}}
{{- if and $s3.existingSecret (or $s3.accessKeyId $s3.secretAccessKey) -}}
{{- fail "Give s3.existingSecret, or s3.accessKeyId and s3.secretAccessKey, not both." -}}
{{- end -}}
{{- if ne (empty $s3.accessKeyId) (empty $s3.secretAccessKey) -}}
{{- fail "s3.accessKeyId and s3.secretAccessKey are needed together." -}}
{{- end -}}
{{- $keys := include "facenet-serving.s3.secret" . -}}
{{- if and $keys $s3.workloadIdentity -}}
{{- fail "s3.workloadIdentity means that there are no keys; take s3.existingSecret or s3.accessKeyId away." -}}
{{- end -}}
{{- if and .Values.minio.enabled $s3.endpoint -}}
{{- fail "minio.enabled brings the S3 server; take s3.endpoint away, or switch minio off." -}}
{{- end -}}
{{- if and .Values.minio.enabled (not $keys) -}}
{{- fail "minio.enabled needs keys, which become MinIO's root keys: set s3.existingSecret (a Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or s3.accessKeyId and s3.secretAccessKey." -}}
{{- end -}}
{{- $roles := .Values.serviceAccount.roles | default dict -}}
{{- $own := $s3.secrets | default dict -}}
{{- if and (not $keys) (or $own.gallery $own.jobs) -}}
{{- fail "s3.secrets take the place of s3.existingSecret for one role each; set s3.existingSecret for the others." -}}
{{- end -}}
{{- if not (or $keys $s3.workloadIdentity .Values.serviceAccount.annotations (and $roles.gallery $roles.jobs $roles.triton)) -}}
{{- fail "No keys for S3: set s3.existingSecret (a Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or s3.accessKeyId and s3.secretAccessKey; or, where the platform gives pods their keys, serviceAccount.annotations or serviceAccount.roles (IRSA) or s3.workloadIdentity=true." -}}
{{- end -}}
{{- $unread := and .Values.triton.create (not $keys) (not .Values.triton.storageSecret) (not (hasKey (include "facenet-serving.s3.role" (list . "triton") | fromYaml) "eks.amazonaws.com/role-arn")) -}}
{{- if and $unread (or $s3.endpoint $s3.caBundle.configMap) -}}
{{- fail "KServe learns s3.endpoint and s3.caBundle from a Secret, or from the ServiceAccount's annotations beside eks.amazonaws.com/role-arn only, and there is neither: set triton.storageSecret to a Secret with its annotations, or give S3 keys." -}}
{{- end -}}
{{- if and $s3.endpoint (not (regexMatch "^https?://([^/?#@:\\[\\]\\s]+|\\[[0-9a-fA-F:.]+\\])(:[0-9]{1,5})?/?$" $s3.endpoint)) -}}
{{- fail (printf "s3.endpoint is a URL like https://s3.example.com:9000, not %q." $s3.endpoint) -}}
{{- end -}}
{{- if not (regexMatch "^[A-Za-z0-9._-]+$" $s3.bucket) -}}
{{- fail (printf "s3.bucket is a name of letters, digits, dots, dashes and underscores, without s3:// and /, not %q." $s3.bucket) -}}
{{- end -}}
{{- end -}}

{{- define "facenet-serving.validate.auth" -}}
{{- with .Values.auth -}}
{{- if and .enabled (not .existingSecret) (not .keys) -}}
{{- fail "auth.enabled needs API keys. Make one: faces key new admin --scope admin --file keys.yaml; then kubectl create secret generic faces-keys --from-file=keys.yaml, and set auth.existingSecret=faces-keys. Or set auth.keys. Or, where nobody but those who may erase people reaches the service, auth.enabled=false." -}}
{{- end -}}
{{- if and .existingSecret .keys -}}
{{- fail "Give auth.existingSecret or auth.keys, not both." -}}
{{- end -}}
{{- $names := list -}}
{{- $hashes := list -}}
{{- range .keys -}}
{{- if has .name $names -}}
{{- fail (printf "auth.keys: %q is there twice, so the audit log could not tell who it was." .name) -}}
{{- end -}}
{{- if has .hash $hashes -}}
{{- fail (printf "auth.keys: the hash of %q is there under another name, too; the service would refuse both." .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- $hashes = append $hashes .hash -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "facenet-serving.validate.audit" -}}
{{- $audit := dig "audit" dict (.Values.settings | default dict) -}}
{{- if and $audit.input_hash (not .Values.audit.existingSecret) -}}
{{- fail "settings.audit.input_hash needs a secret for the hashes: set audit.existingSecret." -}}
{{- end -}}
{{- $objects := $audit.objects | default dict -}}
{{- if and (ne ($objects.lock | default "none") "none") (not (and $objects.bucket $objects.retention_days)) -}}
{{- fail "settings.audit.objects.lock needs retention_days and a bucket of its own: in the gallery's, people could not be erased." -}}
{{- end -}}
{{- $prefix := printf "%s/" ($objects.prefix | default "audit") -}}
{{- $galleries := printf "%s/" .Values.s3.prefix -}}
{{- if or (hasPrefix $prefix $galleries) (hasPrefix $galleries $prefix) -}}
{{- fail (printf "settings.audit.objects.prefix (%s) and s3.prefix (%s) have to be apart." $prefix $galleries) -}}
{{- end -}}
{{- end -}}

{{- define "facenet-serving.validate.events" -}}
{{- $events := dig "events" dict (.Values.settings | default dict) -}}
{{- if and $events.url (not .Values.events.existingSecret) -}}
{{- fail "settings.events.url needs keys for the signatures: set events.existingSecret." -}}
{{- end -}}
{{- $prefix := printf "%s/" ($events.prefix | default "events") -}}
{{- $audit := printf "%s/" (dig "audit" "objects" "prefix" "audit" (.Values.settings | default dict)) -}}
{{- range $name, $other := dict "s3.prefix" (printf "%s/" .Values.s3.prefix) "settings.audit.objects.prefix" $audit -}}
{{- if or (hasPrefix $prefix $other) (hasPrefix $other $prefix) -}}
{{- fail (printf "settings.events.prefix (%s) and %s (%s) have to be apart." $prefix $name $other) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "facenet-serving.validate.triton" -}}
{{- $triton := .Values.triton -}}
{{- if and (not $triton.create) (not $triton.url) -}}
{{- fail "triton.create=false needs the address where the model is served: set triton.url." -}}
{{- end -}}
{{- if and $triton.create $triton.url -}}
{{- fail "triton.url is the address of another Triton; set triton.create=false, or take it away." -}}
{{- end -}}
{{- if and $triton.create $triton.gpu.count (hasSuffix "-openvino" (include "facenet-serving.model" .)) -}}
{{- fail (printf "triton.gpu.count: OpenVINO computes on CPUs only; set model.name to %s." (trimSuffix "-openvino" .Values.model.name)) -}}
{{- end -}}
{{- if and $triton.create (not $triton.gpu.count) (hasSuffix "-fp16" (include "facenet-serving.model" .)) -}}
{{- fail (printf "model.name: %s is for GPUs, and slow on CPUs; set triton.gpu.count, or model.name to %s-openvino." .Values.model.name (trimSuffix "-fp16" .Values.model.name)) -}}
{{- end -}}
{{- $liveness := dig "liveness" "" (.Values.settings | default dict) | default dict -}}
{{- if and $triton.create $liveness.model (not $liveness.url) -}}
{{- fail (printf "The chart's Triton serves model.name alone: set settings.liveness.url to where %s is served." $liveness.model) -}}
{{- end -}}
{{- if not (and (dig "limits" "cpu" "" $triton.resources) (dig "limits" "memory" "" $triton.resources)) -}}
{{- fail "triton.resources.limits needs cpu and memory: KServe's runtime has limits of its own, which would stay." -}}
{{- end -}}
{{- $gpus := get ($triton.resources.limits | default dict) $triton.gpu.resource -}}
{{- if and $triton.gpu.count $gpus (ne (toString $gpus) (toString (int $triton.gpu.count))) -}}
{{- fail (printf "triton.gpu.count (%d) and triton.resources.limits of %s (%v) contradict each other; take one away." (int $triton.gpu.count) $triton.gpu.resource $gpus) -}}
{{- end -}}
{{- with $triton.autoscaling -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- fail (printf "triton.autoscaling: minReplicas (%d) is more than maxReplicas (%d)." (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- if and (eq .class "keda") (not .metrics) -}}
{{- fail "triton.autoscaling.class keda needs a metric: set triton.autoscaling.metrics." -}}
{{- end -}}
{{- if and (ne .class "keda") .metrics -}}
{{- fail (printf "triton.autoscaling.metrics are for class keda, not for %s." .class) -}}
{{- end -}}
{{- if and (eq .class "hpa") (not (dig "requests" .scaleMetric "" $triton.resources)) -}}
{{- fail (printf "triton.autoscaling scales by %s, so triton.resources.requests needs it." .scaleMetric) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "facenet-serving.validate.ray" -}}
{{- $ray := .Values.ray -}}
{{- include "facenet-serving.validate.memory" (list "ray.head" $ray.head) -}}
{{- if and $ray.gcsFaultTolerance.enabled (not $ray.gcsFaultTolerance.redisAddress) -}}
{{- fail "ray.gcsFaultTolerance.enabled needs a Redis: set ray.gcsFaultTolerance.redisAddress." -}}
{{- end -}}
{{- with $ray.gcsFaultTolerance.redisAddress -}}
{{- if not (regexMatch "^(rediss?://)?([^/?#@:\\[\\]\\s]+|\\[[0-9a-fA-F:.]+\\])(:[0-9]{1,5})?$" .) -}}
{{- fail (printf "ray.gcsFaultTolerance.redisAddress is an address like redis.redis.svc:6379 or rediss://redis.example.com:6379, not %q." .) -}}
{{- end -}}
{{- end -}}
{{- if and $ray.gcsFaultTolerance.usernameKey (not $ray.gcsFaultTolerance.existingSecret) -}}
{{- fail "ray.gcsFaultTolerance.usernameKey is a key of a Secret: set ray.gcsFaultTolerance.existingSecret." -}}
{{- end -}}
{{- with $ray.gcsFaultTolerance -}}
{{- if and .enabled .externalStorageNamespace (ne $ray.upgradeStrategy.type "None") -}}
{{- fail (printf "ray.gcsFaultTolerance.externalStorageNamespace would be the place of both clusters in an upgrade (%s), and the old one's clean-up would erase the new one's state; leave it empty, so that each cluster has its own, or set ray.upgradeStrategy.type to None." $ray.upgradeStrategy.type) -}}
{{- end -}}
{{- end -}}
{{- with $ray.tls -}}
{{- if and .enabled (eq .mode "ca") -}}
{{- if and .existingSecret .certManager.enabled -}}
{{- fail "Give ray.tls.existingSecret or ray.tls.certManager.enabled, not both." -}}
{{- end -}}
{{- if not (or .existingSecret .certManager.enabled) -}}
{{- fail "ray.tls.enabled needs a CA: set ray.tls.existingSecret or ray.tls.certManager.enabled." -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The fields of a CronJob's schedule have numbers that there are: Kubernetes would refuse the CronJob alone. */}}
{{- define "facenet-serving.validate.schedule" -}}
{{- $most := list (list "minute" 0 59) (list "hour" 0 23) (list "day" 1 31) (list "month" 1 12) (list "weekday" 0 6) -}}
{{- if not (hasPrefix "@" .) -}}
{{- $schedule := . -}}
{{- range $index, $field := splitList " " . -}}
{{- $kind := index $most $index -}}
{{- range regexFindAll "[0-9]+" (regexReplaceAll "/[0-9]+" $field "") -1 -}}
{{- if or (lt (atoi .) (int (index $kind 1))) (gt (atoi .) (int (index $kind 2))) -}}
{{- fail (printf "maintenance.schedule (%s): the %s is a number from %d to %d, not %s." $schedule (index $kind 0) (int (index $kind 1)) (int (index $kind 2)) .) -}}
{{- end -}}
{{- end -}}
{{- if regexMatch "/0+(,|$)" $field -}}
{{- fail (printf "maintenance.schedule (%s): a step is 1 or more." $schedule) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
