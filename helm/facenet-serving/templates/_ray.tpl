{{/*
The environment of every container of Ray: (list root threads). GOMP_SPINCOUNT: threads that wait
spinning take the cores from those that compute.
*/}}
{{- define "facenet-serving.ray.env" -}}
{{- $root := index . 0 -}}
- name: HOME
  value: /tmp
- name: RAY_USAGE_STATS_ENABLED
  value: "0"
- name: RAY_SERVE_ENABLE_HA_PROXY
  value: "1"
- name: RAY_SERVE_THROUGHPUT_OPTIMIZED
  value: "1"
- name: RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH
  value: serving.request_id:middlewares
- name: RAY_SERVE_HAPROXY_BINARY_PATH
  value: /etc/faces/haproxy/start
# A client that keeps silent for longer is left: by default it is an hour.
- name: RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S
  value: "75"
# Headers up to 16 kB are passed on; larger ones have to fit to be refused with a problem.
- name: RAY_SERVE_HAPROXY_TUNE_BUFSIZE
  value: "32768"
# Lines of the log that Serve holds back would be lost in a crash.
- name: RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE
  value: "1"
# A reference that is pickled into a message would keep its photo for the life of the process: an error instead.
- name: RAY_allow_out_of_band_object_ref_serialization
  value: "0"
{{- if $root.Values.ray.logToStderr }}
- name: RAY_LOG_TO_STDERR
  value: "1"
- name: RAY_SERVE_LOG_TO_STDERR
  value: "1"
{{- end }}
- name: OMP_NUM_THREADS
  value: {{ index . 1 | quote }}
