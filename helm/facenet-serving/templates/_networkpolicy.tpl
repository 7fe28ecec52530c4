{{- define "facenet-serving.networkPolicy.dns" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
  {{- with .Values.networkPolicy.dnsTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
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
- ports:
    - {port: {{ include "facenet-serving.port" (.Values.s3.endpoint | default "https://s3") }}, protocol: TCP}
  {{- with .Values.networkPolicy.s3To }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- if .Values.s3.workloadIdentity }}
- to:
    - ipBlock: {cidr: 169.254.170.23/32}
    - ipBlock: {cidr: "fd00:ec2::23/128"}
  ports:
    - {port: 80, protocol: TCP}
{{- end }}
{{- end -}}
{{- end -}}
