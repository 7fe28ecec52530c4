{{/* The name of the RayService and of the InferenceService; the other names begin with it. */}}
{{- define "facenet-serving.fullname" -}}
{{- $chart := .Values.nameOverride | default .Chart.Name -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains $chart .Release.Name -}}
{{ .Release.Name }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $chart }}
{{- end -}}
{{- end -}}

{{/*
Labels that select pods of a component: (list root component). They never change, and hold no version:
a changed label would replace the pods.
*/}}
{{- define "facenet-serving.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/instance: {{ $root.Release.Name | toYaml }}
app.kubernetes.io/part-of: {{ $root.Values.nameOverride | default $root.Chart.Name | toYaml }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/*
Labels of an object: (list root component), or (list root component more). Those of the chart go before
the user's.
*/}}
{{- define "facenet-serving.labels" -}}
{{- $root := index . 0 -}}
{{- $more := dict -}}
{{- if gt (len .) 2 -}}{{- $more = index . 2 -}}{{- end -}}
{{- $own := dict
    "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_")
    "app.kubernetes.io/name" ($root.Values.nameOverride | default $root.Chart.Name)
    "app.kubernetes.io/version" $root.Chart.AppVersion
    "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{ merge $own (include "facenet-serving.selectorLabels" . | fromYaml) $more ($root.Values.commonLabels | default dict) | toYaml }}
{{- end -}}

{{/* The annotations of an object, or nothing: (list root own). Its own go before those of all objects. */}}
{{- define "facenet-serving.annotations" -}}
{{- with merge (dict) (index . 1 | default dict) ((index . 0).Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "facenet-serving.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A quantity of anything in thousandths. */}}
{{- define "facenet-serving.thousandths" -}}
{{- $quantity := toString . -}}
{{- $unit := regexFind "[A-Za-z]*$" $quantity -}}
{{- $units := dict "m" 1 "" 1e3 "k" 1e6 "M" 1e9 "G" 1e12 "T" 1e15 "Ki" 1024e3 "Mi" 1048576e3 "Gi" 1073741824e3 "Ti" 1099511627776e3 -}}
{{- if not (hasKey $units $unit) -}}
{{- fail (printf "%q is no quantity; write it like 500m, 512Mi or 2Gi." $quantity) -}}
{{- end -}}
{{ mulf (trimSuffix $unit $quantity | float64) (get $units $unit) | ceil | int64 }}
{{- end -}}

{{/* A memory quantity in bytes. */}}
{{- define "facenet-serving.bytes" -}}
{{- if hasSuffix "m" (toString .) -}}
{{- fail (printf "%q is no quantity of memory; write it like 512Mi or 2Gi." (toString .)) -}}
{{- end -}}
{{ divf (include "facenet-serving.thousandths" . | int64) 1000 | ceil | int64 }}
{{- end -}}

{{/*
A quantity as Kubernetes writes it itself: 500m for 0.5, 1Gi for 1024Mi, a string for a number. KubeRay writes
the whole RayService anew to add its finalizer; whatever then differs belongs to KubeRay, and Helm 4 refuses
to change it.
*/}}
{{- define "facenet-serving.quantity" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9.]+(e[+][0-9]+$)?" $text -}}
{{- $unit := trimPrefix $number $text -}}
{{- $units := list "m" "" "k" "M" "G" "T" "P" -}}
{{- $step := 1000 -}}
{{- if hasSuffix "i" $unit -}}{{- $units = list "" "Ki" "Mi" "Gi" "Ti" "Pi" -}}{{- $step = 1024 -}}{{- end -}}
{{- if or (not $number) (not (has $unit $units)) -}}
{{ $text }}
{{- else -}}
{{- $amount := float64 $number -}}
{{- range $smaller := $units -}}
{{- if eq $smaller $unit -}}{{- break -}}{{- end -}}
{{- $amount = mulf $amount $step -}}
{{- end -}}
{{- $amount = ceil $amount | int64 -}}
{{- range initial $units -}}
{{- if or (not $amount) (mod $amount $step) -}}{{- break -}}{{- end -}}
{{- $amount = div $amount $step -}}
{{- $units = rest $units -}}
{{- end -}}
{{ $amount }}{{ ternary (first $units) "" (ne $amount 0) }}
{{- end -}}
{{- end -}}

{{/* The resources of a container, with quantities as Kubernetes writes them. */}}
{{- define "facenet-serving.resources" -}}
{{- $written := deepCopy . -}}
{{- range $part := list "requests" "limits" -}}
{{- range $what, $much := (get $written $part | default dict) -}}
{{- $_ := set (get $written $part) $what (include "facenet-serving.quantity" $much) -}}
{{- end -}}
{{- end -}}
{{ toYaml $written }}
{{- end -}}

{{/* The CPUs of a container as Ray counts them, in thousandths: the limit, otherwise the request. */}}
{{- define "facenet-serving.cpus" -}}
{{- $limit := dig "limits" "cpu" "" . -}}
{{ include "facenet-serving.thousandths" ($limit | default (dig "requests" "cpu" 0 .)) }}
{{- end -}}

{{/* The Secret with the file of the API keys' hashes. */}}
{{- define "facenet-serving.auth.secret" -}}
{{ .Values.auth.existingSecret | default (printf "%s-keys" (include "facenet-serving.fullname" .)) }}
{{- end -}}

{{- define "facenet-serving.s3.endpoint" -}}
{{- if .Values.minio.enabled -}}
http://{{ include "facenet-serving.fullname" . }}-minio.{{ .Release.Namespace }}.svc:9000
{{- else -}}
{{ .Values.s3.endpoint | default "" }}
{{- end -}}
{{- end -}}

{{/* The Secret with the keys of S3; empty where the platform gives them. */}}
{{- define "facenet-serving.s3.secret" -}}
{{- if .Values.s3.existingSecret -}}
{{ .Values.s3.existingSecret }}
{{- else if .Values.s3.accessKeyId -}}
{{ include "facenet-serving.fullname" . }}-s3
{{- end -}}
{{- end -}}

{{/* How KServe learns about an S3 server: annotations of a Secret or of a ServiceAccount. */}}
{{- define "facenet-serving.s3.annotations" -}}
{{- $endpoint := include "facenet-serving.s3.endpoint" . -}}
{{- if $endpoint -}}
serving.kserve.io/s3-endpoint: {{ regexReplaceAll "^https?://" $endpoint "" | trimSuffix "/" | quote }}
serving.kserve.io/s3-usehttps: {{ ternary "1" "0" (hasPrefix "https://" $endpoint) | quote }}
serving.kserve.io/s3-usevirtualbucket: "0"
{{ end -}}
serving.kserve.io/s3-region: {{ .Values.s3.region | quote }}
{{- with .Values.s3.caBundle }}
{{- if .configMap }}
serving.kserve.io/s3-cabundle-configmap: {{ .configMap | quote }}
serving.kserve.io/s3-cabundle: {{ printf "/etc/ssl/custom-certs/%s" .key | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The annotations of an account that reaches S3, its own over those of all: (list root role). */}}
{{- define "facenet-serving.s3.role" -}}
{{- $account := (index . 0).Values.serviceAccount -}}
{{ merge (dict) (dig "roles" (index . 1) dict $account | default dict) ($account.annotations | default dict) | toYaml }}
{{- end -}}

{{/*
The environment of a container that reaches S3: (list root role), or (list root role secret); a role is an account of
its own, with keys of its own in the secret, or where `s3.secrets` has some. KServe knows the keys of Triton's by their usual names only.
*/}}
{{- define "facenet-serving.s3.env" -}}
{{- $root := index . 0 -}}
{{- $s3 := $root.Values.s3 -}}
{{- $own := dig "secrets" (index . 1) "" $s3 -}}
{{- if gt (len .) 2 -}}{{- $own = index . 2 | default $own -}}{{- end -}}
{{- $id := $s3.accessKeyIdKey -}}
{{- $key := $s3.secretAccessKeyKey -}}
{{- if and (eq (index . 1) "triton") $root.Values.triton.storageSecret -}}
{{- $own = $root.Values.triton.storageSecret -}}
{{- $id = "AWS_ACCESS_KEY_ID" -}}
{{- $key = "AWS_SECRET_ACCESS_KEY" -}}
{{- end -}}
{{- with $own | default (include "facenet-serving.s3.secret" $root) }}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ . | toYaml }}, key: {{ $id | toYaml }}}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ . | toYaml }}, key: {{ $key | toYaml }}}}
{{- end }}
- name: AWS_DEFAULT_REGION
  value: {{ $s3.region | quote }}
{{- if $s3.caBundle.configMap }}
- name: AWS_CA_BUNDLE
  value: /etc/s3-ca/ca.crt
{{- end }}
{{- end -}}

