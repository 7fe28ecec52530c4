{{/* What a role's pods have: (list root role's-pod). The role's values are laid over those of all pods. */}}
{{- define "facenet-serving.pod" -}}
{{- $all := (index . 0).Values.pod -}}
{{- $own := index . 1 | default dict -}}
{{- $pod := dict -}}
{{- range $key, $value := $all -}}
{{- $mine := get $own $key -}}
{{- if hasPrefix "extra" $key -}}
{{- $_ := set $pod $key (concat $value ($mine | default list)) -}}
{{- else if and (kindIs "map" $value) (ne $key "affinity") -}}
{{- $_ := set $pod $key (merge dict ($mine | default dict) $value) -}}
{{- else -}}
{{- $_ := set $pod $key ($mine | default $value) -}}
{{- end -}}
{{- end -}}
{{ toYaml $pod }}
{{- end -}}

{{/* That of every container. */}}
{{- define "facenet-serving.containerSecurityContext" -}}
{{ .Values.containerSecurityContext | default dict | toYaml }}
{{- end -}}

{{/* The fields of a pod that say where and how it runs: (list root role's-pod component). */}}
{{- define "facenet-serving.scheduling" -}}
{{- $root := index . 0 -}}
{{- $pod := include "facenet-serving.pod" (list $root (index . 1)) | fromYaml -}}
{{- $component := index . 2 -}}
enableServiceLinks: false
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with $root.Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.schedulerName }}
schedulerName: {{ . }}
{{- end }}
{{- with $pod.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $pod.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.topologySpreadConstraints }}
{{- $selector := dict "labelSelector" (dict "matchLabels" (include "facenet-serving.selectorLabels" (list $root $component) | fromYaml)) }}
topologySpreadConstraints:
{{- range . }}
  - {{ merge dict . $selector | toYaml | nindent 4 | trim }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
The metadata of a pod: (list root role's-pod component). Ray's pods have no app.kubernetes.io/name of
ours: KubeRay's Services select its own.
*/}}
{{- define "facenet-serving.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $pod := include "facenet-serving.pod" (list $root (index . 1)) | fromYaml -}}
{{- $own := include "facenet-serving.selectorLabels" (list $root (index . 2)) | fromYaml -}}
{{- if not (or (eq (index . 2) "head") (hasKey $root.Values.stages (index . 2))) -}}
{{- $_ := set $own "app.kubernetes.io/name" ($root.Values.nameOverride | default $root.Chart.Name) -}}
{{- end -}}
labels:
  {{- merge $own ($pod.labels | default dict) | toYaml | nindent 2 }}
{{- with $pod.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
An environment out of several lists, each as YAML: of two of one name the later stays. A name alone is an
empty value, as Kubernetes itself writes it.
*/}}
{{- define "facenet-serving.env" -}}
{{- $names := list -}}
{{- $variables := dict -}}
{{- range . -}}
{{- range fromYamlArray . -}}
{{- $names = append $names .name -}}
{{- $_ := set $variables .name (ternary (omit . "value") . (eq (toString .value) "")) -}}
{{- end -}}
{{- end -}}
{{- range $index, $name := uniq $names }}
{{- if $index }}{{ "\n" }}{{ end -}}
- {{ get $variables $name | toYaml | nindent 2 | trim }}
{{- end -}}
{{- end -}}

{{/* A role's extraEnv: (list root role's-pod). */}}
{{- define "facenet-serving.extraEnv" -}}
{{- include "facenet-serving.extra" (append . "extraEnv") -}}
{{- end -}}

{{/*
What a role's pods have beside the chart's own, as a list in YAML or nothing: (list root role's-pod key). A
container has resources, empty ones too, as KubeRay writes it.
*/}}
{{- define "facenet-serving.extra" -}}
{{- $pod := include "facenet-serving.pod" . | fromYaml -}}
{{- $found := list -}}
{{- range (get $pod (index . 2) | default list) -}}
{{- $found = append $found (ternary (merge (dict) . (dict "resources" dict)) . (hasSuffix "Containers" (index $ 2))) -}}
{{- end -}}
{{- with $found -}}
{{- toYaml . }}
{{- end -}}
{{- end -}}

{{/* The init containers of a pod, those of the chart before the role's: (list root role's-pod own), the last as YAML. */}}
{{- define "facenet-serving.initContainers" -}}
{{- $extra := include "facenet-serving.extra" (list (index . 0) (index . 1) "extraInitContainers") -}}
{{- with concat (index . 2 | fromYamlArray) ($extra | fromYamlArray) }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The numbers of a probe. A zero is nothing, as KubeRay writes it. */}}
{{- define "facenet-serving.probe" -}}
{{- range $key, $number := . }}
{{- if $number }}
{{ $key }}: {{ int $number }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
A folder to write to, as large as the container may use of the node's disk. Takes the container's resources.
*/}}
{{- define "facenet-serving.scratch" -}}
{{- with dig "limits" "ephemeral-storage" "" . -}}
emptyDir: {sizeLimit: {{ include "facenet-serving.quantity" . }}}
{{- else -}}
emptyDir: {}
{{- end -}}
{{- end -}}

