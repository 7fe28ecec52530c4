{{/* The arguments of the application: what the chart knows, and over it `settings`. */}}
{{- define "facenet-serving.args" -}}
{{- $gallery := dict "bucket" .Values.s3.bucket "prefix" .Values.s3.prefix "region" .Values.s3.region -}}
{{- with include "facenet-serving.s3.endpoint" . -}}
{{- $_ := set $gallery "endpoint" . -}}
{{- end -}}
{{- $derived := dict
    "triton" (dict "url" (include "facenet-serving.triton.url" .) "model" (include "facenet-serving.model" .))
    "gallery" $gallery
    "detect" (dict "threads" (include "facenet-serving.threads" .Values.stages.detect | int))
    "decode" (dict "memory_bytes" (include "facenet-serving.workMemory" .Values.stages.decode | int64))
    "match" (dict "memory_bytes" (include "facenet-serving.galleryMemory" .Values.stages.match | int64))
    "limits" (dict "body_memory_bytes" (include "facenet-serving.workMemory" .Values.stages.ingress | int64)) -}}
{{- if include "facenet-serving.vectorsDisk" . -}}
{{- $_ := set $derived.match "vectors_folder" "/var/lib/faces/vectors" -}}
{{- end -}}
{{- if .Values.auth.enabled -}}
{{- $_ := set $derived "keys" (dict "required" true "file" "/etc/faces/keys/keys.yaml") -}}
{{- end -}}
{{- if dig "events" "url" "" (.Values.settings | default dict) -}}
{{- $events := dict "key_file" "/etc/faces/events/keys" -}}
{{- if .Values.events.caBundle.configMap -}}
{{- $_ := set $events "ca_file" "/etc/faces/events-ca/ca.crt" -}}
{{- end -}}
{{- $_ := set $derived "events" $events -}}
{{- end -}}
{{ merge dict (deepCopy (.Values.settings | default dict)) $derived | toYaml }}
{{- end -}}

{{/* The serveConfigV2 document. */}}
{{- define "facenet-serving.serveConfig" -}}
{{- /* KubeRay's Service leads to every worker that is ready, so every worker with a replica needs a proxy. */}}
proxy_location: EveryNode
http_options:
  host: 0.0.0.0
  port: 8000
logging_config:
  encoding: JSON
  log_level: {{ .Values.serve.logging.level }}
  enable_access_log: {{ .Values.serve.logging.accessLog }}
  additional_log_standard_attrs: [name]
applications:
  - name: faces
    route_prefix: /
    import_path: serving.app:build
    args:
      {{- include "facenet-serving.args" . | nindent 6 }}
    {{- /* Not in `args`, of which any change restarts all replicas of all stages. */}}
    deployments:
      {{- range $stage, $values := .Values.stages }}
      - {{ include "facenet-serving.deployment" (dict "root" $ "stage" $stage "values" $values) | nindent 8 | trim }}
      {{- end }}
{{- end -}}

{{/*
How a stage scales, all of it: what the values leave out is as in `Scale` of serving/settings.py.
Takes the stage's values. No `merge`, for which a zero is nothing.
*/}}
{{- define "facenet-serving.scale" -}}
{{- $scale := dict
    "min_replicas" 1 "max_replicas" 4 "target_ongoing_requests" 2 "max_ongoing_requests" 24
    "max_queued_requests" 64 "upscale_delay_s" 10 "downscale_delay_s" 300 "num_cpus" 1 "num_gpus" 0
    "graceful_shutdown_timeout_s" 30 -}}
{{- range $key, $value := .scale -}}
{{- $_ := set $scale $key $value -}}
{{- end -}}
{{ toYaml $scale }}
{{- end -}}

{{/*
What Serve takes in place of the options in the code: (dict "root" "stage" "values"). Of
autoscaling_config and ray_actor_options it takes the whole, so no key may be missing.
*/}}
{{- define "facenet-serving.deployment" -}}
{{- $scale := include "facenet-serving.scale" .values | fromYaml -}}
name: {{ .stage }}
{{ pick $scale "max_ongoing_requests" "max_queued_requests" "graceful_shutdown_timeout_s" | toYaml }}
max_surge_percent: {{ int .root.Values.serve.maxSurgePercent }}
autoscaling_config:
  {{- pick $scale "min_replicas" "max_replicas" "target_ongoing_requests" "upscale_delay_s" "downscale_delay_s" | toYaml | nindent 2 }}
ray_actor_options:
  {{- pick $scale "num_cpus" "num_gpus" | toYaml | nindent 2 }}
  {{- /* Binds the stage to its group of pods. */}}
  resources:
    {{ .stage }}: 1
{{- end -}}

