{{/* The arguments of the application: what the chart knows, and over it `settings`. */}}
{{- define "facenet-serving.args" -}}
{{- $scale := dict -}}
{{- range $stage, $values := .Values.stages -}}
{{- $_ := set $scale $stage (merge dict $values.scale (dict "resources" (dict $stage 1))) -}}
{{- end -}}
{{- $gallery := dict "bucket" .Values.s3.bucket "prefix" .Values.s3.prefix "region" .Values.s3.region -}}
{{- with include "facenet-serving.s3.endpoint" . -}}
{{- $_ := set $gallery "endpoint" . -}}
{{- end -}}
{{- $derived := dict
    "triton" (dict "url" (include "facenet-serving.triton.url" .) "model" .Values.model.name)
    "gallery" $gallery
    "detect" (dict "threads" (include "facenet-serving.threads" .Values.stages.detect | int))
    "scale" $scale -}}
{{ merge dict (deepCopy .Values.settings) $derived | toYaml }}
{{- end -}}

{{/* The serveConfigV2 document. */}}
{{- define "facenet-serving.serveConfig" -}}
proxy_location: {{ .Values.serve.proxyLocation }}
http_options:
  host: 0.0.0.0
  port: 8000
logging_config:
  encoding: JSON
  log_level: {{ .Values.serve.logging.level }}
  enable_access_log: {{ .Values.serve.logging.accessLog }}
applications:
  - name: faces
    route_prefix: /
    import_path: serving.app:build
    args:
      {{- include "facenet-serving.args" . | nindent 6 }}
{{- end -}}

{{/* Threads of one replica of a stage. */}}
{{- define "facenet-serving.threads" -}}
{{ max 1 (.scale.num_cpus | default 1 | floor | int) }}
{{- end -}}

{{/* The fewest and the most pods of a stage, as YAML. */}}
{{- define "facenet-serving.group" -}}
{{- $each := .replicasPerPod | float64 -}}
{{- $scale := merge dict .scale (dict "min_replicas" 1 "max_replicas" 4) -}}
{{- $min := divf $scale.min_replicas $each | ceil | int -}}
{{- $max := divf $scale.max_replicas $each | ceil | int -}}
min: {{ .group.minReplicas | default $min }}
max: {{ .group.maxReplicas | default $max }}
{{- end -}}

{{/* The pods of a stage that a drain must leave: (list root stage's-values). */}}
{{- define "facenet-serving.minAvailable" -}}
{{- $values := index . 1 -}}
{{- $group := include "facenet-serving.group" $values | fromYaml -}}
{{- $fewest := ternary $group.min $group.max (index . 0).Values.ray.autoscaler.enabled | int -}}
{{ $values.podDisruptionBudget.minAvailable | int | default (sub $fewest 1) }}
{{- end -}}

{{/* Whether there is a Job: "true" or nothing. */}}
{{- define "facenet-serving.jobs" -}}
{{- if or .Values.maintenance.enabled .Values.model.publish.enabled .Values.minio.enabled -}}true{{- end -}}
{{- end -}}