- name: GOMP_SPINCOUNT
  value: "3000"
{{- with include "facenet-serving.ray.tlsEnv" $root }}
{{ . }}
{{- end }}
{{- with $root.Values.ray.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* For a stage that waits for its pod's proxy: see serving/stages/proxy.py. */}}
{{- define "facenet-serving.proxy.env" -}}
- name: FACES_AWAIT_PROXY
  value: 127.0.0.1:8000
{{- end -}}

{{- define "facenet-serving.ray.tlsEnv" -}}
{{- if include "facenet-serving.tls.ca" . -}}
- name: RAY_USE_TLS
  value: "1"
- name: RAY_TLS_SERVER_CERT
  value: /etc/ray/tls/tls.crt
- name: RAY_TLS_SERVER_KEY
  value: /etc/ray/tls/tls.key
- name: RAY_TLS_CA_CERT
  value: /etc/ray/tls/ca.crt
{{- end -}}
{{- end -}}

{{/*
An init container that signs a certificate for the pod's own address. Ray checks the addresses in
certificates, and a pod's address is known only when it starts. The CA's key is mounted here alone.
*/}}
{{- define "facenet-serving.ray.tlsInit" -}}
{{- if include "facenet-serving.tls.ca" . -}}
- name: sign-certificate
  image: {{ include "facenet-serving.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command:
    - sh
    - -euc
    - |
      cd /etc/ray/tls
      openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out tls.key
      printf 'subjectAltName=IP:127.0.0.1,DNS:localhost,IP:%s,DNS:%s\nextendedKeyUsage=serverAuth,clientAuth\n' \
        "$POD_IP" "$FQ_RAY_IP" > /tmp/extensions
      openssl req -new -key tls.key -subj /CN=ray-node -out /tmp/request
      openssl x509 -req -in /tmp/request -extfile /tmp/extensions -days 3650 \
        -CA /etc/ray/ca/tls.crt -CAkey /etc/ray/ca/tls.key -set_serial "0x$(openssl rand -hex 16)" -out /tmp/leaf
      cat /tmp/leaf /etc/ray/ca/tls.crt > tls.crt
      # A CA that was signed by another one comes with that one.
      cat /etc/ray/ca/tls.crt $(find /etc/ray/ca/ -name ca.crt) > ca.crt
  # KubeRay adds FQ_RAY_IP, the name of the head's Service.
  env:
    - name: POD_IP
      valueFrom: {fieldRef: {fieldPath: status.podIP}}
  resources:
    {{- include "facenet-serving.resources" .Values.ray.tls.resources | nindent 4 }}
  securityContext:
    {{- include "facenet-serving.containerSecurityContext" . | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: ray-tls, mountPath: /etc/ray/tls}
    - {name: ray-ca, mountPath: /etc/ray/ca, readOnly: true}
{{- end -}}
{{- end -}}

{{/* Mounts of every container of Ray. */}}
{{- define "facenet-serving.ray.volumeMounts" -}}
- name: tmp
  mountPath: /tmp
- name: shared-mem
  mountPath: /dev/shm
- name: haproxy
  mountPath: /etc/faces/haproxy
  readOnly: true
{{- if include "facenet-serving.tls.ca" . }}
- name: ray-tls
  mountPath: /etc/ray/tls
  readOnly: true
{{- end }}
{{- end -}}

{{/* Volumes of every pod of Ray: (list root resources). */}}
{{- define "facenet-serving.ray.volumes" -}}
- name: tmp
  {{- include "facenet-serving.scratch" (index . 1) | nindent 2 }}
- name: shared-mem
  emptyDir:
    medium: Memory
    sizeLimit: {{ include "facenet-serving.quantity" (index . 1).limits.memory }}
- name: haproxy
  configMap:
    name: {{ include "facenet-serving.fullname" (index . 0) }}-haproxy
    defaultMode: 0555
{{- if include "facenet-serving.tls.ca" (index . 0) }}
- name: ray-tls
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
- name: ray-ca
  secret:
    secretName: {{ include "facenet-serving.tls.secret" (index . 0) }}
{{- end }}
{{- end -}}

{{/* The secret of the keyed hashes of photos, for the ingress. */}}
{{- define "facenet-serving.audit.env" -}}
{{- with .Values.audit.existingSecret }}
- name: FACES_AUDIT_KEY
  valueFrom: {secretKeyRef: {name: {{ . | toYaml }}, key: {{ $.Values.audit.key | toYaml }}}}
{{- end }}
{{- end -}}

{{/* One group of worker pods: (dict "root" "stage" "values"). */}}
{{- define "facenet-serving.ray.group" -}}
{{- $root := .root -}}
{{- $stage := .stage -}}
{{- $values := .values -}}
{{- $group := include "facenet-serving.group" $values | fromYaml -}}
{{- $s3 := has $stage (list "ingress" "match") -}}
{{- $disk := "" -}}
{{- if eq $stage "match" -}}{{- $disk = include "facenet-serving.vectorsDisk" $root -}}{{- end -}}
{{- $keys := and (eq $stage "ingress") $root.Values.auth.enabled -}}
{{- $events := and (eq $stage "ingress") (dig "events" "url" "" ($root.Values.settings | default dict)) -}}
groupName: {{ $stage }}
minReplicas: {{ ternary $group.min $group.max $root.Values.ray.autoscaler.enabled }}
maxReplicas: {{ $group.max }}
replicas: {{ ternary $group.min $group.max $root.Values.ray.autoscaler.enabled }}
# KubeRay writes it, empty too, when it adds its finalizer: without it here, the list of groups would be
# KubeRay's from then on, and Helm 4 would refuse every upgrade.
scaleStrategy: {}
rayStartParams:
  object-store-memory: {{ include "facenet-serving.bytes" $values.objectStoreMemory | quote }}
  # Each replica takes one: the stage runs in this group, and nothing else does.
  resources: {{ printf "'{\"%s\": %d}'" $stage (int $values.replicasPerPod) | quote }}
template:
  metadata:
    {{- include "facenet-serving.podMetadata" (list $root $values.pod $stage) | nindent 4 }}
  spec:
    restartPolicy: Never
    terminationGracePeriodSeconds: {{ int $values.terminationGracePeriodSeconds }}
    serviceAccountName: {{ include "facenet-serving.fullname" $root }}-{{ ternary "gallery" "stages" $s3 }}
    automountServiceAccountToken: false
    {{- include "facenet-serving.scheduling" (list $root $values.pod $stage) | nindent 4 }}
    {{- with include "facenet-serving.initContainers" (list $root $values.pod (include "facenet-serving.ray.tlsInit" $root)) | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    containers:
      - name: ray-worker
        image: {{ include "facenet-serving.image" $root }}
        imagePullPolicy: {{ $root.Values.image.pullPolicy }}
        env:
          {{- include "facenet-serving.env" (list
              (include "facenet-serving.ray.env" (list $root (include "facenet-serving.threads" $values)))
              ($s3 | ternary (include "facenet-serving.s3.env" (list $root "gallery")) "")
              (eq $stage "ingress" | ternary (include "facenet-serving.audit.env" $root) (include "facenet-serving.proxy.env" $root))
              (include "facenet-serving.extraEnv" (list $root $values.pod))) | nindent 10 }}
        ports:
          - {name: serve, containerPort: 8000}
          - {name: metrics, containerPort: 8080}
        lifecycle:
          preStop:
            exec:
              command:
                - python
                - -c
                - |
                  {{- $root.Files.Get "files/drain.py" | nindent 18 }}
                - {{ sub (int $values.terminationGracePeriodSeconds) 10 | quote }}
        {{- include "facenet-serving.ray.liveness" $root | nindent 8 }}
        readinessProbe:
          # Of the HTTP proxy: a pod without one must get no requests.
          httpGet: {path: /-/healthz, port: serve}
          {{- include "facenet-serving.probe" $root.Values.ray.readinessProbe | nindent 10 }}
        resources:
          {{- include "facenet-serving.stageResources" (list $root $stage $values.resources) | nindent 10 }}
        securityContext:
          {{- include "facenet-serving.containerSecurityContext" $root | nindent 10 }}
        volumeMounts:
          {{- include "facenet-serving.ray.volumeMounts" $root | nindent 10 }}
          {{- if $disk }}
          - name: vectors
            mountPath: /var/lib/faces/vectors
          {{- end }}
          {{- if $s3 }}
          {{- include "facenet-serving.s3.volumeMounts" $root | nindent 10 }}
          {{- end }}
          {{- if $keys }}
          # The folder: a file alone would stay as it was when the pod started.
          - name: api-keys
            mountPath: /etc/faces/keys
            readOnly: true
          {{- end }}
          {{- if $events }}
          # The folder, too.
          - name: event-keys
            mountPath: /etc/faces/events
            readOnly: true
          {{- if $root.Values.events.caBundle.configMap }}
          - name: event-ca
            mountPath: /etc/faces/events-ca
            readOnly: true
          {{- end }}
          {{- end }}
          {{- with include "facenet-serving.extra" (list $root $values.pod "extraVolumeMounts") }}
          {{- . | nindent 10 }}
          {{- end }}
      {{- with include "facenet-serving.extra" (list $root $values.pod "extraContainers") }}
      {{- . | nindent 6 }}
      {{- end }}
    volumes:
      {{- include "facenet-serving.ray.volumes" (list $root $values.resources) | nindent 6 }}
      {{- if $disk }}
      - name: vectors
        emptyDir: {sizeLimit: {{ include "facenet-serving.quantity" (printf "%dKi" (div (add (int64 $disk) 1023) 1024)) }}}
      {{- end }}
      {{- if $s3 }}
      {{- include "facenet-serving.s3.volumes" $root | nindent 6 }}
      {{- end }}
      {{- if $keys }}
      - name: api-keys
        secret:
          secretName: {{ include "facenet-serving.auth.secret" $root }}
          items: [{key: {{ $root.Values.auth.key }}, path: keys.yaml}]
      {{- end }}
      {{- if $events }}
      - name: event-keys
        secret:
          secretName: {{ $root.Values.events.existingSecret }}
          items: [{key: {{ $root.Values.events.key }}, path: keys}]
      {{- with $root.Values.events.caBundle }}
      {{- if .configMap }}
      - name: event-ca
        configMap:
          name: {{ .configMap | toYaml }}
          items: [{key: {{ .key }}, path: ca.crt}]
      {{- end }}
      {{- end }}
      {{- end }}
      {{- with include "facenet-serving.extra" (list $root $values.pod "extraVolumes") }}
      {{- . | nindent 6 }}
      {{- end }}
{{- end -}}

{{/*
The Service of the HTTP API, where values say more of it than its ports. KubeRay sets its selector, and its
ports from the pods.
*/}}
{{- define "facenet-serving.serveService" -}}
{{- $values := .Values.serveService -}}
{{- $spec := omit $values "annotations" "labels" "type" -}}
{{- range $key, $value := $spec -}}
{{- if empty $value }}{{ $_ := unset $spec $key }}{{ end -}}
{{- end -}}
{{- if or $values.annotations $values.labels $spec (ne $values.type "ClusterIP") -}}
metadata:
  name: {{ include "facenet-serving.fullname" . }}-serve-svc
  {{- with merge (dict) ($values.labels | default dict) (.Values.commonLabels | default dict) }}
  labels:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "facenet-serving.annotations" (list . $values.annotations) | trim }}{{ . | nindent 2 }}{{ end }}
spec:
  type: {{ $values.type }}
  {{- with $spec }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* The raylet, and on the head the control store. */}}
{{- define "facenet-serving.ray.liveness" -}}
livenessProbe:
  httpGet: {path: /api/healthz, port: 52365}
  {{- include "facenet-serving.probe" .Values.ray.livenessProbe | nindent 2 }}
{{- end -}}