{{/*
A container that runs a command of the serving image:
(dict "root" "name" "command" "pod" "resources" "env" "volumeMounts"), the last two as YAML; and
optionally another "image".
*/}}
{{- define "facenet-serving.jobContainer" -}}
{{- $root := .root -}}
name: {{ .name }}
image: {{ .image | default (include "facenet-serving.image" $root) }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
command:
  {{- toYaml .command | nindent 2 }}
env:
  {{- include "facenet-serving.env" (list "- {name: HOME, value: /tmp}" (.env | default "") (include "facenet-serving.extraEnv" (list $root .pod))) | nindent 2 }}
resources:
  {{- include "facenet-serving.resources" .resources | nindent 2 }}
securityContext:
  {{- include "facenet-serving.containerSecurityContext" $root | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- with .volumeMounts }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with include "facenet-serving.extra" (list $root .pod "extraVolumeMounts") }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/*
The spec of a Job: (dict "root" "component" "pod" "containers" "backoffLimit" "activeDeadlineSeconds"),
and optionally "initContainers", "volumes", "account" and "stoppable": the pods may be killed at any moment.
Containers as `facenet-serving.jobContainer` takes them.
*/}}
{{- define "facenet-serving.jobSpec" -}}
backoffLimit: {{ int .backoffLimit }}
{{- if not (kindIs "invalid" .activeDeadlineSeconds) }}
activeDeadlineSeconds: {{ int .activeDeadlineSeconds }}
{{- end }}
{{- if not (kindIs "invalid" .ttlSecondsAfterFinished) }}
ttlSecondsAfterFinished: {{ int .ttlSecondsAfterFinished }}
{{- end }}
{{- if .stoppable }}
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget}]
    # Wrong usage, which stays wrong.
    - action: FailJob
      onExitCodes: {containerName: {{ (first .containers).name }}, operator: In, values: [2]}
{{- end }}
template:
  metadata:
    {{- include "facenet-serving.podMetadata" (list .root .pod .component) | nindent 4 }}
  spec:
    restartPolicy: Never
    {{- if .stoppable }}
    terminationGracePeriodSeconds: 5
    {{- end }}
    serviceAccountName: {{ include "facenet-serving.fullname" .root }}-{{ .account | default "jobs" }}
    automountServiceAccountToken: false
    {{- include "facenet-serving.scheduling" (list .root .pod .component) | nindent 4 }}
    {{- $own := list }}
    {{- range .initContainers }}
    {{- $own = append $own (include "facenet-serving.jobContainer" . | fromYaml) }}
    {{- end }}
    {{- with include "facenet-serving.initContainers" (list .root .pod ($own | toYaml)) | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    containers:
      {{- range .containers }}
      - {{ include "facenet-serving.jobContainer" . | nindent 8 | trim }}
      {{- end }}
      {{- with include "facenet-serving.extra" (list .root .pod "extraContainers") }}
      {{- . | nindent 6 }}
      {{- end }}
    volumes:
      - name: tmp
        {{- include "facenet-serving.scratch" (first .containers).resources | nindent 8 }}
      {{- with .volumes }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- with include "facenet-serving.s3.volumes" .root | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- with include "facenet-serving.extra" (list .root .pod "extraVolumes") }}
      {{- . | nindent 6 }}
      {{- end }}
{{- end -}}