{{/*
The memory for what one replica has in work, bodies in the ingress and photos in decode: half of what the pod has
beside its object store. The other half is for the replica itself and Ray's processes. Takes the stage's values.
*/}}
{{- define "facenet-serving.workMemory" -}}
{{- $memory := include "facenet-serving.bytes" (dig "limits" "memory" "0" .resources) | int64 -}}
{{- $store := include "facenet-serving.bytes" .objectStoreMemory | int64 -}}
{{ div (sub $memory $store) (mul 2 (int .replicasPerPod)) }}
{{- end -}}

{{/*
The memory for the galleries of one matcher: of what the pod has beside its object store, Ray's processes take 512 MiB
and each replica 768 MiB for itself and for what it reads, writes and compares. Takes the stage's values.
*/}}
{{- define "facenet-serving.galleryMemory" -}}
{{- $memory := include "facenet-serving.bytes" (dig "limits" "memory" "0" .resources) | int64 -}}
{{- $store := include "facenet-serving.bytes" .objectStoreMemory | int64 -}}
{{ sub (div (sub (sub $memory $store) 536870912) (int .replicasPerPod)) 805306368 }}
{{- end -}}

{{/*
Bytes of the node's disk for the vectors of a matcher's pod, with a quarter more for what is read before others make
room; empty: they lie in memory.
*/}}
{{- define "facenet-serving.vectorsDisk" -}}
{{- $match := dig "match" dict (.Values.settings | default dict) -}}
{{- if eq (dig "vectors" "memory" $match) "disk" -}}
{{- $most := dig "vectors_bytes" 17179869184 $match | int64 -}}
{{ mul (add $most (div $most 4)) (int .Values.stages.match.replicasPerPod) }}
{{- end -}}
{{- end -}}

{{/* The resources of a stage's pod, with the disk for vectors: (list root stage resources). */}}
{{- define "facenet-serving.stageResources" -}}
{{- $resources := deepCopy (index . 2) -}}
{{- $disk := "" -}}
{{- if eq (index . 1) "match" -}}{{- $disk = include "facenet-serving.vectorsDisk" (index . 0) -}}{{- end -}}
{{- range $part := list "requests" "limits" -}}
{{- $of := get $resources $part -}}
{{- if and $disk $of (hasKey $of "ephemeral-storage") -}}
{{- $before := include "facenet-serving.bytes" (get $of "ephemeral-storage") | int64 -}}
{{- $_ := set $of "ephemeral-storage" (printf "%dKi" (div (add $before (int64 $disk) 1023) 1024)) -}}
{{- end -}}
{{- end -}}
{{ include "facenet-serving.resources" $resources }}
{{- end -}}

{{/* Threads of one replica of a stage. */}}
{{- define "facenet-serving.threads" -}}
{{- $scale := include "facenet-serving.scale" . | fromYaml -}}
{{ max 1 (floor $scale.num_cpus | int) }}
{{- end -}}

{{/*
The fewest and the most pods of a stage, as YAML. One more than all replicas need: a replica that is
replaced goes when the new one is up.
*/}}
{{- define "facenet-serving.group" -}}
{{- $each := .replicasPerPod | float64 -}}
{{- $scale := include "facenet-serving.scale" . | fromYaml -}}
{{- $min := divf $scale.min_replicas $each | ceil | int -}}
{{- $max := divf $scale.max_replicas $each | ceil | int | add 1 -}}
min: {{ .group.minReplicas | default $min }}
max: {{ .group.maxReplicas | default $max }}
{{- end -}}

{{/*
The pods of a stage that are sure to be ready. A pod without a replica has no HTTP proxy, so it is not:
neither the one that waits for a replaced replica nor those that group.minReplicas adds.
*/}}
{{- define "facenet-serving.readyPods" -}}
{{- $scale := include "facenet-serving.scale" . | fromYaml -}}
{{ divf $scale.min_replicas (float64 .replicasPerPod) | ceil | int }}
{{- end -}}

{{/* The pods of a stage that a drain must leave. Takes the stage's values. */}}
{{- define "facenet-serving.minAvailable" -}}
{{ .podDisruptionBudget.minAvailable | int | default (sub (include "facenet-serving.readyPods" . | int) 1) }}
{{- end -}}

{{/* Whether there is a Job: "true" or nothing. */}}
{{- define "facenet-serving.jobs" -}}
{{- if or .Values.maintenance.enabled .Values.model.publish.enabled .Values.minio.enabled -}}true{{- end -}}
{{- end -}}
