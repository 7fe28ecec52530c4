{{/*
An egress rule: (dict "ports" (list …) "protocols" (list …) "to" peers), by default of TCP and to any pod and any
address. Not among those are link-local addresses, where the cloud's metadata with the node's keys is.
*/}}
{{- define "facenet-serving.networkPolicy.egress" -}}
{{- $anywhere := list
    (dict "namespaceSelector" dict)
    (dict "ipBlock" (dict "cidr" "0.0.0.0/0" "except" (list "169.254.0.0/16")))
    (dict "ipBlock" (dict "cidr" "::/0" "except" (list "fe80::/10" "fd00:ec2::/32" "fd20:ce::/32"))) -}}
{{- $protocols := .protocols | default (list "TCP") -}}
- ports:
  {{- range $port := .ports }}
  {{- range $protocols }}
    - {port: {{ int $port }}, protocol: {{ . }}}
  {{- end }}
  {{- end }}
  to:
    {{- toYaml (.to | default $anywhere) | nindent 4 }}
{{- end -}}

{{- define "facenet-serving.networkPolicy.dns" -}}
{{- with .Values.networkPolicy -}}
{{ include "facenet-serving.networkPolicy.egress" (dict "ports" .dnsPorts "protocols" (list "UDP" "TCP") "to" .dnsTo) }}
{{- end -}}
{{- end -}}

{{/*
The way to S3 and, where the platform gives the keys, to them: IRSA's come from AWS by HTTPS, those of EKS
Pod Identity from an agent on the node.
*/}}
{{- define "facenet-serving.networkPolicy.s3" -}}
{{- if .Values.minio.enabled -}}
- to:
    - podSelector:
        matchLabels:
          {{- include "facenet-serving.selectorLabels" (list . "minio") | nindent 10 }}
  ports:
    - {port: 9000, protocol: TCP}
{{- else -}}
{{- $port := include "facenet-serving.port" (.Values.s3.endpoint | default "https://s3") -}}
{{- with .Values.networkPolicy -}}
{{ include "facenet-serving.networkPolicy.egress" (dict "ports" (.s3Ports | default (list $port)) "to" .s3To) }}
{{- end -}}
{{- if .Values.s3.workloadIdentity }}
- to:
    - ipBlock: {cidr: 169.254.170.23/32}
    - ipBlock: {cidr: "fd00:ec2::23/128"}
  ports:
    - {port: 80, protocol: TCP}
{{- end }}
{{- end -}}
{{- end -}}
