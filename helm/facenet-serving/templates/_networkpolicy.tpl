{{- define "facenet-serving.networkPolicy.dns" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
  {{- with .Values.networkPolicy.dnsTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* The way to S3. Where the platform gives the keys, they come over HTTPS, too. */}}
{{- define "facenet-serving.networkPolicy.s3" -}}
{{- if .Values.minio.enabled -}}
- to:
    - podSelector:
        matchLabels:
          {{- include "facenet-serving.selectorLabels" (list . "minio") | nindent 10 }}
  ports:
    - {port: 9000, protocol: TCP}
{{- else -}}
- ports:
    - {port: {{ include "facenet-serving.port" (.Values.s3.endpoint | default "https://s3") }}, protocol: TCP}
  {{- with .Values.networkPolicy.s3To }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}