{{- define "facenet-serving.s3.volumes" -}}
{{- with .Values.s3.caBundle }}
{{- if .configMap }}
- name: s3-ca
  configMap:
    name: {{ .configMap | toYaml }}
    items: [{key: {{ .key }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- end -}}

{{- define "facenet-serving.s3.volumeMounts" -}}
{{- if .Values.s3.caBundle.configMap }}
- name: s3-ca
  mountPath: /etc/s3-ca
  readOnly: true
{{- end }}
{{- end -}}

{{- /* OpenVINO is faster than TorchScript, and computes on CPUs only. Both have the same gallery. */}}
{{- define "facenet-serving.model" -}}
{{- .Values.model.name | default (ternary "facenet-casia-webface" "facenet-casia-webface-openvino" (gt (int .Values.triton.gpu.count) 0)) -}}
{{- end -}}

{{- define "facenet-serving.modelUri" -}}
s3://{{ .Values.s3.bucket }}/{{ printf "%s/%s" .Values.model.prefix (include "facenet-serving.model" .) | trimPrefix "/" }}
{{- end -}}

{{- define "facenet-serving.triton.url" -}}
{{- if .Values.triton.create -}}
http://{{ include "facenet-serving.fullname" . }}-predictor.{{ .Release.Namespace }}.svc
{{- else -}}
{{ .Values.triton.url }}
{{- end -}}
{{- end -}}

{{/* The port of a URL, or that of its scheme. */}}
{{- define "facenet-serving.port" -}}
{{- $url := . -}}
{{- $port := regexFind ":[0-9]+$" (urlParse $url).host -}}
{{- if $port -}}
{{ trimPrefix ":" $port }}
{{- else -}}
{{ ternary 80 443 (hasPrefix "http://" $url) }}
{{- end -}}
{{- end -}}

{{/* Whether Ray's certificates are made in the pods: "true" or nothing. */}}
{{- define "facenet-serving.tls.ca" -}}
{{- if and .Values.ray.tls.enabled (eq .Values.ray.tls.mode "ca") -}}true{{- end -}}
{{- end -}}

{{- define "facenet-serving.tls.secret" -}}
{{ .Values.ray.tls.existingSecret | default (printf "%s-ray-ca" (include "facenet-serving.fullname" .)) }}
{{- end -}}
